import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.preprocess import describe, main
from pipelines.report.advice import ADVICE
from pipelines.runs.accounting import Counts, FileCounts, Hours, WindowCounts
from pipelines.stages.finish import Finish
from signals.readers.registry import open_recording
from signals.recording.identity import salt_id
from signals.shards.manifest import ManifestError, read_manifest
from signals.shards.moments import Moments
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN, PROFILES

SALT = ("--salt", "secret", "--site-from", "folder")


def preprocess(clinics, output, *args):
    return main(
        ["--input", str(clinics), "--labels", str(clinics / "labels.csv"), "--output", str(output), *SALT, *args]
    )


def windows_of(output):
    manifest = read_manifest(output)
    return [decode_window(record) for shard in manifest.shards for record in read_shard(output / shard.path)]


def tree(folder):
    """Every file's bytes, but for the report: how long a run took is the one thing that differs."""
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in ("run.json", "report.html")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def shards(clinics, tmp_path):
    assert preprocess(clinics, tmp_path / "out") == 0
    return tmp_path / "out"


def test_the_accounting_adds_up_and_the_broken_file_is_quarantined(shards):
    counts = read_manifest(shards).counts
    # 300 bytes are less than the header promises.
    assert counts["files"] == {
        "in": 5, "accepted": 4, "quarantined": 1, "copies": 0, "side_files": 2, "by_reason": {"corrupt_header": 1},
    }  # fmt: skip
    assert counts["windows"] == {"planned": 24, "written": 24, "rejected": 0, "by_reason": {}}  # 4 x 65 s
    # 24 windows of 10 s of 4 x 65 s; nobody knows how long the broken file is.
    assert counts["hours"] == {
        "accepted": round(260 / 3600, 6), "covered": round(240 / 3600, 6), "uncovered": round(20 / 3600, 6),
        "quarantined": 0, "quarantined_files_of_unknown_length": 1, "written": round(240 / 3600, 6), "rejected": 0,
    }  # fmt: skip
    (row,) = rows(shards / "quarantine" / "files.jsonl")
    (private,) = rows(shards.with_name("out.private") / "quarantine.jsonl")
    assert row == {"file_id": private["file_id"], "site_id": "south", "reason": "corrupt_header", "hours": None}
    assert private["file"].endswith("broken.edf")


def test_windows_are_those_of_the_recording_itself(clinics, shards):
    by_key = {window.key: window for window in windows_of(shards)}
    recording = open_recording(str(clinics / "north" / "north0.edf"))
    sha256 = hashlib.sha256((clinics / "north" / "north0.edf").read_bytes()).hexdigest()
    plan = plan_recording(recording, PRETRAIN, site_id="north", subject_id="x", source_sha256=sha256)
    direct = list(prepare_recording(recording, plan))
    assert len(direct) == 6
    for window in direct:
        stored = by_key[window.key]
        # Half a quantisation step of 0.1 µV, and float32.
        assert np.abs(stored.data - window.data).max() <= 0.05 + 1e-4
        assert np.array_equal(stored.artifact_mask, window.artifact_mask)


def test_tensorflow_reads_the_shards(shards):
    tf = pytest.importorskip("tensorflow")
    paths = [str(shards / shard.path) for shard in read_manifest(shards).shards]
    records = [raw.numpy() for raw in tf.data.TFRecordDataset(paths, compression_type="SNAPPY")]
    example = tf.train.Example.FromString(records[0])
    assert len(records) == 24
    assert list(example.features.feature["shape"].int64_list.value) == [19, 2560]


def test_manifest_holds_digests_and_moments(shards):
    manifest = read_manifest(shards)
    for shard in manifest.shards:
        raw = (shards / shard.path).read_bytes()
        assert (shard.n_bytes, shard.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert len(manifest.subjects) == 4
    subject_id, entry = next(iter(manifest.subjects.items()))
    mine = [window for window in windows_of(shards) if window.subject_id == subject_id]
    assert entry.n_windows == len(mine) == 6
    whole = Moments.of(np.concatenate([w.data for w in mine], axis=1))
    # The manifest's moments are of the samples before quantisation.
    assert np.allclose(entry.moments.std, whole.std, rtol=1e-3)


def test_nobody_is_named_in_the_shards(shards):
    for path in (p for p in shards.rglob("*") if p.is_file()):
        for word in (b"Mustermann", b"MRN-", b"north-p0", b"north0.edf", b"broken"):
            assert word not in path.read_bytes(), (path, word)


def test_six_class_windows_lie_where_the_labels_are(clinics, tmp_path):
    assert preprocess(clinics, tmp_path / "six", "--profile", "six-class") == 0
    windows = windows_of(tmp_path / "six")
    assert [(w.start_s, w.label, w.votes) for w in windows] == [(5.0, "LPD", (0, 3, 0, 1, 0, 0))] * 4
    assert {w.data.shape for w in windows} == {(19, 12800)}
    assert {w.band for w in windows} == {(0.5, 50.0)}


def test_another_run_gives_the_same_bytes(clinics, shards, tmp_path):
    assert preprocess(clinics, tmp_path / "again") == 0
    assert tree(shards) == tree(tmp_path / "again")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--input", "nowhere"], "nowhere does not exist"),
        (["--profile", "nonsense"], "invalid choice"),
        (["--runer", "x"], "unknown option --runer"),
        (["--labels", "missing.csv"], "missing.csv does not exist"),
        (["--labels", "/"], "/ cannot be read: Is a directory"),
        (["--shard-mb", "0"], "--shard-mb 0 must be above 0"),
        (["--shard-mb", "nan"], "--shard-mb nan must be above 0"),
        (["--max-quarantined", "5"], "--max-quarantined 5 is a share: it must lie within 0 and 1"),
        (["--max-quarantined", "nan"], "--max-quarantined nan is a share"),
        (["--direct_num_workers", "-1"], "--direct_num_workers -1 must be a whole number"),
        (["--direct_num_workers", "all"], "--direct_num_workers all must be a whole number"),
        (["--salt", ""], "the salt is empty"),
        (["--salt", "a", "--salt-file", "b"], "--salt and --salt-file name two salts"),
        (["--salt-file", "/bin/true"], "salt file /bin/true is no text"),
        (["--keep", "name"], "'name' is none of device, start-hour, age-group"),
    ],
)
def test_bad_input_is_one_line_and_code_2(clinics, tmp_path, capsys, args, says):
    base = {"--input": str(clinics), "--output": str(tmp_path / "out")} | dict(zip(args[::2], args[1::2], strict=True))
    with pytest.raises(SystemExit) as ended:
        main([part for pair in base.items() for part in pair])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not list(tmp_path.glob("out*"))


def test_labels_that_name_no_file(clinics, tmp_path, capsys):
    (tmp_path / "l.csv").write_text("file,label\nelsewhere.edf,LPD\n")
    with pytest.raises(SystemExit) as ended:
        main(["--input", str(clinics), "--labels", str(tmp_path / "l.csv"), "--output", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "names none of the 5 recordings" in capsys.readouterr().err


def test_an_empty_corpus(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["--input", str(tmp_path / "empty"), "--output", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "holds no file" in capsys.readouterr().err


def test_only_broken_files_leave_nothing_but_the_reason(clinics, tmp_path, capsys):
    bad = tmp_path / "bad"
    bad.mkdir()
    shutil.copy(clinics / "south" / "broken.edf", bad)
    assert main(["--input", str(bad), "--output", str(tmp_path / "out"), *SALT]) == 2
    err = capsys.readouterr().err
    assert "no window was written: 1 of 1 files quarantined" in err
    assert not (tmp_path / "out").exists()


def test_too_many_quarantined_fail_the_run(clinics, tmp_path, capsys):
    assert preprocess(clinics, tmp_path / "out", "--max-quarantined", "0.1") == 2
    failed = tmp_path / "out.failed"
    err = capsys.readouterr().err
    assert "20.0% of the files were quarantined" in err
    assert err.strip().endswith(f"see {failed / 'report.html'}")
    assert not (tmp_path / "out").exists()
    names = {p.relative_to(failed).as_posix() for p in failed.rglob("*") if p.is_file()}
    assert names == {
        "run.json",
        "report.html",
        "recordings.jsonl",
        "quarantine/files.jsonl",
        "quarantine/labels.jsonl",
        "quarantine/windows.jsonl",
    }
    assert rows(tmp_path / "out.failed.private" / "quarantine.jsonl")[0]["file"].endswith("broken.edf")
    page = (failed / "report.html").read_text()
    assert "The run failed: 20.0% of the files were quarantined" in page
    assert "No shards were kept" in page
    # The next run that succeeds takes the failure's place.
    assert preprocess(clinics, tmp_path / "out") == 0
    assert sorted(p.name for p in tmp_path.glob("out*")) == ["out", "out.private"]


def test_an_existing_output_is_kept(clinics, shards, capsys):
    before = tree(shards)
    with pytest.raises(SystemExit):
        preprocess(clinics, shards)
    assert "exists already" in capsys.readouterr().err
    assert tree(shards) == before


def test_an_unfinished_shard_set_is_refused(shards):
    (shards / "_COMPLETED").unlink()
    with pytest.raises(ManifestError, match="unfinished"):
        read_manifest(shards)


def test_workers_need_no_heavy_rooms():
    code = (
        "import sys, pipelines.preprocess; "
        "heavy = {'torch', 'tensorflow', 'sklearn', 'transformers', 'plotly'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_awkward_file_is_read_or_quarantined(tmp_path, awkward):
    assert main(["--input", str(awkward), "--output", str(tmp_path / "out"), *SALT, "--max-quarantined", "1"]) == 0
    counts = read_manifest(tmp_path / "out").counts
    files = counts["files"]
    assert files["in"] == files["accepted"] + files["quarantined"]
    assert "internal_error" not in files["by_reason"]
    assert "reader_crashed" not in files["by_reason"]
    left_out = rows(tmp_path / "out.private" / "quarantine.jsonl")
    reasons = {"/".join(Path(row["file"]).parts[-2:]): row["reason"] for row in left_out}
    assert reasons["z3score-api/test.edf"] == "not_what_it_says"  # a git-lfs pointer
    assert reasons["bb_python/test.edf"] == "no_samples"  # a header of 512 bytes
    assert reasons["epilepsy2bids/chb01_01_sample.edf"] == "too_short"  # 2 s
    assert reasons["wfdb-python/SC4001E0-PSG.wav"] == "unsupported_format"


def test_all_ten_real_sites_are_read(tmp_path, real):
    args = ["--input", str(real), "--labels", str(real / "labels.csv"), "--output", str(tmp_path / "out"), *SALT]
    cards = Path(__file__).parents[2] / "docs" / "sites"
    assert main([*args, "--site-card", str(cards)]) == 0
    counts = read_manifest(tmp_path / "out").counts
    assert len(counts["sites"]) == 10
    assert all(site["files_accepted"] > 0 for site in counts["sites"].values())
    # two files of yasa-sleep have no declared form
    assert counts["files"]["by_reason"] == {"unsupported_format": 2}


@pytest.mark.parametrize(
    ("text", "says"), [("hop_s=five", "is not a number"), ("hop_s", "needs the form"), ("x=1", "no option 'x'")]
)
def test_a_mistaken_override_is_one_line(clinics, tmp_path, capsys, text, says):
    from pipelines.options import parse_args

    args = ["--input", str(clinics), "--output", str(tmp_path / "out"), "--profile", "six-class"]
    assert parse_args([*args, "--set", "hop_s=10", "--set", "cleaning.ica=true"]).profile.cleaning.ica
    with pytest.raises(SystemExit) as caught:
        parse_args([*args, "--set", text])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def counts(**changes):
    """Of a run with numbers that all differ."""
    given = {
        "files": FileCounts(
            n_in=9, accepted=5, quarantined=4, side_files=3, by_reason={"too_short": 3, "no_samples": 1}
        ),
        "windows": WindowCounts(planned=31, written=24, rejected=7, by_reason={"flat": 7}),
        "hours": Hours(accepted=1.234, written=0.567), "n_bytes": 2_345_678, "sources_digest": "", "sites": {"a": None},
    } | changes  # fmt: skip
    return Counts(**given)


def test_the_accounting_in_three_lines():
    assert describe(counts()).splitlines() == [
        "files    9 in = 5 accepted + 4 quarantined (3 too_short, 1 no_samples)",
        "windows  31 planned = 24 written + 7 rejected",
        "hours    1.23 read, 0.57 written, 2.3 MB of shards, 1 site",
    ]
    assert describe(counts(sites={"a": None, "b": None})).endswith("2.3 MB of shards, 2 sites")
    whole = FileCounts(n_in=5, accepted=5, quarantined=0, side_files=3, by_reason={})
    assert describe(counts(files=whole)).splitlines()[0] == "files    5 in = 5 accepted + 0 quarantined"


def test_what_a_run_prints(clinics, tmp_path, capsys):
    assert preprocess(clinics, tmp_path / "out") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "files    5 in = 4 accepted + 1 quarantined (1 corrupt_header)"
    assert out[3:] == [
        f"shards   {tmp_path / 'out'}",
        f"report   {tmp_path / 'out' / 'report.html'}",
        f"1 file left out, corrupt_header: {ADVICE['corrupt_header']}",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Traceback (most recent call last):\n  File x\nValueError: first\nOSError: disk full\n  at last\n",
            "OSError: disk full",
        ),
        (
            "apache_beam.x.PipelineError: boom [while running 'Write']",
            "apache_beam.x.PipelineError: boom [while running",
        ),
        ("no type here\n\n  the last line  \n", "LookupError: the last line"),
        ("", "LookupError;"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("Errors were made", "LookupError: Errors were made"),
    ],
)
def test_a_dead_run_is_one_line(clinics, tmp_path, capsys, monkeypatch, text, shown):
    def dying(run, finish):
        raise LookupError(text)

    monkeypatch.setattr("pipelines.on_beam.run_on_beam", dying)
    assert preprocess(clinics, tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cerebeam preprocess: the run died: {shown}")
    assert line.endswith("; nothing was written")
    assert not list(tmp_path.glob("out*"))


def test_a_run_that_was_handed_over(clinics, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pipelines.on_beam.run_on_beam", lambda run, finish: ("Elsewhere", {}))
    assert preprocess(clinics, tmp_path / "out") == 0
    assert capsys.readouterr().out == (
        f"handed over; the shard set in {tmp_path / 'out'} is whole when it has _COMPLETED\n"
    )


def test_what_a_run_is_begun_with(clinics, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("pipelines.on_beam.run_on_beam", lambda run, finish: (seen.append(finish), ("x", {}))[1])
    args = ("--max-quarantined", "0.25", "--shard-mb", "3", "--profile", "six-class")
    preprocess(clinics, tmp_path / "out", *args)
    preprocess(clinics, tmp_path / "out", *args, "--runner=DirectRunner")
    finish, elsewhere = seen
    assert finish == Finish(
        output=str(tmp_path / "out.partial"), profile=PROFILES["six-class"], n_files=5, n_side_files=2,
        max_quarantined=0.25, salt_id=salt_id("secret"), shard_mb=3.0, site_from="folder", completes=False,
    )  # fmt: skip
    assert elsewhere == finish  # a set of this machine is completed by whoever began it
