"""Where prepared samples are read: the native range of a stretch, in one read, or two where a loss reaches its end."""

from collections.abc import Sequence

import numpy as np

from signals.conditioning.conditioning import Conditioner, Native
from signals.recording.recording import Recording


def read_native(
    recording: Recording, picks: Sequence[int], conditioner: Conditioner, *, segment: int, start: int, stop: int
) -> Native:
    """Return the native samples that outputs [start, stop) of a segment, counted at the target rate, are made of.

    `picks` are the recording's channels that the conditioner's harmoniser uses, in its order.
    """
    n_segment = recording.n_times(picks[0], segment)
    first, last = conditioner.span(start, stop, n_segment)
    x = recording.read(picks, segment=segment, start=first, stop=last)
    if np.isnan(x[:, [0, -1]]).any():  # a loss goes on beyond: what fills it depends on its end
        first, last = conditioner.wide_span(start, stop, n_segment)
        x = recording.read(picks, segment=segment, start=first, stop=last)
    return Native(x=x, first=first, n_segment=n_segment)
