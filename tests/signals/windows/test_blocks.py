"""Labels that cannot be placed are refused one by one; the recording's other windows stay."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.modality import EEG_1020
from signals.recording.recording import Annotation, Recording, Segment, UnreadableError
from signals.windows.blocks import place_windows, plan_windows
from signals.windows.labels import Label, merged
from signals.windows.plan import plan_recording
from signals.windows.profiles import SIX_CLASS, SLEEP


def recording_of(segments, annotations=(), sfreq=100.0):
    """Noise of 20 µV in memory: four electrodes are enough for sleep, all 19 for the six classes."""
    rng = np.random.default_rng(0)
    first = np.cumsum([0, *(round(s.duration_s * sfreq) for s in segments)])
    x = 20 * rng.standard_normal((19, int(first[-1]))).astype(np.float32)
    return Recording(
        uri="memory", reader="memory", ch_names=EEG_1020.ch_names, sensor_types=("eeg",) * 19, sfreqs=(sfreq,) * 19,
        segments=tuple(segments), read_samples=lambda picks, s, a, b: x[picks, first[s] + a : first[s] + b],
        annotations=tuple(annotations),
    )  # fmt: skip


def placed(recording, profile, labels=()):
    plan = plan_recording(recording, profile, site_id="s", subject_id="p", source_sha256="0" * 64)
    return place_windows(recording, plan, labels)


def test_a_hypnogram_that_outlives_its_recording_keeps_the_night():
    # Sleep-EDF: the last stage ends 30 s behind the last sample of 600 s.
    notes = [Annotation(30.0 * i, 30.0, "sleep N2") for i in range(19)] + [Annotation(570.0, 60.0, "sleep W")]
    result = placed(recording_of([Segment(0.0, 600.0)], notes), SLEEP)
    assert len(result.starts) == 20
    assert [(label.onset_s, label.reason) for label in result.refused] == [(600.0, "label_out_of_range")]
    assert result.n_labels == 21


def test_a_stage_across_a_gap_loses_the_windows_that_touch_it():
    segments = [Segment(0.0, 300.0), Segment(310.0, 300.0)]
    # From 240 s to 360 s: windows at 240, 270, 300 and 330 s, of which that at 300 s lies in the gap to 310 s.
    notes = [Annotation(0.0, 240.0, "sleep N2"), Annotation(240.0, 120.0, "sleep N3")]
    result = placed(recording_of(segments, notes), SLEEP)
    assert [label.onset_s for label in result.refused] == [300.0]
    assert [start.label.onset_s for start in result.starts if start.label.label == "N3"] == [240.0, 270.0, 330.0]


def test_a_stretch_of_years_is_refused_once():
    recording = recording_of([Segment(0.0, 600.0)])
    labels = [Label(onset_s=0.0, label="LPD", duration_s=1e12)]
    result = placed(recording, SIX_CLASS, labels)
    assert (result.n_placed, len(result.refused)) == (12, 1)  # 600 s hold 12 windows of 50 s


def test_of_a_hundred_labels_one_is_bad():
    recording = recording_of([Segment(0.0, 5000.0)])
    good = [Label(onset_s=50.0 * i, label="LPD") for i in range(100)]
    result = placed(
        recording, SIX_CLASS, [*good, Label(onset_s=4980.0, label="LPD"), Label(onset_s=-60.0, label="GPD")]
    )
    assert result.n_placed == 100
    assert [label.onset_s for label in result.refused] == [4980.0, -60.0]
    with pytest.raises(UnreadableError, match="label_out_of_range.*none of 1 labels"):
        placed(recording, SIX_CLASS, [Label(onset_s=4980.0, label="LPD")])


@cache
def ten_minutes():
    recording = recording_of([Segment(0.0, 600.0)])
    return recording, plan_recording(recording, SIX_CLASS, site_id="s", subject_id="p", source_sha256="0" * 64)


@given(
    onsets=st.lists(st.sampled_from([-50.0, 0.0, 10.0, 10.001, 300.0, 560.0, 5000.0]), min_size=1, max_size=8),
    names=st.lists(st.sampled_from(["LPD", "GPD"]), min_size=8, max_size=8),
)
def test_no_window_is_planned_twice_and_no_label_is_lost(onsets, names):
    labels = [Label(onset_s=onset, label=name) for onset, name in zip(onsets, names, strict=False)]
    recording, plan = ten_minutes()
    try:
        result = place_windows(recording, plan, labels)
    except UnreadableError:
        return
    keys = [(start.segment, start.start) for start in result.starts]
    assert keys == sorted(set(keys))
    assert result.n_placed + result.n_merged + len(result.refused) == len(labels)


def test_labels_of_a_whole_recording_that_differ_leave_it_without():
    recording = recording_of([Segment(0.0, 100.0)])
    rows = [Label(onset_s=None, label="Epilepsy"), Label(onset_s=None, label="Control")]
    result = placed(recording, SIX_CLASS, rows)
    assert [start.label for start in result.starts] == [None, None]
    assert [label.reason for label in result.refused] == ["contradicting_labels"] * 2
    assert [start.label.label for start in placed(recording, SIX_CLASS, rows[:1] * 2).starts] == ["Epilepsy"] * 2


def test_a_label_at_the_end_of_a_file_that_is_a_sample_short():
    # 49.99 s at 100 Hz are 12,797 samples of 12,800 at 256 Hz: the window begins three early, in the mirrored edge.
    recording = recording_of([Segment(0.0, 49.99)])
    (start,) = plan_windows(
        recording,
        plan_recording(recording, SIX_CLASS, site_id="s", subject_id="p", source_sha256="0" * 64),
        [Label(onset_s=0.0, label="LPD")],
    )
    assert start.start == -3


VOTE = Label(onset_s=0.0, label="LPD", votes=(0.0, 3.0, 1.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("rows", "label", "votes"),
    [
        ([VOTE, VOTE], "LPD", VOTE.votes),  # a row given twice is one, not two experts
        ([VOTE, replace(VOTE, label="GPD", votes=(0, 0, 4.0, 0, 0, 0))], "GPD", (0, 3, 5, 0, 0, 0)),
        ([VOTE, replace(VOTE, votes=(1.0, 0, 0, 0, 0, 0))], "LPD", (1, 3, 1, 0, 0, 0)),
    ],
)
def test_rows_of_one_window_are_merged(rows, label, votes):
    both = merged(rows)
    assert (both.label, both.votes) == (label, votes)


@pytest.mark.parametrize("row", [replace(VOTE, label="GPD", votes=()), replace(VOTE, votes=(1.0,))])
def test_rows_that_contradict_each_other_are_no_label(row):
    assert merged([VOTE, row]) is None
