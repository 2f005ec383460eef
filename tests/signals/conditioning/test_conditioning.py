import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import find_peaks, resample_poly

from signals.conditioning.conditioning import Conditioner, Native
from signals.conditioning.filters import antialias_taps, bandpass, reflect
from signals.modality import EEG_1020
from signals.montage.labels import Derivation
from signals.montage.montage import harmoniser
from signals.readers.registry import open_recording
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN
from synthetic.recordings.files import write_edf

ALL = tuple(Derivation(name, None) for name in EEG_1020.ch_names)


def conditioner(sfreq, *, reference="source", mains_hz=None, offset=0.0):
    return Conditioner(
        harmoniser=harmoniser(ALL, EEG_1020, reference),
        native_sfreq=sfreq,
        sfreq=256.0,
        band=(0.5, 50.0),
        mains_hz=mains_hz,
        offsets=(offset,) * 19,
    )


def stretch(chain, x, start, stop):
    """Samples [start, stop) and where they are missing, of a segment x."""
    first, last = chain.span(start, stop, x.shape[1])
    if np.isnan(x[:, [first, last - 1]]).any():
        first, last = chain.wide_span(start, stop, x.shape[1])
    signal = chain.condition(Native(x=x[:, first:last], first=first, n_segment=x.shape[1]), start, stop)
    assert signal.start == start
    return signal.x, signal.missing


def whole(chain, x):
    return stretch(chain, x, 0, chain.n_times(x.shape[1]))


@given(
    sfreq=st.sampled_from([128.0, 160.0, 200.0, 250.0, 256.0, 500.0, 173.0]),
    seconds=st.integers(12, 30),
    cuts=st.lists(st.floats(0.05, 0.95), min_size=1, max_size=3, unique=True),
    offset=st.sampled_from([0.0, 4200.0]),
)
@settings(max_examples=15, deadline=None)
def test_blocks_equal_the_whole(sfreq, seconds, cuts, offset):
    # White noise and a random walk: drift is what blocks with offsets of their own would disagree about.
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((19, round(seconds * sfreq)))
    x = (30 * noise + np.cumsum(noise, axis=1) + offset).astype(np.float32)
    chain = conditioner(sfreq, reference="average", mains_hz=50.0, offset=offset)
    at_once, _ = whole(chain, x)
    edges = [0, *sorted(round(cut * at_once.shape[1]) for cut in cuts), at_once.shape[1]]
    pieces = [stretch(chain, x, a, b)[0] for a, b in itertools.pairwise(edges) if b > a]
    assert np.abs(np.concatenate(pieces, axis=1) - at_once).max() < 1e-5 * np.abs(x).max()


@st.composite
def losses(draw, n_chans=19, seconds=150):
    """Lost stretches of single samples to most of a minute: (channel or None for all, onset s, length s, jump µV)."""
    channel = st.one_of(st.none(), st.integers(0, n_chans - 1))
    length = st.one_of(st.just(0.0), st.floats(0.01, 3.0), st.floats(15.0, 25.0), st.floats(25.0, 80.0))
    onset, jump = st.floats(0.0, float(seconds)), st.sampled_from([0.0, 300.0, -2000.0])
    return draw(st.lists(st.tuples(channel, onset, length, jump), min_size=1, max_size=5))


@given(
    sfreq=st.sampled_from([128.0, 200.0, 250.0]),
    lost=losses(),
    cuts=st.lists(st.floats(0.02, 0.98), min_size=1, max_size=4, unique=True),
)
@settings(max_examples=12, deadline=None)
def test_blocks_equal_the_whole_where_samples_are_missing(sfreq, lost, cuts):
    # Drift, and electrodes that come back at another level: what fills a loss must not depend on how far a block reads.
    rng = np.random.default_rng(8)
    noise = rng.standard_normal((19, round(150 * sfreq)))
    x = (30 * noise + np.cumsum(noise, axis=1)).astype(np.float32)
    for channel, onset_s, length_s, jump in lost:
        rows = slice(None) if channel is None else channel
        start = min(round(onset_s * sfreq), x.shape[1] - 1)
        stop = start + max(1, round(length_s * sfreq))
        x[rows, stop:] += np.float32(jump)
        x[rows, start:stop] = np.nan
    chain = conditioner(sfreq, reference="average")
    at_once, missing = whole(chain, x)
    assert np.isfinite(at_once).all()
    edges = [0, *sorted(round(cut * at_once.shape[1]) for cut in cuts), at_once.shape[1]]
    pieces = [stretch(chain, x, a, b) for a, b in itertools.pairwise(edges) if b > a]
    largest = np.nanmax(np.abs(x), initial=1.0)
    assert np.abs(np.concatenate([y for y, _ in pieces], axis=1) - at_once).max() < 1e-5 * largest
    assert np.array_equal(np.concatenate([m for _, m in pieces], axis=1), missing)


def test_what_a_loss_needs_beyond_the_span_must_be_brought():
    chain, x = conditioner(250.0), np.zeros((19, 250 * 300), dtype=np.float32)
    first, last = chain.span(256 * 100, 256 * 160, x.shape[1])
    x[4, last - 100 : last + 100] = np.nan
    with pytest.raises(ValueError, match="missing at an end"):
        chain.condition(Native(x=x[:, first:last], first=first, n_segment=x.shape[1]), 256 * 100, 256 * 160)


@pytest.mark.parametrize("n_lost", [1, 125, 250 * 15])
def test_a_short_loss_is_bridged_by_a_line(n_lost):
    # On a ramp a line is the signal itself: nothing may be left of the loss. Zeros in its place would leave 400 µV.
    x = np.repeat(np.linspace(300.0, 500.0, 250 * 90, dtype=np.float32)[None], 19, axis=0)
    without, _ = whole(conditioner(250.0), x)
    x[5, 250 * 40 : 250 * 40 + n_lost] = np.nan
    y, missing = whole(conditioner(250.0), x)
    assert missing[5].any()
    assert np.abs(y - without).max() < 0.01


@pytest.mark.parametrize("sfreq", [128.0, 200.0, 250.0, 500.0, 1000.0, 2000.0, 173.61])
def test_every_lost_sample_is_marked(sfreq):
    # Every 500th sample lost, one at a time: at 1 kHz an output sample stands for four native ones.
    n_times = round(30 * sfreq)
    lost = np.random.default_rng(1).random(n_times) < 0.002
    x = np.random.default_rng(2).standard_normal((19, n_times)).astype(np.float32)
    x[:, lost] = np.nan
    _, missing = whole(conditioner(sfreq), x)
    at_s = np.flatnonzero(lost) / sfreq  # each stands for [n, n + 1) / sfreq
    marked = np.zeros_like(missing[0])
    for onset_s in at_s:
        first, last = int(np.floor(onset_s * 256 + 1e-6)), int(np.ceil((onset_s + 1 / sfreq) * 256 - 1e-6))
        marked[first : min(last, marked.size)] = True
    assert (missing == marked).all()


def test_a_stretch_needs_only_its_halo():
    chain = conditioner(250.0)
    first, last = chain.span(256 * 600, 256 * 660, 250 * 3600)
    # 60 s and, on either side, half of a 6.6-s FIR, 0.26 s of anti-alias filter and less than a step of 0.5 s.
    assert last - first < 250 * (60 + 2 * 4.06)
    assert first < 250 * 600 < 250 * 660 < last
    short = Native(x=np.zeros((19, last - first - 1), np.float32), first=first, n_segment=250 * 3600)
    with pytest.raises(ValueError, match="do not hold the span"):
        chain.condition(short, 256 * 600, 256 * 660)


def test_chain_is_resampling_then_band_pass():
    x = np.random.default_rng(4).standard_normal((19, 200 * 40)).astype(np.float32)
    y, missing = whole(conditioner(200.0), x)
    pad = 1600
    padded = resample_poly(reflect(x.astype(np.float64), pad, pad), 32, 25, axis=-1, window=antialias_taps(32, 25))
    cut = slice(pad * 32 // 25, pad * 32 // 25 + y.shape[1])
    reference = bandpass(padded, 256.0, l_freq=0.5, h_freq=50.0)[:, cut]
    assert not missing.any()
    assert np.abs(y - reference).max() < 1e-5 * np.abs(x).max()
    assert y.dtype == np.float32


@pytest.mark.parametrize("n_extra", [0, 12])
def test_channels_are_combined_before_or_after_alike(n_extra):
    # With fewer picks than channels the matrix comes after the filter: 11 + 12 electrodes against 11.
    rng = np.random.default_rng(9)
    names = [*EEG_1020.ch_names[:11], *("FC1", "FC2", "CP1", "CP2", "PO3", "PO4", "AF3", "AF4", "P1", "P2", "C1", "C2")]
    derivations = tuple(Derivation(name, None) for name in names[: 11 + n_extra])
    x = (20 * rng.standard_normal((len(derivations), 250 * 12)) + 300.0).astype(np.float32)
    offsets = tuple(float(v) for v in np.median(x, axis=1))
    fit = harmoniser(derivations, EEG_1020, "average")
    chain = Conditioner(
        harmoniser=fit, native_sfreq=250.0, sfreq=256.0, band=(0.5, 50.0), mains_hz=None, offsets=offsets
    )
    y, _ = whole(chain, x[fit.used])
    mixed = (fit.matrix.astype(np.float64) @ (x - np.array(offsets)[:, None])).astype(np.float32)
    reference, _ = whole(conditioner(250.0), mixed)
    assert np.abs(y - reference).max() < 1e-5 * np.abs(x).max()


def test_timestamps_are_kept_to_the_sample():
    # An impulse at 5.000 s must come out at sample 1280 whatever the rate.
    for sfreq in (128.0, 160.0, 200.0, 250.0, 257.0, 500.0, 512.0):
        x = np.zeros((19, round(12 * sfreq)), dtype=np.float32)
        x[:, round(5 * sfreq)] = 100.0
        y, _ = whole(conditioner(sfreq), x)
        assert np.argmax(y[0]) == 1280


@pytest.mark.parametrize(("sfreq", "block_s"), [(250, 120.0), (160, 10.0), (257, 20.0)])
def test_timestamps_are_kept_across_gaps_and_blocks(tmp_path, sfreq, block_s):
    # 31 s, a gap of 7.2 s, 32 s; an impulse every 8 s of the clock, where there is signal.
    path = tmp_path / "gap.edf"
    onsets_s = [*range(31), *(38.2 + i for i in range(32))]
    clock = np.concatenate([onset + np.arange(sfreq) / sfreq for onset in onsets_s])
    x = 5 * np.random.default_rng(10).standard_normal((19, clock.size))
    x[:, np.isclose(clock % 8, 3, atol=0.45 / sfreq)] += 400.0
    write_edf(path, [x.astype(np.float32)], file_format="edf+d", ch_names=list(EEG_1020.ch_names), sfreq=sfreq,
              patient="p", record_onsets_s=onsets_s, reference="Cz")  # fmt: skip
    recording = open_recording(str(path))
    profile = dataclasses.replace(PRETRAIN, block_s=block_s, reference="source")
    plan = plan_recording(recording, profile, site_id="s", subject_id="p", source_sha256="0" * 64)
    found = []
    for window in prepare_recording(recording, plan):
        level = window.data.mean(axis=0)
        peaks, _ = find_peaks(level, height=0.6 * level.max(), distance=256)
        found += [window.start_s + peak / 256.0 for peak in peaks]
    # Windows of 10 s from 0 and from 38.2 s; an impulse lies within half a sample of either rate.
    assert found == pytest.approx([3, 11, 19, 27, 43, 51, 59, 67], abs=0.5 / 256 + 0.5 / sfreq)


@pytest.mark.parametrize("sfreq", [200.0, 250.0])
def test_missing_samples_are_filled_and_marked(sfreq):
    x = np.random.default_rng(5).standard_normal((19, round(20 * sfreq))).astype(np.float32)
    x[3, round(8 * sfreq) : round(9 * sfreq)] = np.nan
    y, missing = whole(conditioner(sfreq), x)
    assert np.isfinite(y).all()
    assert missing[3, 8 * 256 + 2 : 9 * 256 - 2].all()
    assert missing.sum() == pytest.approx(256, abs=3)
    assert not missing[2].any()


@pytest.mark.parametrize("reference", ["source", "average"])
def test_offset_of_a_headset_leaves_no_trace(reference):
    rng = np.random.default_rng(6)
    x = (rng.standard_normal((19, 128 * 30)) * 20).astype(np.float32)
    with_offset, _ = whole(conditioner(128.0, reference=reference, offset=4200.0), x + np.float32(4200.0))
    without, _ = whole(conditioner(128.0, reference=reference), x)
    assert np.abs(with_offset - without).max() < 0.005  # a stored digit is 0.1 µV
