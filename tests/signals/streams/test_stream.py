"""A stream in chunks of any size gives the windows of the file; gaps, losses and torn electrodes have an outcome."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.modality import EEG_1020
from signals.readers.memory import recording_of_array
from signals.streams.electrodes import good_in_second
from signals.streams.ring import Ring
from signals.streams.stream import AFTER_S, Stream
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import SIX_CLASS
from synthetic.segments.clinical import segment
from synthetic.subject.subjects import draw_subject

NAMES, SFREQ, HOP_S = EEG_1020.ch_names, 200.0, 10.0


def noise(seconds, seed=0):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=(19, round(seconds * SFREQ))), axis=1)
    kernel = np.ones(400) / 400
    slow = np.stack([np.convolve(row, kernel, mode="same") for row in x])
    common = np.cumsum(rng.normal(size=x.shape[1])) * 0.2
    return (4 * (x - slow) + common - common.mean()).astype(np.float32)


def stream(**options):
    return Stream(SIX_CLASS, ch_names=NAMES, sfreq=SFREQ, hop_s=HOP_S, **options)


def fed(one, x, sizes, begin=0):
    """The windows of samples that come in chunks of these sizes, over and over."""
    found, at, number = [], 0, 0
    while at < x.shape[1]:
        size = max(1, sizes[number % len(sizes)])
        found += one.append(x[:, at : at + size], first=begin + at)
        at, number = at + size, number + 1
    return found + list(one.finish())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 50), st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_a_ring_keeps_the_newest_samples(n_kept, sizes):
    ring, x = Ring(2, n_kept), np.arange(2 * sum(sizes), dtype=np.float32).reshape(2, -1)
    at = 0
    for size in sizes:
        ring.append(x[:, at : at + size])
        at += size
        assert ring.stop == at
        first = max(0, at - n_kept)
        assert ring.first <= first
        np.testing.assert_array_equal(ring.read(first, at), x[:, first:at])
    with pytest.raises(ValueError, match="not within"):
        ring.read(0, at + 1)


def test_chunks_of_any_size_give_the_windows_of_the_file():
    x = noise(127.3)
    one = stream()
    windows = fed(one, x, [50])
    # 127.3 s: windows begin at 0, 10, ..., 70 s.
    assert [(w.start_s, w.stop_s, w.reason) for w in windows] == [(10.0 * n, 10.0 * n + 50, "") for n in range(8)]
    for sizes in ([x.shape[1]], [1999, 7, 4000]):
        other = fed(stream(), x, sizes)
        assert [w.window.data.tobytes() for w in other] == [w.window.data.tobytes() for w in windows]
    recording = recording_of_array(x, ch_names=NAMES, sfreq=SFREQ)
    plan = replace(one.plan.plan, header=recording.header)
    of_file = list(prepare_recording(recording, plan, want=()))
    assert [w.start_s for w in of_file] == [w.start_s for w in windows]
    for live, file in zip(windows, of_file, strict=True):
        np.testing.assert_allclose(live.window.data, file.data, atol=1e-3)  # µV, of 50
        np.testing.assert_array_equal(live.window.ch_state, file.ch_state)


def test_a_window_comes_when_the_filters_reach_behind_it_has_come_and_not_before():
    x, one = noise(80), stream()
    n = round((50 + AFTER_S) * SFREQ)
    assert list(one.append(x[:, : n - 1])) == []
    (first,) = one.append(x[:, n - 1 : n])
    assert (first.start_s, first.plan_version) == (0.0, 1)
    assert [w.start_s for w in one.append(x[:, n:], first=n)] == [10.0, 20.0]
    assert [w.start_s for w in one.finish()] == [30.0]


def test_samples_that_come_twice_count_once_and_a_stream_resumes():
    x = noise(120)
    windows = fed(stream(), x, [1000])
    one, found = stream(), []
    for at in range(0, x.shape[1], 1000):
        found += one.append(x[:, max(0, at - 500) : at + 1000], first=max(0, at - 500))
    assert [w.window.data.tobytes() for w in found] == [w.window.data.tobytes() for w in windows][: len(found)]
    # A server that comes back gets what the next hop's filters reach: the same windows by another plan.
    begin = round((30 - AFTER_S) * SFREQ)
    later = fed(stream(begin=begin), x[:, begin:], [777], begin=begin)
    assert [w.start_s for w in later] == [30.0, 40.0, 50.0, 60.0, 70.0]
    for again, before in zip(later, windows[3:], strict=True):
        np.testing.assert_allclose(again.window.data, before.window.data, atol=0.05)  # offsets differ a little


def test_a_long_gap_begins_anew_and_a_short_one_is_missing_samples():
    x, one = noise(150), stream()
    n = round(70 * SFREQ)
    found = list(one.append(x[:, :n]))
    found += one.append(x[:, n + 600 :], first=n + 600)  # three seconds
    # Windows end at 70 s at the latest, or begin on the grid behind 73 s; the last one to fit begins at 100 s.
    assert [w.start_s for w in [*found, *one.finish()]] == [0.0, 10.0, 20.0, 80.0, 90.0, 100.0]
    one, found = stream(), []
    for window in (*one.append(x[:, :n]), *one.append(x[:, n + 200 :], first=n + 200), *one.finish()):
        found.append(window)
    assert [w.start_s for w in found] == [10.0 * k for k in range(11)]
    assert found[0].window is not None


def test_missing_samples_at_the_edge_hold_nothing_up():
    x = noise(90)
    x[:, round(54 * SFREQ) : round(56 * SFREQ)] = np.nan
    x[3, round(62 * SFREQ) :] = np.nan
    windows = fed(stream(), x, [100])
    assert [w.start_s for w in windows] == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert all(w.window is not None and np.isfinite(w.window.data).all() for w in windows)


def test_a_plan_is_judged_again_and_changes_where_an_electrode_goes_bad():
    rng = np.random.default_rng(0)
    x = segment(rng, label="Other", duration_s=400, sfreq=SFREQ, ch_names=NAMES, subject=draw_subject(rng)).data.copy()
    x[5, round(130 * SFREQ) :] = 0.0
    one = stream()
    windows = fed(one, x, [500])
    versions = [w.plan_version for w in windows]
    assert versions == sorted(versions)
    assert (versions[0], versions[-1]) == (1, 2)
    assert [name for name, _ in one.plan.plan.bad_channels] == [NAMES[5]]


def test_a_signal_that_cannot_be_used_gives_hops_with_a_reason_and_comes_back():
    x = noise(300)
    x[:, : round(70 * SFREQ)] = 0.0
    windows = fed(stream(), x, [300])
    assert [w.start_s for w in windows] == [10.0 * n for n in range(26)]  # every hop has an outcome
    assert windows[0].reason
    assert windows[-1].window is not None
    assert (windows[-1].reason, windows[-1].plan_version) == ("", 2)


def test_a_hop_between_samples_is_refused():
    with pytest.raises(ValueError, match="whole number"):
        Stream(SIX_CLASS, ch_names=NAMES, sfreq=250.0, hop_s=0.001, want=())


def test_good_electrodes_of_a_second():
    x = 10 * np.random.default_rng(0).normal(size=(7, 200)).astype(np.float32)
    x[0] = 0.0  # nothing connected
    x[1] = np.linspace(-4000, 4000, 200)  # a drift is no signal
    x[2] = np.nan
    x[3, :99] = np.nan  # half of it is there
    x[4] *= 1000  # no EEG
    x[5] += 3000  # an offset harms nobody
    assert good_in_second(x).tolist() == [False, False, False, True, False, True, True]
    x[3, :101] = np.nan
    assert not good_in_second(x)[3]
