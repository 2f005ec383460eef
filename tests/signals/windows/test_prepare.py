from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.conditioning.conditioning import Native
from signals.description.artifacts import KINDS
from signals.description.quality import channel_snr_db
from signals.recording.recording import Annotation, Recording, Segment, UnreadableError
from signals.shards.index import index_row
from signals.shards.records import decode_window, encode_window
from signals.shards.tfrecord import RecordPlace
from signals.spectrograms import welch
from signals.window import ABSENT, INTERPOLATED
from signals.windows.blocks import blocks, plan_windows
from signals.windows.labels import Label
from signals.windows.prepare import BlockSamples, prepare_block, prepare_recording, prepare_samples
from signals.windows.profiles import PRETRAIN, SIX_CLASS, SLEEP, Profile
from tests.signals.windows.recordings_in_memory import NAMES, eeg, plan_of, recording_of


def test_windows_tile_the_recording():
    recording = recording_of(eeg(64, 200.0), 200.0)
    windows = list(prepare_recording(recording, plan_of(recording)))
    assert [w.start_s for w in windows] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    for window in windows:
        assert window.data.shape == (19, 2560)
        assert window.data.dtype == np.float32
        assert window.artifact_mask.shape == (19, 10)
        assert window.band == (0.5, 90.0)  # 0.45 x 200 Hz


def test_block_length_does_not_change_a_window():
    x = eeg(120, 250.0)
    recording = recording_of(x, 250.0)
    short = list(prepare_recording(recording, plan_of(recording, replace(PRETRAIN, block_s=10.0))))
    long = list(prepare_recording(recording, plan_of(recording, replace(PRETRAIN, block_s=120.0))))
    assert [w.key for w in short] == [w.key for w in long]
    for a, b in zip(short, long, strict=True):
        assert np.abs(a.data - b.data).max() < 1e-5 * np.abs(x).max()
        assert np.array_equal(a.artifact_mask, b.artifact_mask)
        assert a.provenance == b.provenance


def assert_same_windows(ours, theirs):
    assert [w.key for w in ours] == [w.key for w in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a == b
        for name in ("data", "ch_state", "artifact_mask", "quality", "snr_db", "artifact_ratio", "features"):
            assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name


def test_a_block_is_read_once():
    recording, reads = recording_of(eeg(120, 250.0), 250.0), []

    def read(picks, segment, start, stop):
        reads.append((start, stop))
        return recording.read_samples(picks, segment, start, stop)

    plan = plan_of(recording)
    parts = list(blocks(plan, plan_windows(recording, plan)))
    for block in parts:
        prepare_block(replace(recording, read_samples=read), block)
    assert len(reads) == len(parts)


def test_a_stream_gives_the_windows_of_the_file():
    # Samples arrive; each window is made as soon as those it depends on are there, without any recording.
    sfreq, seconds = 250.0, 60
    x = eeg(seconds, sfreq).astype(np.float32)
    recording = recording_of(x, sfreq)
    plan = plan_of(recording, replace(PRETRAIN, block_s=10.0))
    from_file = list(prepare_recording(recording, plan))
    windows = []
    for block in blocks(plan, plan_windows(recording, plan)):
        start = block.starts[0].start
        first, last = plan.conditioner.span(start, start + plan.n_window, x.shape[1])
        # The stream has not ended yet: all that is known is how much has come so far.
        native = Native(x=x[:, first:last], first=first, n_segment=last)
        samples = BlockSamples(
            reader="memory", onset_s=0.0, primary=native, sensors=(), spectrograms=(None,) * len(block.starts)
        )
        windows += prepare_samples(block, samples).windows
    assert_same_windows(windows, from_file)


def test_gaps_stay_gaps():
    segments = (Segment(0.0, 25.0), Segment(100.0, 35.0))
    recording = recording_of(eeg(60, 128.0), 128.0, segments=segments)
    starts = [w.start_s for w in prepare_recording(recording, plan_of(recording))]
    assert starts == [0.0, 10.0, 100.0, 110.0, 120.0]


def test_label_in_a_later_segment_is_placed_in_recording_time():
    segments = (Segment(0.0, 60.0), Segment(90.0, 60.0))
    recording = recording_of(eeg(120, 128.0), 128.0, segments=segments)
    plan = plan_of(recording, SIX_CLASS)
    labels = [Label(onset_s=95.0, label="LPD", votes=(0, 3, 0, 0, 0, 0)), Label(onset_s=0.0, label="Other")]
    windows = list(prepare_recording(recording, plan, labels))
    assert [(w.start_s, w.label) for w in windows] == [(0.0, "Other"), (95.0, "LPD")]
    assert windows[1].label_span_s == (20.0, 30.0)
    with pytest.raises(UnreadableError, match="label_out_of_range"):
        plan_windows(recording, plan, [Label(onset_s=30.0, label="LPD")])


def test_a_whole_recordings_label_is_on_every_window():
    recording = recording_of(eeg(31, 128.0), 128.0)
    windows = list(prepare_recording(recording, plan_of(recording), [Label(onset_s=None, label="ADHD")]))
    assert [w.label for w in windows] == ["ADHD"] * 3


def test_spike_and_wave_survives_the_whole_chain():
    sfreq, seconds = 200.0, 30
    x = eeg(seconds, sfreq)
    t = np.arange(200) / sfreq
    # 3-per-second spike and wave, generalised with a frontal maximum: 250 µV spikes of 60 ms, then a slow wave.
    phase = (t * 3) % 1 / 3
    complex_uv = 250 * np.exp(-(((phase - 0.04) / 0.02) ** 2)) - 150 * np.exp(-(((phase - 0.2) / 0.06) ** 2))
    weight = np.linspace(1.0, 0.2, 19)[:, None]
    x[:, 3000:3200] += weight * complex_uv
    recording = recording_of(x, sfreq)
    windows = list(prepare_recording(recording, plan_of(recording)))
    window = windows[1]  # 15-16 s lies in the window from 10 s
    discharge = window.data[:, 5 * 256 : 6 * 256]
    assert np.ptp(discharge[0]) > 120.0  # the average reference takes the mean weight of 0.6 away from 1.0 of 400 µV
    assert np.ptp(discharge[0]) > 2 * np.ptp(window.data[0, : 4 * 256])
    bad = [KINDS.index(kind) for kind in ("flat", "clipped", "muscle", "pop", "gap")]
    assert not any(((window.artifact_mask[:, 5] >> bit) & 1).any() for bit in bad)


def test_missing_channels_are_interpolated_and_marked():
    keep = [i for i, name in enumerate(NAMES) if name not in {"Cz", "T5"}]
    recording = recording_of(eeg(11, 128.0)[keep], 128.0, ch_names=[NAMES[i] for i in keep])
    (window,) = prepare_recording(recording, plan_of(recording))
    assert [NAMES[i] for i in np.flatnonzero(window.ch_state == INTERPOLATED)] == ["T5", "Cz"]
    assert window.data[NAMES.index("Cz")].std() > 1.0


def test_a_window_without_signal_is_rejected_and_counted():
    x = eeg(30, 128.0)
    x[:, 128 * 10 : 128 * 20] = np.nan
    recording = recording_of(x, 128.0)
    plan = plan_of(recording)
    (block,) = blocks(plan, plan_windows(recording, plan))
    prepared = prepare_block(recording, block)
    assert [w.start_s for w in prepared.windows] == [0.0, 20.0]
    assert [(r.start_s, r.reason) for r in prepared.rejected] == [(10.0, "mostly_missing")]
    assert all(np.isfinite(w.data).all() for w in prepared.windows)


def test_blocks_equal_the_whole_beside_a_loss():
    # 10 s lost right behind a block's last window, on an electrode that comes back 2,000 µV higher.
    x = eeg(300, 250.0)
    x[5, 250 * 131 :] += 2000.0
    x[5, 250 * 121 : 250 * 131] = np.nan
    recording = recording_of(x, 250.0)
    short, long = (
        list(prepare_recording(recording, plan_of(recording, replace(PRETRAIN, block_s=s, repair_bad_channels=False))))
        for s in (120.0, 600.0)
    )
    assert [w.key for w in short] == [w.key for w in long]
    for a, b in zip(short, long, strict=True):
        assert np.abs(a.data - b.data).max() < 1e-5 * np.nanmax(np.abs(x))  # it was 2.9 µV in the window at 110 s
        assert np.array_equal(a.artifact_mask, b.artifact_mask)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38])
def test_what_is_no_measurement_counts_as_missing(value):
    x = eeg(30, 256.0).astype(np.float32)
    x[3, 256 * 15 + 7] = value
    recording = recording_of(x, 256.0)
    windows = list(prepare_recording(recording, plan_of(recording)))
    assert [w.start_s for w in windows] == [0.0, 10.0, 20.0]
    for window in windows:
        encode_window(window)  # refuses samples that are not finite
        assert np.abs(window.data).max() < 1000
        assert np.isfinite(window.features).all()
    gap = (windows[1].artifact_mask >> KINDS.index("gap")) & 1
    assert np.argwhere(gap).tolist() == [[3, 5]]


@pytest.mark.parametrize(("lost_s", "is_kept"), [(4.9, True), (5.1, False)])
def test_half_of_a_window_may_be_missing(lost_s, is_kept):
    x = eeg(30, 128.0)
    x[:, 128 * 10 : 128 * 10 + round(128 * lost_s)] = np.nan
    recording = recording_of(x, 128.0)
    assert (10.0 in [w.start_s for w in prepare_recording(recording, plan_of(recording))]) == is_kept


def test_only_measured_channels_count_as_missing():
    # 9 of 19 electrodes lost throughout: 47% of what was measured.
    x = eeg(30, 128.0)
    x[:9] = np.nan
    recording = recording_of(x, 128.0)
    plan = plan_of(recording, replace(PRETRAIN, repair_bad_channels=False))
    assert len(list(prepare_recording(recording, plan))) == 3


def test_an_absent_channel_is_zero_everywhere():
    # Four electrodes are too few to interpolate from; a flat row would have powers of -6 and the flag "flat".
    recording = recording_of(eeg(12, 128.0, 4), 128.0, ch_names=["Fp1", "Fp2", "T3", "T4"])
    (window,) = prepare_recording(recording, plan_of(recording, replace(PRETRAIN, min_measured=4)))
    absent = window.ch_state == ABSENT
    assert absent.sum() == 15
    for name in ("data", "artifact_mask", "quality", "features"):
        assert not getattr(window, name)[absent].any(), name


@pytest.mark.parametrize(("n_fast", "sfreq", "n_picks"), [(12, 256.0, 12), (7, 128.0, 12)])
def test_of_mixed_rates_the_commonest_is_taken(n_fast, sfreq, n_picks):
    fast, slow = eeg(12, 256.0), eeg(12, 128.0, seed=1)
    recording = Recording(
        uri="memory", reader="memory", ch_names=NAMES, sensor_types=("eeg",) * 19,
        sfreqs=tuple(256.0 if i < n_fast else 128.0 for i in range(19)), segments=(Segment(0.0, 12.0),),
        read_samples=lambda picks, _, a, b: np.stack(
            [(fast if pick < n_fast else slow)[pick, a:b] for pick in picks]
        ).astype(np.float32),
    )  # fmt: skip
    plan = plan_of(recording)
    assert (plan.native_sfreq, len(plan.picks)) == (sfreq, n_picks)
    assert "mixed_rates" in plan.notes
    assert len(list(prepare_recording(recording, plan))) == 1


def test_quality_is_stored_with_each_window_and_in_its_record():
    # White noise from 20 s on, and a lost second on one electrode at 13 s.
    x = eeg(30, 256.0)
    x[:, 256 * 20 :] = 30 * np.random.default_rng(1).standard_normal((19, 256 * 10))
    x[4, 256 * 13 : 256 * 14] = np.nan
    recording = recording_of(x, 256.0)
    windows = list(prepare_recording(recording, plan_of(recording)))
    assert [w.quality_verdict for w in windows] == ["good", "good", "artifacts+noise"]
    for window in windows:
        assert window.snr_db.dtype == window.artifact_ratio.dtype == np.float32
        # What the record holds is what the window has, and follows from its own samples.
        np.testing.assert_allclose(
            window.snr_db, channel_snr_db(*welch(window.data, 256.0), h_freq=window.band[1]), atol=1e-3
        )
        stored = decode_window(encode_window(window))
        assert np.array_equal(stored.snr_db, window.snr_db, equal_nan=True)
        assert np.array_equal(stored.artifact_ratio, window.artifact_ratio, equal_nan=True)
        assert stored.quality_verdict == window.quality_verdict
    assert windows[0].snr_db.min() > 5 > 0 > np.median(windows[2].snr_db)
    assert windows[1].artifact_ratio[4] == np.float32(0.1)
    row = index_row(windows[1], RecordPlace(0, 0))
    assert row.artifact_ratio == pytest.approx(0.1 / 19)
    assert row.snr_db == np.median(windows[1].snr_db)
    assert row.quality_verdict == "good"


def test_records_without_quality_are_read():
    recording = recording_of(eeg(12, 256.0), 256.0)
    (window,) = prepare_recording(recording, plan_of(recording))
    old = decode_window(encode_window(replace(window, snr_db=None, artifact_ratio=None, quality_verdict="")))
    assert (old.snr_db, old.artifact_ratio, old.quality_verdict) == (None, None, "")
    row = index_row(old, RecordPlace(0, 0))
    assert (row.snr_db, row.artifact_ratio, row.quality_verdict) == (None, None, None)


def test_profile_survives_json_and_block_length_is_no_config():
    import json

    assert Profile.from_dict(json.loads(json.dumps(SIX_CLASS.to_dict()))) == SIX_CLASS
    assert replace(SIX_CLASS, block_s=10.0).config_hash == SIX_CLASS.config_hash
    assert replace(SIX_CLASS, h_freq=40.0).config_hash != SIX_CLASS.config_hash


@pytest.mark.parametrize("changes", [{"window_s": 1.5}, {"hop_s": 0}, {"l_freq": 60.0}])
def test_profile_refuses_contradictions(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        replace(SIX_CLASS, **changes)


@settings(max_examples=40, deadline=None)
@given(
    seconds=st.lists(st.integers(3, 70), min_size=1, max_size=3),
    window_s=st.sampled_from([2, 10, 30]),
    hop_steps=st.integers(1, 80),
)
def test_windows_tile_any_recording(seconds, window_s, hop_steps):
    # One channel is enough to plan; 128 Hz to 256 Hz, so every native sample is two.
    segments, onset = [], 0.0
    for length in seconds:
        segments.append(Segment(onset, float(length)))
        onset += length + 5.0
    recording = recording_of(eeg(sum(seconds), 128.0), 128.0, segments=segments)
    profile = replace(PRETRAIN, window_s=window_s, hop_s=hop_steps / 2)
    if max(seconds) < window_s:
        with pytest.raises(UnreadableError, match="too_short"):
            plan_windows(recording, plan_of(recording, profile))
        return
    starts = plan_windows(recording, plan_of(recording, profile))
    hop, n_window = round(profile.hop_s * 256), window_s * 256
    for segment, length in enumerate(seconds):
        mine = [s.start for s in starts if s.segment == segment]
        n_times = length * 256
        assert mine == [k * hop for k in range(len(mine))]
        # Each window fits, and one more would not: less than a hop is left over.
        assert all(start + n_window <= n_times for start in mine)
        assert len(mine) * hop + n_window > n_times
        if hop <= n_window and mine:
            covered = np.zeros(n_times, dtype=bool)
            for start in mine:
                covered[start : start + n_window] = True
            assert covered[: mine[-1] + n_window].all()


def test_overlapping_windows_are_the_same_signal():
    recording = recording_of(eeg(40, 200.0), 200.0)
    windows = list(prepare_recording(recording, plan_of(recording, replace(PRETRAIN, hop_s=2.5))))
    assert [w.start_s for w in windows] == [2.5 * k for k in range(13)]
    for a, b in pairwise(windows):
        assert np.abs(a.data[:, 640:] - b.data[:, :-640]).max() < 1e-3
    assert len({w.key for w in windows}) == 13


def test_a_label_that_lasts_is_on_every_window_within_it():
    recording = recording_of(eeg(200, 128.0), 128.0)
    plan = plan_of(recording, replace(SIX_CLASS, hop_s=10))
    stretch = Label(onset_s=20.0, label="Seizure", duration_s=95.0)
    moment = Label(onset_s=100.0, label="LPD", duration_s=12.0)
    windows = list(prepare_recording(recording, plan, [stretch, moment]))
    # 20-70, 30-80, ... 60-110 lie within 20-115; the short one gets its one window.
    assert [(w.start_s, w.label) for w in windows] == [
        *((20.0 + 10 * k, "Seizure") for k in range(5)), (100.0, "LPD"),
    ]  # fmt: skip
    assert {w.label_span_s for w in windows} == {(20.0, 30.0)}


def test_hypnogram_annotations_label_epochs():
    notes = (
        Annotation(0.0, 60.0, "Sleep stage W"), Annotation(60.0, 90.0, "Sleep stage 4"), Annotation(150.0, 0.0, "R"),
        Annotation(150.0, 40.0, "Sleep stage R"), Annotation(190.0, 30.0, "Lights on"),
    )  # fmt: skip
    recording = replace(recording_of(eeg(220, 128.0, 2), 128.0, ch_names=["C3", "C4"]), annotations=notes)
    plan = plan_of(recording, SLEEP)
    windows = list(prepare_recording(recording, plan))
    expected = [(0, "W"), (30, "W"), (60, "N3"), (90, "N3"), (120, "N3"), (150, "REM")]
    assert [(w.start_s, w.label) for w in windows] == expected
    assert windows[0].data.shape == (19, 30 * 256)
    # A label file goes before the annotations; without either the recording is tiled.
    assert [w.label for w in prepare_recording(recording, plan, [Label(onset_s=30.0, label="N1")])] == ["N1"]
    bare = replace(recording, annotations=())
    assert len(list(prepare_recording(bare, plan_of(bare, SLEEP)))) == 7
