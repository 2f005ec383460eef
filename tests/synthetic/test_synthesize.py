import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import mne
import numpy as np
import pytest
from scipy import signal

from signals.tasks import SIX_CLASS
from synthetic.recordings.files import _TAL_BYTES
from synthetic.recordings.recordings import GAP_S
from synthetic.recordings.sites import SITES, Site
from synthetic.synthesize import LABEL_COLUMNS, label_plan, main, synthesize


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(
        tmp_path_factory.mktemp("syn") / "out", seed=7, subjects_per_site=2, segments_per_subject=3
    ).parent


def rows_of(corpus: Path) -> list[dict[str, str]]:
    with (corpus / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_raw(path: Path) -> mne.io.BaseRaw:
    reader = {".fif": mne.io.read_raw_fif, ".bdf": mne.io.read_raw_bdf, ".edf": mne.io.read_raw_edf}[path.suffix]
    return reader(path, verbose="error")


def test_the_same_seed_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    again = synthesize(tmp_path / "again", seed=7, subjects_per_site=2, segments_per_subject=3).parent
    assert digests(again) == digests(corpus)
    other = synthesize(tmp_path / "other", seed=8, subjects_per_site=1, segments_per_subject=1, sites=SITES[:1]).parent
    name = "northgate/northgate-001.edf"
    assert digests(other)[name] != digests(corpus)[name]


def test_labels_name_files_and_agree_with_their_votes(corpus: Path) -> None:
    rows = rows_of(corpus)
    assert tuple(rows[0]) == LABEL_COLUMNS
    assert ",".join(LABEL_COLUMNS) == (
        "site,subject,file,onset_s,duration_s,label,label_kind,"
        "seizure_vote,lpd_vote,gpd_vote,lrda_vote,grda_vote,other_vote,label_source"
    )
    assert len(rows) == 4 * 2 * 3
    for row in rows:
        votes = [int(row[column]) for column in SIX_CLASS.vote_columns]
        assert SIX_CLASS.classes[int(np.argmax(votes))] == row["label"]
        assert (corpus / row["site"] / row["file"]).is_file()
        assert row["label_kind"] == "votes"
        assert row["label_source"] == "synthetic"
        assert float(row["duration_s"]) == 50
    for site in SITES:
        assert Counter(row["label"] for row in rows if row["site"] == site.site_id) == dict.fromkeys(
            SIX_CLASS.classes, 1
        )
    about = json.loads((corpus / "corpus.json").read_text())
    assert [site["site_id"] for site in about["sites"]] == [site.site_id for site in SITES]


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.site_id)
def test_sites_differ_as_stated(corpus: Path, site: Site) -> None:
    path = sorted((corpus / site.site_id).iterdir())[0]
    raw = read_raw(path)
    assert tuple(raw.ch_names) == site.ch_names
    assert raw.info["sfreq"] == site.sfreq
    data = raw.get_data()[:19] * 1e6
    assert data.shape[1] == 150 * site.sfreq
    assert 3 < np.median(data.std(axis=1)) < 200
    freqs, power = signal.welch(data, site.sfreq, nperseg=int(4 * site.sfreq))
    power = np.median(power, axis=0)

    def line(hz: float) -> float:
        """Power at a frequency over that of its neighbours 1 to 3 Hz away."""
        around = (np.abs(freqs - hz) >= 1) & (np.abs(freqs - hz) <= 3)
        return float(power[np.argmin(np.abs(freqs - hz))] / np.median(power[around]))

    assert line(site.mains_hz) > 3
    assert line(110 - site.mains_hz) < 1.5


def test_the_gap_lies_between_segments(corpus: Path) -> None:
    (site,) = (site for site in SITES if site.file_format == "edf+d")
    n_chans, sfreq = len(site.ch_names), int(site.sfreq)
    content = (corpus / site.site_id / f"{site.site_id}-001.edf").read_bytes()
    assert content[192:197] == b"EDF+D"
    records = np.frombuffer(content[256 * (n_chans + 2) :], np.uint8).reshape(-1, n_chans * sfreq * 2 + _TAL_BYTES)
    onsets = [float(r[-_TAL_BYTES:].tobytes().split(b"\x14")[0]) for r in records]
    # Three segments: two, the gap, one.
    assert onsets == [*range(100), *(100 + GAP_S + k for k in range(50))]
    rows = [row for row in rows_of(corpus) if row["subject"] == f"{site.site_id}-001"]
    assert [float(row["onset_s"]) for row in rows] == [0, 50, 100 + GAP_S]


@pytest.mark.parametrize(("n_subjects", "n_segments"), [(8, 6), (2, 3), (5, 4), (3, 6), (20, 10)])
def test_label_plans_are_balanced_with_few_classes_a_subject(n_subjects: int, n_segments: int) -> None:
    plan = label_plan(np.random.default_rng(1), n_subjects, n_segments)
    counts = Counter(label for labels in plan for label in labels)
    assert [len(labels) for labels in plan] == [n_segments] * n_subjects
    assert max(counts.values()) - min(counts.values()) <= 1
    assert max(len(set(labels)) for labels in plan) <= 3


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    assert main(["--output", str(full)]) == 2
    assert main(["--output", str(tmp_path / "new"), "--subjects-per-site", "0"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 2
    assert "not an empty folder" in errors[0]
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]
    with pytest.raises(ValueError, match="different site_id"):
        synthesize(tmp_path / "twice", seed=0, sites=(SITES[0], SITES[0]))


def test_a_site_that_contradicts_itself_is_refused() -> None:
    good = SITES[0].to_dict()
    for change in ({"file_format": "txt"}, {"sfreq": 99.5}, {"missing": ("Nz",)}, {"reference": "nose"}):
        with pytest.raises(ValueError, match=next(iter(change))):
            Site(**(good | change))


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "out", seed=0, subjects_per_site=1, segments_per_subject=1, on_progress=stop)
    assert list(tmp_path.iterdir()) == []
