from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.modality import EEG_1020
from signals.recording.recording import Recording, Segment, UnreadableError
from signals.windows.look import channel_offsets, look_at, look_over, plausible_amplitude, spread
from signals.windows.plan import plan_recording
from signals.windows.profiles import PRETRAIN

SFREQ = 128.0


def recording_of(x, segments=None):
    segments = segments or (Segment(0.0, x.shape[1] / SFREQ),)
    first = np.cumsum([0, *(round(s.duration_s * SFREQ) for s in segments)])
    return Recording(
        uri="memory", reader="memory", ch_names=EEG_1020.ch_names[: len(x)], sensor_types=("eeg",) * len(x),
        sfreqs=(SFREQ,) * len(x), segments=tuple(segments),
        read_samples=lambda picks, s, a, b: x[picks, first[s] + a : first[s] + b].astype(np.float32),
    )  # fmt: skip


def hour(size_uv=20.0, seed=0, n_chans=8):
    """Noise of 1-35 Hz and more in an hour."""
    return size_uv * np.random.default_rng(seed).standard_normal((n_chans, round(3600 * SFREQ)))


def plan_of(recording):
    profile = replace(PRETRAIN, repair_bad_channels=False)
    return plan_recording(recording, profile, site_id="s", subject_id="p", source_sha256="0" * 64)


@pytest.mark.parametrize("noise_uv", [0.0, 0.05, 5000.0])
def test_a_box_that_is_unplugged_for_a_while_does_not_cost_the_hour(noise_uv):
    # The middle ten minutes hold nothing, next to nothing, or what open inputs pick up.
    x = hour()
    cut = slice(round(1500 * SFREQ), round(2100 * SFREQ))
    x[:, cut] = noise_uv / 20.0 * x[:, cut] + 3000.0
    plan = plan_of(recording_of(x))
    whole = plan_of(recording_of(hour()))
    assert plan.amplitude_uv == pytest.approx(whole.amplitude_uv, rel=0.05)
    assert np.abs(plan.offsets).max() < 10  # not the 3,000 µV of the middle


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_a_wrong_unit_is_seen_where_most_of_a_recording_is_flat_or_lost(factor):
    x = hour() * factor
    x[:, : round(900 * SFREQ)] = np.nan
    x[:, round(1800 * SFREQ) :] = 0.0
    with pytest.raises(UnreadableError, match="looks 1000 times too"):
        plan_of(recording_of(x))


def test_flat_electrodes_do_not_change_the_amplitude():
    x = hour(size_uv=1e6)
    x[2:] = 4200.0  # six of eight are not connected
    with pytest.raises(UnreadableError, match="implausible_amplitude"):
        plan_of(recording_of(x))
    assert plan_of(recording_of(np.full((8, round(60 * SFREQ)), 4200.0))).amplitude_uv == 0.0


def test_a_recording_is_looked_at_all_over():
    # One plausible stretch of 8 s in each eighth of the hour, all else is off by a thousand.
    x = hour() * 1e3
    for eighth in range(8):
        middle = round((eighth + 0.5) * 450 * SFREQ)
        x[:, middle - round(4 * SFREQ) : middle + round(4 * SFREQ)] /= 1e3
    assert 5 < plan_of(recording_of(x)).amplitude_uv < 40
    stretches = look_over(recording_of(x), range(8))
    assert [part.shape for part in stretches] == [(8, round(8 * SFREQ))] * 8
    assert [part.shape for part in look_at(recording_of(x), range(8))] == [(8, round(15 * SFREQ))] * 4


def test_what_is_missing_makes_no_steps():
    x = hour() + 4000.0
    full = plausible_amplitude(look_over(recording_of(x), range(8)), SFREQ)
    x[:, ::97] = np.nan
    stretches = look_over(recording_of(x), range(8))
    assert plausible_amplitude(stretches, SFREQ) == pytest.approx(full, rel=0.05)
    assert channel_offsets(stretches) == pytest.approx([4000.0] * 8, abs=5)
    assert channel_offsets([np.full((2, 9), np.nan)]) == (0.0, 0.0)


def test_short_stretches_between_gaps_are_left_out():
    segments = (Segment(0.0, 600.0), *(Segment(700.0 + 3 * i, 1.0) for i in range(900)))
    recording = recording_of(hour()[:, : round(1500 * SFREQ)], segments)
    assert {part.shape[1] for part in look_over(recording, range(8))} == {round(8 * SFREQ)}


@given(
    lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=6), n=st.integers(1, 8), n_times=st.integers(1, 3000)
)
@settings(deadline=None)
def test_stretches_lie_within_their_segments_and_do_not_repeat(lengths, n, n_times):
    ranges = spread(lengths, n, n_times)
    assert len(ranges) == n
    for segment, start, stop in ranges:
        assert 0 <= start <= stop <= lengths[segment]
        assert stop - start == min(n_times, max(sum(lengths) // n, 1), lengths[segment])
    assert ranges == sorted(ranges)


def sized(uv, seconds=64.0, n_chans=8):
    """Tones of 10 Hz: their robust standard deviation is 1.4826 times the median of |sin|, which is 1 / sqrt(2)."""
    at = np.arange(round(seconds * SFREQ)) / SFREQ
    return np.tile(uv / (1.4826 / np.sqrt(2)) * np.sin(2 * np.pi * 10 * at + 0.1), (n_chans, 1))


@pytest.mark.parametrize(("uv", "is_plausible"), [(0.19, False), (0.21, True), (980.0, True), (1020.0, False)])
def test_eeg_lies_between_a_fifth_of_a_microvolt_and_a_millivolt(uv, is_plausible):
    stretches = look_over(recording_of(sized(uv)), range(8))
    if is_plausible:
        assert plausible_amplitude(stretches, SFREQ) == pytest.approx(uv, rel=0.01)
    else:
        with pytest.raises(UnreadableError, match="implausible_amplitude"):
            plausible_amplitude(stretches, SFREQ)


@pytest.mark.parametrize(("n_plausible", "is_plausible"), [(2, True), (1, False)])
def test_a_quarter_of_the_stretches_decides(n_plausible, is_plausible):
    stretches = [sized(20.0, 8.0)] * n_plausible + [sized(20e3, 8.0)] * (8 - n_plausible)
    if is_plausible:
        assert plausible_amplitude(stretches, SFREQ) == pytest.approx(20.0, rel=0.01)
    else:
        with pytest.raises(UnreadableError, match=r"2e\+04 µV within 1-35 Hz: looks 1000 times too large"):
            plausible_amplitude(stretches, SFREQ)


@pytest.mark.parametrize(
    ("uv", "says"),
    [(0.015, "1000 times too small"), (15e-6, "1000000 times too small"), (15e3, "1000 times too large"),
     (15e6, "1000000 times too large")],
)  # fmt: skip
def test_by_how_much_a_unit_is_off(uv, says):
    with pytest.raises(UnreadableError, match=says):
        plausible_amplitude([sized(uv, 8.0)] * 3, SFREQ)


def test_the_median_stands_for_stretches_and_channels():
    # Four of nine stretches and three of eight channels are larger; a mean would follow them.
    x = sized(10.0, 8.0)
    x[:3] *= 20
    stretches = [x] * 5 + [9 * x] * 4
    assert plausible_amplitude(stretches, SFREQ) == pytest.approx(10.0, rel=0.01)
    with pytest.raises(UnreadableError, match=r"(4.99|5)e\+03 µV"):
        plausible_amplitude([500 * x] * 5 + [5e4 * x] * 4, SFREQ)


def test_only_one_to_thirty_five_hertz_count():
    at = np.arange(round(8 * SFREQ)) / SFREQ
    hum = 3000 * np.sin(2 * np.pi * 50 * at) + 3000 * np.sin(2 * np.pi * 0.25 * at) + 5e4
    assert plausible_amplitude([sized(20.0, 8.0) + hum] * 4, SFREQ) == pytest.approx(20.0, rel=0.25)


def test_stretches_of_four_seconds_are_filtered_shorter_ones_are_not():
    hum = 90 * np.sin(2 * np.pi * 50 * np.arange(round(5 * SFREQ)) / SFREQ)
    x = sized(20.0, 5.0) + hum
    assert plausible_amplitude([x], SFREQ) == pytest.approx(20.0, rel=0.3)
    short = x[:, : round(3.9 * SFREQ)]
    assert plausible_amplitude([short], SFREQ) == pytest.approx(
        np.median(1.4826 * np.median(np.abs(short), axis=1)), rel=1e-6
    )


@pytest.mark.parametrize(
    ("seconds", "lengths"),
    [(64, [8.0] * 8), (63, [9.0] * 7), (30, [10.0] * 3), (7, [7.0]), (600, [8.0] * 8)],
)
def test_how_many_stretches(seconds, lengths):
    found = look_over(recording_of(sized(20.0, seconds)), range(8))
    assert [part.shape[1] / SFREQ for part in found] == lengths
