"""Probes read labels from what has nothing to do with them, and only where labels go with the subject."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.audit.confounds import READABLE, confound_findings, probe_results, signal_columns
from pipelines.intake.inputs import find_inputs
from signals.readers.registry import open_recording
from signals.sites.card import SiteCard


def frame(n_subjects: int = 24, n_windows: int = 4, **columns: object) -> pd.DataFrame:
    subject = np.repeat(np.arange(n_subjects), n_windows)
    rows = {"subject_id": [f"s{k}" for k in subject], "label": np.where(subject % 2, "ADHD", "Control"), **columns}
    return pd.DataFrame(rows)


ILL = np.repeat(np.arange(24) % 2, 4)
NOISE = np.random.default_rng(0).normal(size=96)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"device": np.where(ILL, "A", "B")}, "the device"),
        (
            {"file_order": np.repeat(np.argsort(np.argsort(np.arange(24) % 2, kind="stable")), 4)},
            "the order of the files",
        ),
        ({"amplitude_uv": 20.0 + 10.0 * ILL + NOISE}, "the amplitude alone"),
        ({"mains_db": NOISE - 5.0 * ILL}, "mains interference alone"),
        ({"noise_db": NOISE + 3.0 * ILL}, "noise at 45-58 Hz alone"),
    ],
)
def test_each_probe_is_named(columns: dict[str, object], words: str) -> None:
    [finding] = confound_findings(frame(**columns))
    assert (finding.severity, finding.code) == ("warning", "confounded_labels")
    assert f"The label can be read from {words}" in finding.message


def test_what_has_nothing_to_do_with_labels_is_not_flagged() -> None:
    flagged = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        person = np.repeat(rng.normal(size=(24, 3)), 4, axis=0)
        columns = dict(zip(("amplitude_uv", "mains_db", "noise_db"), person.T, strict=True))
        order = np.repeat(rng.permutation(24), 4)
        flagged += bool(confound_findings(frame(**columns, file_order=order, device=np.where(order % 3, "A", "B"))))
    assert flagged == 0


def test_labels_that_change_within_a_recording_are_not_probed() -> None:
    # A seizure is larger than what comes before it: that is no confound.
    rows = frame(amplitude_uv=20.0 + 10.0 * ILL)
    rows["label"] = np.tile(["Control", "ADHD"], 48)
    assert confound_findings(rows) == []


def in_order(*classes: str, **columns: object) -> pd.DataFrame:
    """One window per subject, labels in the order of the files."""
    rows = {"subject_id": [f"s{k}" for k in range(len(classes))], "label": classes, "site_id": "x"}
    return pd.DataFrame({**rows, "file_order": np.arange(len(classes)), **columns})


def test_classes_that_were_recorded_in_blocks_are_flagged_and_shuffled_ones_are_not() -> None:
    # As Tehran's sixteen: four ill, eight controls, four ill. Of 12,870 orders 16 have three runs or fewer.
    blocks = in_order(*"A" * 4, *"C" * 8, *"A" * 4)
    [probe] = probe_results(blocks, seed=0)
    # Scores are the share of C beside: A 0, 0, 0, .5; C .5, 1 x 6, .5; A .5, 0, 0, 0. 2 x 2 of 64 pairs tie.
    assert probe.area == pytest.approx(62 / 64)
    assert probe.p_value == pytest.approx(16 / 12870, abs=0.001)
    [finding] = confound_findings(blocks)
    assert "classes were recorded in blocks (AUROC 0.97 over 16 subjects" in finding.message
    assert confound_findings(in_order(*"AC" * 8)) == []  # in turn
    # Blocks of a site's own order: two sites, each with the ill first.
    two = in_order(*"AAAACCCC" * 2, site_id=list("x" * 8 + "y" * 8))
    two["file_order"] = np.tile(np.arange(8), 2)
    assert next(probe_results(two, seed=0)).area > 0.9
    assert next(probe_results(two.assign(site_id="x"), seed=0)).area > 0.9  # files of one number are side by side


def test_what_no_single_number_shows_is_read_from_all_together() -> None:
    rng = np.random.default_rng(3)
    common = rng.normal(size=40)
    ill = np.arange(40) % 2
    # Amplitude and mains rise together from person to person; their difference alone tells the ill.
    rows = in_order(*np.where(ill, "A", "C"), amplitude_uv=20 + common + 0.4 * ill,
                    mains_db=3 + common + 0.05 * rng.normal(size=40), noise_db=rng.normal(size=40))  # fmt: skip
    results = {probe.name: probe for probe in probe_results(rows, seed=0)}
    assert max(results[name].area for name in ("amplitude_uv", "mains_db", "noise_db")) < READABLE
    assert results["signal"].area > 0.9
    [finding] = confound_findings(rows)
    assert "amplitude, mains and noise together" in finding.message


def test_a_device_that_is_not_known_is_no_device() -> None:
    rows = in_order(*"AC" * 8, device=["", "X"] * 8)
    assert "device" not in {probe.name for probe in probe_results(rows, seed=0)}


def test_tehrans_sixteen_children_are_flagged_by_themselves(real: Path, site_cards: tuple[SiteCard, ...]) -> None:
    files = find_inputs([str(real / "tehran-adhd")], None, site_cards).files
    rows = []
    for ref in files:
        recording = open_recording(ref.uri, declared=ref.declared)
        for start in range(0, recording.n_times(0) - 1279, 1280):
            x = recording.read(range(19), start=start, stop=start + 1280)
            rows.append({"subject_id": ref.subject, "site_id": ref.site_id, "label": ref.labels[0].label,
                         "file_order": ref.file_order, **signal_columns(x, 128.0, h_freq=57.6)})  # fmt: skip
    frame = pd.DataFrame(rows)
    assert frame["subject_id"].nunique() == 16
    [finding] = confound_findings(frame)
    assert "the order of the files" in finding.message


def test_few_people_flag_nothing() -> None:
    assert confound_findings(frame(n_subjects=4, device=np.repeat(["B", "A", "B", "A"], 4))) == []


def test_columns_are_those_of_a_known_signal() -> None:
    t = np.arange(2560) / 256
    rng = np.random.default_rng(0)
    quiet = 10 * np.sin(2 * np.pi * 10 * t) + rng.normal(0, 1, (4, 2560))
    known = signal_columns(quiet, 256.0)
    # Deviation of a sine of 10 and noise of 1: sqrt(50 + 1) = 7.1.
    assert known["amplitude_uv"] == pytest.approx(7.1, abs=0.1)
    humming = signal_columns(quiet + 5 * np.sin(2 * np.pi * 50 * t), 256.0)
    assert humming["mains_db"] > known["mains_db"] + 15
    band = rng.normal(0, 3, (4, 2560))
    noisy = signal_columns(quiet + band, 256.0)
    # Noise of variance 1 + 9: ten times, 10 dB, in the band; and a little in 1-30 Hz, where the sine dominates.
    assert noisy["noise_db"] - known["noise_db"] == pytest.approx(10.0, abs=1.5)
    assert humming["noise_db"] == pytest.approx(known["noise_db"], abs=0.5)
    flat = signal_columns(np.zeros((2, 2560)), 256.0)
    assert flat["amplitude_uv"] == 0.0
    assert np.isnan(flat["noise_db"])


def test_what_the_first_window_of_a_subject_is_called_is_not_its_label() -> None:
    # Each subject has windows of both classes; the first of each goes with the amplitude.
    rows = frame(amplitude_uv=20.0 + 10.0 * ILL + NOISE)
    rows.loc[rows.index % 4 == 3, "label"] = np.where(ILL[3::4], "Control", "ADHD")
    assert list(probe_results(rows, seed=0)) == []
    assert list(probe_results(frame(amplitude_uv=NOISE).assign(label="ADHD"), seed=0)) == []


def test_three_subjects_of_a_class_are_enough_and_each_class_is_probed_where_there_are_three() -> None:
    rows = in_order(*"AACCC", amplitude_uv=[9.0, 8.0, 1.0, 2.0, 3.0])
    assert list(probe_results(rows, seed=0)) == []
    rows = in_order(*"AAACCC", amplitude_uv=[9.0, 8.0, 7.0, 1.0, 2.0, 3.0], device=["x"] * 6)
    order, amplitude = probe_results(rows, seed=0)
    assert (amplitude.name, amplitude.cls, amplitude.area, amplitude.n_subjects) == ("amplitude_uv", "C", 1.0, 6)
    assert amplitude.p_value == pytest.approx(2 / 20, abs=0.01)  # of 20 ways to choose three of six, two are as clear
    assert order.name == "file_order"
    three = in_order(*"AAABBBCCC", amplitude_uv=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    found = [(probe.cls, probe.area) for probe in probe_results(three, seed=0) if probe.name == "amplitude_uv"]
    assert found == [("A", 1.0), ("B", 0.5), ("C", 1.0)]


def test_the_clearest_class_is_named_with_its_numbers() -> None:
    n = 12
    rows = in_order(*["A"] * n, *["B"] * n, *["C"] * n)
    rows["file_order"] = np.random.default_rng(1).permutation(3 * n)
    rows["amplitude_uv"] = np.r_[np.arange(n), 4.0 + np.arange(n), 100.0 + np.arange(n)]
    [finding] = confound_findings(rows)
    # C is above all others in every one of 10,000 shuffles fewer: p = 1 / 10,001.
    assert finding.message == (
        "C can be read from the amplitude alone (AUROC 1.00 over 36 subjects, p 0.0001): a model may score without "
        "reading the brain."
    )


def test_bands_of_the_columns_are_those_of_the_docstring() -> None:
    t = np.arange(2560) / 256
    base = np.random.default_rng(2).normal(0, 1, (5, 2560))
    known = signal_columns(base, 256.0)
    for hz, moved in ((50.0, "mains_db"), (60.0, "mains_db"), (20.0, "noise_db"), (70.0, ""), (0.5, "")):
        now = signal_columns(base + 20 * np.sin(2 * np.pi * hz * t), 256.0)
        assert {key for key in ("mains_db", "noise_db") if abs(now[key] - known[key]) > 6} == (
            {moved} if moved else set()
        )
    low = signal_columns(base, 256.0, h_freq=44.0)
    assert np.isnan(low["noise_db"])
    assert signal_columns(base, 256.0, h_freq=58.0)["noise_db"] == known["noise_db"]
    assert all(np.isnan(value) for value in signal_columns(np.zeros((0, 0)), 256.0).values())
    # One channel of three is ten times as large: the median is not.
    uneven = base[:3] * np.array([[1.0], [10.0], [1.0]])
    assert signal_columns(uneven, 256.0)["amplitude_uv"] == pytest.approx(1.0, abs=0.05)
