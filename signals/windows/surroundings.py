"""Ten minutes of regional spectrogram around a window: as its source brings it, else computed from the recording.

To compute it, the recording is harmonised and filtered once more, at a rate that just holds 20 Hz, so that ten minutes
cost less than the window's own 50 s would suggest. Columns of 2 s lie on a fixed grid that begins with each gap-free
segment: the columns of a stretch do not depend on the windows or blocks that ask for them. What a profile's cleaning
takes out of windows is not taken out here.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from signals.conditioning.conditioning import Conditioner
from signals.conditioning.filters import effective_band
from signals.electrodes import CHAINS
from signals.readers.layouts.hms import HmsError, read_spectrogram
from signals.readers.remote import local_copy
from signals.recording.recording import Recording, UnreadableError
from signals.spectrograms import (
    REGIONAL_FREQS,
    REGIONAL_STEP_S,
    REGIONAL_WINDOW_S,
    n_regional_columns,
    regional_columns,
    regional_span,
)
from signals.window import ABSENT
from signals.windows.blocks import WindowStart
from signals.windows.native import read_native
from signals.windows.plan import RecordingPlan

logger = logging.getLogger(__name__)

SPAN_S = 600.0
"""Seconds around the middle of a window."""
N_STEPS = int(SPAN_S / REGIONAL_STEP_S)
SPECTROGRAM_SHAPE = (len(CHAINS), len(REGIONAL_FREQS), N_STEPS)
FLOOR_UV2_HZ = 1e-4
"""Least power before the logarithm: an amplifier's own noise lies above, a filter's stop band below."""
_SFREQ = 64.0
_COLUMNS_AT_ONCE = 300  # bounds the memory: 10 minutes of 19 channels at 64 Hz are 3 MB, their frames 20 MB


def log_power(power: np.ndarray) -> np.ndarray:
    """Return log10 of power in µV²/Hz, float32, nothing below `FLOOR_UV2_HZ`, NaN where power is NaN.

    Rounded to float16, as a record keeps it: whoever skips the shard sees the same.
    """
    return np.log10(np.maximum(power, FLOOR_UV2_HZ)).astype(np.float16).astype(np.float32)


def surroundings(recording: Recording, plan: RecordingPlan, starts: Sequence[WindowStart]) -> list[np.ndarray]:
    """Return the spectrogram around each window, float32, shape (4, 100, 300), log10 µV²/Hz.

    Step j covers the 2 s from 2 j - 300 s of the window's middle on, to within a second: the columns of a recording lie
    on its own grid. NaN: beyond the recording, in gaps, where an electrode of the chain has no samples or is absent,
    and above the recording's band. `starts` lie together (`signals.windows.blocks.Block`): columns that several
    windows share are computed once. Where a label brings a recorded spectrogram, that is taken as `recorded` gives it.
    """
    without = [start for start in starts if start.label is None or not start.label.spectrogram_uri]
    computed = iter(_computed(recording, plan, without))
    return [
        recorded(start.label.spectrogram_uri, start.label.spectrogram_offset_s)
        if start.label is not None and start.label.spectrogram_uri
        else next(computed)
        for start in starts
    ]


def recorded(uri: str, offset_s: float) -> np.ndarray:
    """Return ten minutes of a recorded spectrogram, float32, shape (4, 100, 300), log10 of the file's power.

    NaN where the file has no rows; all of it where there is no file, or one that is no spectrogram at
    `REGIONAL_FREQS`, which is warned of.
    """
    try:
        with local_copy(uri) as path:
            if not path.is_file():
                return np.full(SPECTROGRAM_SHAPE, np.nan, dtype=np.float32)
            freqs, power = read_spectrogram(path, offset_s)
        if len(freqs) != len(REGIONAL_FREQS) or np.abs(freqs - REGIONAL_FREQS).max() > 0.05:
            raise HmsError(f"{path.name} has other frequencies than the {len(REGIONAL_FREQS)} of 0.59 to 19.92 Hz")
    except UnreadableError:  # no such file where it should lie
        return np.full(SPECTROGRAM_SHAPE, np.nan, dtype=np.float32)
    except HmsError as error:
        logger.warning("a spectrogram cannot be used, its windows have none: %s", error)
        return np.full(SPECTROGRAM_SHAPE, np.nan, dtype=np.float32)
    return log_power(power)


def _computed(recording: Recording, plan: RecordingPlan, starts: Sequence[WindowStart]) -> list[np.ndarray]:
    """Return the spectrogram around each window from the recording itself."""
    conditioner = _conditioner(plan)
    spectrograms = [np.full(SPECTROGRAM_SHAPE, np.nan, dtype=np.float32) for _ in starts]
    for segment in range(len(recording.segments)):
        n_columns = _n_columns(recording, plan, conditioner, segment)
        firsts = [_first_step(recording, plan, start, segment) for start in starts]
        spans = [(max(-first, 0), min(N_STEPS - first, n_columns)) for first in firsts]
        lowest = min((a for a, b in spans if a < b), default=0)
        highest = max((b for a, b in spans if a < b), default=0)
        for at in range(lowest, highest, _COLUMNS_AT_ONCE):
            until = min(at + _COLUMNS_AT_ONCE, highest)
            columns = _columns(recording, plan, conditioner, segment, at, until)
            for spectrogram, first, (a, b) in zip(spectrograms, firsts, spans, strict=True):
                a, b = max(a, at), min(b, until)
                if a < b:
                    spectrogram[:, :, first + a : first + b] = columns[:, :, a - at : b - at]
    return spectrograms


def _conditioner(plan: RecordingPlan) -> Conditioner:
    """Return the window's chain at the lower rate."""
    low, high = plan.profile.l_freq, plan.profile.h_freq
    band = effective_band(low, high, native_sfreq=plan.native_sfreq, sfreq=_SFREQ)
    return replace(plan.conditioner, sfreq=_SFREQ, band=band)


def _n_columns(recording: Recording, plan: RecordingPlan, conditioner: Conditioner, segment: int) -> int:
    n_times = conditioner.n_times(recording.n_times(plan.picks[0], segment))
    return n_regional_columns(n_times, _SFREQ) if n_times >= REGIONAL_WINDOW_S * _SFREQ else 0


def _first_step(recording: Recording, plan: RecordingPlan, start: WindowStart, segment: int) -> int:
    """Return the step of the window's spectrogram that the first column of a segment falls on; may be outside of it."""
    sfreq = plan.profile.signal.sfreq
    apart_s = recording.segments[segment].onset_s - recording.segments[start.segment].onset_s
    begins_s = start.start / sfreq + plan.profile.window_s / 2 - SPAN_S / 2
    # The nearest step; of two equally near the earlier, as where 50 s lie in the middle of the ten minutes.
    return int(np.ceil(round((apart_s - begins_s) / REGIONAL_STEP_S - 0.5, 6)))


def _columns(
    recording: Recording, plan: RecordingPlan, conditioner: Conditioner, segment: int, first: int, last: int
) -> np.ndarray:
    """Return columns [first, last) of a segment, float32, shape (4, 100, last - first), log10 µV²/Hz."""
    n_times = conditioner.n_times(recording.n_times(plan.picks[0], segment))
    start, stop = regional_span(n_times, _SFREQ, first=first, last=last)
    native = read_native(recording, plan.used_picks, conditioner, segment=segment, start=start, stop=stop)
    signal = conditioner.condition(native, start, stop)
    x = np.where(signal.missing, np.float32(np.nan), signal.x)
    x[conditioner.harmoniser.ch_state == ABSENT] = np.nan
    power = regional_columns(x, n_times, plan.profile.signal.ch_names, _SFREQ, first=first, last=last)
    columns = log_power(power)
    columns[:, conditioner.band[1] < REGIONAL_FREQS] = np.nan
    return columns
