"""Recordings whose samples lie in one matrix of channels by times: in memory, or mapped from a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from signals.recording.recording import ReadSamples, Segment

LARGEST = 1e9
"""µV (ECG: mV) beyond which a number is no sample."""


class Sliceable(Protocol):
    """An array of channels by times, or what gives a range of one as an array: `x[:, start:stop]`."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return all channels of a range of times."""
        ...


@dataclass(frozen=True)
class Matrix:
    """Where the samples lie and how they are scaled; holds no file open."""

    load: Callable[[], Sliceable]
    """Returns the matrix, shape (n_chans, n_times); a memory map is closed when the view is dropped."""
    factors: tuple[float, ...]
    """To µV (ECG: mV), one a channel."""
    starts: tuple[int, ...]
    """First sample of each segment."""
    offset: float = 0.0
    """What is subtracted before scaling."""
    rows: tuple[int, ...] | None = None
    """Row of each channel in the matrix; None where all rows are channels."""


def matrix_reader(matrix: Matrix) -> ReadSamples:
    """Return a `Recording.read_samples` over a matrix."""
    return partial(_read_matrix, matrix)


def _read_matrix(matrix: Matrix, picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
    first = matrix.starts[segment]
    if stop == start:
        return np.empty((len(picks), 0), dtype=np.float32)
    block = matrix.load()[:, first + start : first + stop]
    rows = list(picks) if matrix.rows is None else [matrix.rows[pick] for pick in picks]
    factors = np.array([matrix.factors[pick] for pick in picks], dtype=np.float64)[:, None]
    values = block[rows].astype(np.float64) - matrix.offset if matrix.offset else block[rows]
    # Scaled in float64 and rounded once.
    return measured(values * factors)


def measured(values: np.ndarray) -> np.ndarray:
    """Return samples as float32; what cannot be a measurement, beyond 1000 V or not finite, is NaN.

    Files of floating-point numbers hold such values where they are damaged, and no filter survives them.
    """
    with np.errstate(over="ignore"):
        x = values.astype(np.float32)
    if not np.abs(x).max(initial=0.0) <= LARGEST:
        x[~(np.abs(x) <= LARGEST)] = np.nan
    return x


def cut_segments(n_times: int, sfreq: float, gaps: Sequence[tuple[int, float]]) -> tuple[list[int], list[Segment]]:
    """Return the first sample and the `Segment` of each stretch of a matrix that was recorded with pauses.

    `gaps` holds (first sample after the pause, seconds lost); entries at 0 or beyond the end are ignored.
    """
    lost: dict[int, float] = {}
    for at, seconds in gaps:
        if 0 < at < n_times:
            lost[at] = lost.get(at, 0.0) + max(seconds, 0.0)
    starts = [0, *sorted(lost)]
    segments, shift_s = [], 0.0
    for start, stop in zip(starts, [*starts[1:], n_times], strict=True):
        shift_s += lost.get(start, 0.0)
        segments.append(Segment(start / sfreq + shift_s, (stop - start) / sfreq))
    return starts, segments


def onset_of_sample(sample: float, sfreq: float, starts: Sequence[int], segments: Sequence[Segment]) -> float:
    """Return the time in seconds, gaps included, of a sample counted from the matrix's start."""
    index = max((i for i, start in enumerate(starts) if start <= sample), default=0)
    return segments[index].onset_s + (sample - starts[index]) / sfreq
