"""Probes read labels from what has nothing to do with them, and only where labels go with the subject."""

import numpy as np
import pandas as pd
import pytest

from evaluation.audit.confounds import confound_findings, signal_columns


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
