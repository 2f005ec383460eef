from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.electrodes import TEN_TWENTY
from signals.readers.memory import recording_of_array
from signals.recording.recording import Segment
from signals.viewing.envelope import BIN, columns_of, envelope_of
from signals.viewing.filters import ViewFilter
from signals.viewing.montages import view_montage
from signals.viewing.traces import Traces

SFREQ = 128.0
N = 120 * 128


def traces_of(x, montage="longitudinal", segments=None):
    one = recording_of_array(x, ch_names=TEN_TWENTY, sfreq=SFREQ)
    if segments:
        starts = np.cumsum([0, *(round(s.duration_s * SFREQ) for s in segments)])

        def read(picks, segment, start, stop):
            return x[list(picks), starts[segment] + start : starts[segment] + stop]

        one = replace(one, segments=tuple(segments), read_samples=read)
    shown = ViewFilter(sfreq=SFREQ, l_freq=1.0, h_freq=35.0)
    return Traces(recording=one, montage=view_montage(one, montage, sfreq=SFREQ), filter=shown)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(0, 30, (19, N)).astype(np.float32)


@pytest.fixture(scope="module")
def spiky(x):
    """A recording with a gap, lost samples and one spike of a single sample."""
    y = x.copy()
    y[4, 3000:3300] = np.nan
    y[2, 9001] += 4000
    return traces_of(y, segments=(Segment(0.0, 50.0), Segment(60.0, 70.0)))


def test_stretches_equal_the_whole(spiky):
    whole = spiky.read(0, spiky.n_times)
    assert spiky.n_times == 130 * 128
    rng = np.random.default_rng(0)
    for _ in range(30):
        start, stop = sorted(rng.integers(0, spiky.n_times, 2))
        part = spiky.read(start, stop)
        np.testing.assert_array_equal(np.isnan(part), np.isnan(whole[:, start:stop]))
        np.testing.assert_allclose(part, whole[:, start:stop], atol=0.5 if start < 4000 else 5e-3)


def test_gaps_and_lost_samples_are_missing_and_nothing_else_is(spiky):
    missing = np.isnan(spiky.read(0, spiky.n_times + 64))
    gap = slice(50 * 128, 60 * 128)
    assert missing[:, gap].all()
    assert missing[:, spiky.n_times :].all()
    rows = [row.label for row in spiky.montage.rows]
    at_electrode = [i for i, row in enumerate(spiky.montage.rows) if TEN_TWENTY[4] in row.electrodes]
    lost = missing[:, 3000:3300]
    assert lost[at_electrode].all()
    assert not np.delete(lost, at_electrode, axis=0).any(), rows
    missing[:, gap] = missing[:, 3000:3300] = missing[:, spiky.n_times :] = False
    assert not missing.any()


def test_a_segment_begins_at_rest():
    """An offset of 100,000 µV leaves no step where a recording or a segment begins."""
    flat = traces_of(np.full((19, N), 1e5, np.float32) + np.arange(19, dtype=np.float32)[:, None] * 1e4)
    assert np.abs(flat.read(0, 1000)).max() < 1e-2


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_extreme_is_lost_at_any_zoom(spiky, data):
    """Columns of bins, and columns of samples, are the extremes of all their samples by brute force."""
    envelope, whole = _made(spiky)
    n_bins = data.draw(st.integers(1, 60))
    total = -(-spiky.n_times // (n_bins * BIN))
    first = data.draw(st.integers(0, total - 1))
    count = data.draw(st.integers(1, 40))
    columns = envelope.columns(n_bins, first, count)
    _assert_extremes(columns, whole, step=n_bins * BIN, first=first)
    step = data.draw(st.integers(2, 4 * BIN))
    start = data.draw(st.integers(0, spiky.n_times // step - 1))
    part = spiky.read(start * step, min((start + 40) * step, spiky.n_times))
    _assert_extremes(columns_of(part, step), part, step=step, first=0)


_MADE = {}


def _made(traces):
    if id(traces) not in _MADE:
        _MADE[id(traces)] = envelope_of(traces), traces.read(0, traces.n_times)
    return _MADE[id(traces)]


def _assert_extremes(columns, x, *, step, first):
    for i in range(columns.shape[1]):
        part = x[:, (first + i) * step : (first + i + 1) * step]
        for row in range(len(x)):
            there = part[row][~np.isnan(part[row])]
            if there.size:
                np.testing.assert_allclose(columns[row, i], [there.min(), there.max()], atol=0.5)
            else:
                assert np.isnan(columns[row, i]).all()


def test_the_overview_is_the_same_in_threads(spiky):
    from concurrent.futures import ThreadPoolExecutor

    shares = []
    with ThreadPoolExecutor(2) as pool:
        other = envelope_of(spiky, mapped=pool.map, progress=shares.append)
    np.testing.assert_array_equal(other.low, envelope_of(spiky).low)
    assert shares[-1] == 1.0


def test_a_planted_spike_is_the_largest_of_the_day(spiky):
    """The overview in 20 columns: the spike of one sample is there, at its full size."""
    envelope, whole = _made(spiky)
    row = next(i for i, one in enumerate(spiky.montage.rows) if TEN_TWENTY[2] in one.electrodes)
    columns = envelope.columns(13, 0, 20)
    assert np.nanmax(np.abs(columns[row])) == np.nanmax(np.abs(whole[row])) > 1000
