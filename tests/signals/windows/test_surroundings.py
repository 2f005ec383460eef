from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.electrodes import CHAINS
from signals.modality import EEG_1020
from signals.recording.recording import Recording, Segment
from signals.spectrograms import REGIONAL_FREQS, regional
from signals.windows.blocks import blocks, plan_windows
from signals.windows.labels import Label
from signals.windows.native import read_native
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_block, prepare_recording
from signals.windows.profiles import PROFILES, SIX_CLASS
from signals.windows.surroundings import FLOOR_UV2_HZ, N_STEPS, SPECTROGRAM_SHAPE, log_power, surroundings

NAMES = EEG_1020.ch_names
SFREQ = 128.0
SPECTRAL = PROFILES["six-class-spectrogram"]


def eeg(seconds, *, seed=0, n_chans=19, sfreq=SFREQ):
    """Noise with a 1/f spectrum whose size changes slowly, about 20 µV, float32."""
    n_times = round(seconds * sfreq)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal((n_chans, n_times)))
    spectrum /= np.maximum(np.fft.rfftfreq(n_times, 1 / sfreq), 0.5)
    x = np.fft.irfft(spectrum, n_times)
    slow = 1.5 + np.sin(np.arange(n_times) / sfreq / 40)
    return (20 * slow * x / x.std()).astype(np.float32)


def recording_of(x, *, segments=None, ch_names=NAMES, sfreq=SFREQ):
    segments = segments or (Segment(0.0, x.shape[1] / sfreq),)
    first = np.cumsum([0, *(round(s.duration_s * sfreq) for s in segments)])
    return Recording(
        uri="memory", reader="memory", ch_names=tuple(ch_names), sensor_types=("eeg",) * len(ch_names),
        sfreqs=(sfreq,) * len(ch_names), segments=tuple(segments),
        read_samples=lambda picks, s, a, b: x[picks, first[s] + a : first[s] + b],
    )  # fmt: skip


def plan_of(recording, profile=SPECTRAL):
    return plan_recording(recording, profile, site_id="a", subject_id="b", source_sha256="ab" * 32, mains_hz=50.0)


def labels(*onsets):
    return [Label(onset_s=onset, label="LPD") for onset in onsets]


def test_a_window_carries_the_spectrogram_around_its_middle():
    x = eeg(900)
    recording = recording_of(x)
    # Middle of the ten minutes: 376 + 25 = 401 s, so they are 101 to 701 s: columns at 102 s (half a step) and on.
    plan = plan_of(recording)
    (window,) = prepare_recording(recording, plan, labels(376.0))
    assert window.spectrogram.shape == SPECTROGRAM_SHAPE == (4, 100, N_STEPS)
    assert window.spectrogram.dtype == np.float32
    # Reference: the window's own chain at 256 Hz, band 0.5 to 50 Hz, over the whole recording.
    native = read_native(recording, plan.used_picks, plan.conditioner, segment=0, start=0, stop=900 * 256)
    whole = plan.conditioner.condition(native, 0, 900 * 256).x
    expected = np.log10(regional(whole, NAMES, 256.0))[:, :, 51 : 51 + N_STEPS]
    # Tapers of 256 and of 1024 samples sample the same 4 s at other moments, which shows where noise cancels itself.
    off = np.abs(window.spectrogram - expected)
    assert np.median(off) < 0.005
    assert np.quantile(off, 0.99) < 0.05
    assert off.max() < 0.2


def test_channels_before_the_electrodes_change_nothing():
    x = eeg(660)
    (plain,) = prepare_recording(recording_of(x), plan_of(recording_of(x)), labels(300.0))
    behind = recording_of(np.vstack([100 * x[:2], x]), ch_names=("DC1", "DC2", *NAMES))
    behind = replace(behind, sensor_types=("misc", "misc") + ("eeg",) * 19)
    (window,) = prepare_recording(behind, plan_of(behind), labels(300.0))
    np.testing.assert_array_equal(window.spectrogram, plain.spectrogram)


def test_a_tone_stands_in_its_region_at_its_time():
    x = eeg(620)
    at = np.arange(x.shape[1]) / SFREQ
    burst = (at >= 400) & (at < 420)
    x[NAMES.index("T4")] += np.where(burst, 300 * np.sin(2 * np.pi * REGIONAL_FREQS[50] * at), 0).astype(np.float32)
    recording = recording_of(x)
    (window,) = prepare_recording(recording, plan_of(recording), labels(285.0))  # 10 to 610 s
    row = window.spectrogram[list(CHAINS).index("RL"), 50]
    loudest = np.flatnonzero(row > row.max() - 1)
    assert set(range(195, 205)) <= set(loudest.tolist()) <= set(range(194, 206))
    quiet = window.spectrogram[list(CHAINS).index("LP"), 50, loudest]
    assert quiet.max() < row[loudest].min() - 1


@pytest.mark.parametrize("onset", [0.0, 1.5, 40.0])
def test_beyond_the_recording_is_nan(onset):
    recording = recording_of(eeg(120))
    (window,) = prepare_recording(recording, plan_of(recording), labels(onset))
    known = np.isfinite(window.spectrogram).all(axis=(0, 1))
    assert np.array_equal(known, np.isfinite(window.spectrogram).any(axis=(0, 1)))
    assert known.sum() == 60  # 120 s
    # The recording begins 275 + onset seconds before... the window's middle lies 300 s into the spectrogram.
    begins_s = 300 - 25 - onset
    assert abs(2 * np.flatnonzero(known)[0] - begins_s) <= 1.0


def test_gaps_between_and_within_segments_are_nan():
    segments = (Segment(0.0, 100.0), Segment(150.0, 3.0), Segment(160.0, 100.0))
    x = eeg(203)
    x[NAMES.index("O1"), round(30 * SFREQ) : round(32.5 * SFREQ)] = np.nan
    recording = recording_of(x, segments=segments)
    (window,) = prepare_recording(recording, plan_of(recording), labels(25.0))  # middle at 50 s: -250 to 350 s
    known = np.isfinite(window.spectrogram).all(axis=1)  # (4, 300)
    for region, name in enumerate(CHAINS):
        seconds = 2.0 * np.flatnonzero(known[region]) - 250
        # 4-s windows at 29 ... 35 s see the hole; O1 is in the two left chains. 3 s are no window of 4 s.
        hole = {28.0, 30.0, 32.0} if name in ("LL", "LP") else set()
        assert set(seconds.tolist()) == ({*np.arange(0.0, 100.0, 2.0)} | {*np.arange(160.0, 260.0, 2.0)}) - hole


@settings(max_examples=8, deadline=None)
@given(
    lengths=st.lists(st.integers(52, 400), min_size=1, max_size=3),
    block_s=st.sampled_from([50.0, 120.0, 600.0]),
    hop_s=st.sampled_from([25.0, 50.0, 61.5]),
)
def test_blocks_equal_the_whole(lengths, block_s, hop_s):
    segments, onset = [], 0.0
    for length in lengths:
        segments.append(Segment(onset, float(length)))
        onset += length + 7.3
    recording = recording_of(eeg(sum(lengths)), segments=segments)
    whole = plan_of(recording, replace(SPECTRAL, windows="tile", hop_s=hop_s))
    starts = plan_windows(recording, whole)
    expected = [s for segment in range(len(segments))
                for s in surroundings(recording, whole, [w for w in starts if w.segment == segment])
                if any(w.segment == segment for w in starts)]  # fmt: skip
    plan = replace(whole, profile=replace(whole.profile, block_s=block_s))
    parts = [s for block in blocks(plan, starts) for s in surroundings(recording, plan, block.starts)]
    assert len(parts) == len(expected)
    for ours, theirs in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        np.testing.assert_allclose(ours, theirs, atol=0.005)  # one step of float16 is up to 0.004 below 8


def test_chains_without_their_electrodes_are_nan():
    names = ("Fp2", "F8", "T4", "T6", "O2")
    recording = recording_of(eeg(60, n_chans=5), ch_names=names)
    plan = plan_of(recording, replace(SPECTRAL, min_measured=5))
    (window,) = prepare_recording(recording, plan, labels(0.0))
    known = np.isfinite(window.spectrogram).any(axis=(1, 2))
    assert dict(zip(CHAINS, known.tolist(), strict=True)) == {"LL": False, "RL": True, "LP": False, "RP": False}


def test_above_the_recordings_band_is_nan():
    recording = recording_of(eeg(60, sfreq=40.0), sfreq=40.0)
    (window,) = prepare_recording(recording, plan_of(recording), labels(0.0))
    known = np.isfinite(window.spectrogram).any(axis=(0, 2))
    assert np.array_equal(known, REGIONAL_FREQS <= 18.0)  # 0.45 x 40 Hz


def test_log_power_has_a_floor_and_the_records_precision():
    values = log_power(np.array([0.0, 1e-9, 1.0, 100.0, 123.4, np.nan]))
    assert values[:2].tolist() == [np.float16(np.log10(FLOOR_UV2_HZ))] * 2
    assert values[2:4].tolist() == [0.0, 2.0]
    assert np.array_equal(values.astype(np.float16).astype(np.float32), values, equal_nan=True)


def test_it_is_made_only_where_requested():
    recording = recording_of(eeg(60))
    (window,) = prepare_recording(recording, plan_of(recording, SIX_CLASS), labels(0.0))
    assert window.spectrogram is None


def test_a_recorded_spectrogram_goes_before_a_computed_one(tmp_path, caplog):
    """By file and offset; a file that is not there, or of other frequencies, gives NaN and not a computed one."""
    at = 2 * np.arange(400) + 1
    columns = {f"{r}_{f:.2f}": np.full(400, 10.0 + i) for i, r in enumerate(CHAINS) for f in REGIONAL_FREQS}
    pq.write_table(pa.table({"time": at} | columns), tmp_path / "1.parquet")
    odd = {f"{r}_{f:.2f}": np.ones(400) for r in CHAINS for f in REGIONAL_FREQS[:50]}
    pq.write_table(pa.table({"time": at} | odd), tmp_path / "2.parquet")
    recording = recording_of(eeg(60))
    plan = plan_of(recording)
    for name, n_known in (("1", 250), ("2", 0), ("3", 0)):
        label = Label(onset_s=0.0, label="", spectrogram_uri=str(tmp_path / f"{name}.parquet"))
        # 300 s into a spectrogram of 800 s there are 250 columns left
        (window,) = prepare_recording(recording, plan, [replace(label, spectrogram_offset_s=300.0)])
        known = np.isfinite(window.spectrogram).all(axis=(0, 1))
        assert known.sum() == n_known
        if n_known:
            assert window.spectrogram[2, 7, 0] == pytest.approx(np.log10(12.0), abs=1e-3)
    assert [record.message for record in caplog.records] == [
        "a spectrogram cannot be used, its windows have none: 2.parquet has other frequencies than the 100 of 0.59 to "
        "19.92 Hz"
    ]


def test_memory_of_a_night_stays_bounded():
    """A block reads ten minutes on either side at most, in pieces, however long the recording is."""
    hours, spans = 2, []
    x = eeg(60)

    def read(picks, segment, a, b):
        spans.append((a, b))
        return np.take(x[picks], np.arange(a, b) % x.shape[1], axis=1)

    recording = replace(recording_of(x), segments=(Segment(0.0, hours * 3600.0),), read_samples=read)
    plan = plan_of(recording, replace(SPECTRAL, windows="tile"))
    block = list(blocks(plan, plan_windows(recording, plan)))[5]
    spans.clear()
    assert len(prepare_block(recording, block).windows) == 12
    assert max(b - a for a, b in spans) <= 620 * SFREQ
    middle = (block.starts[0].start / 256 + 300) * SFREQ
    assert min(a for a, _ in spans) > middle - 620 * SFREQ
    assert max(b for _, b in spans) < middle + 620 * SFREQ
