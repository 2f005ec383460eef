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


def test_flat_electrodes_have_no_say_in_the_amplitude():
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
