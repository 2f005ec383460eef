"""Recordings shorter than a window: a 10-s segment of a task whose label speaks of the middle 10 s of 50.

Such a recording is prepared as if it had margins on both sides, as wide as the window around what its label speaks of.
The margins hold the recording mirrored at its ends, over and over, so that filters, scales and networks meet EEG of the
right size, and every sample of them is marked as missing: nothing was recorded there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from signals.recording.recording import Recording, Segment
from signals.windows.profiles import Profile

Margins = tuple[float, float]
"""Seconds before and after each segment."""
NO_MARGINS: Margins = (0.0, 0.0)


def margins_of(profile: Profile, longest_s: float, *, native_sfreq: float) -> Margins | None:
    """Return the margins that a recording needs under a profile, None where it is too short even for a label's span.

    `longest_s` is the length of its longest segment. A file may fall short of its last samples.
    """
    slack_s = 2 / native_sfreq
    if longest_s >= profile.window_s - slack_s:
        return NO_MARGINS
    span = profile.label_span_s
    if span is None or longest_s < span[1] - span[0] - slack_s:
        return None
    return span[0], profile.window_s - span[1]


def with_margins(recording: Recording, margins: Margins) -> Recording:
    """Return a recording whose segments are longer by the margins, which hold its mirror image."""
    if margins == NO_MARGINS:
        return recording
    before_s, after_s = margins
    return replace(
        recording,
        segments=tuple(
            Segment(segment.onset_s - before_s, before_s + segment.duration_s + after_s)
            for segment in recording.segments
        ),
        read_samples=_Mirrored(recording, before_s),
    )


@dataclass(frozen=True)
class _Mirrored:
    """Reads a recording and its mirror image around it."""

    recording: Recording
    before_s: float

    def __call__(self, picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
        n_before = round(self.before_s * self.recording.sfreqs[picks[0]])
        n_times = self.recording.n_times(picks[0], segment)
        x = self.recording.read(picks, segment=segment)
        return x[:, _mirrored(np.arange(start, stop) - n_before, n_times)]


def _mirrored(at: np.ndarray, n_times: int) -> np.ndarray:
    """Return sample numbers that may lie outside of `n_times` samples as those of their mirror images within."""
    period = max(2 * (n_times - 1), 1)
    at = at % period
    return np.minimum(at, period - at) if n_times > 1 else at * 0


def as_if_short(x: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Return a window (n_chans, n_times) as it is where samples [start, stop) alone were recorded: mirrored around."""
    return x[:, start + _mirrored(np.arange(x.shape[1]) - start, stop - start)]


def recorded_span(n_times: int, sfreq: float, margins: Margins) -> tuple[int, int]:
    """Return the samples [start, stop) that were recorded, of a segment of `n_times` samples with margins."""
    return round(margins[0] * sfreq), n_times - round(margins[1] * sfreq)
