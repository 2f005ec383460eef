"""The data record that a cut EDF or BDF file ends in, kept to its last whole sample.

A record holds its channels one after the other, so a cut leaves the first channels whole, one in part and the last
ones without samples: those read NaN there, which is what a missing sample is everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from signals.recording.recording import ReadSamples


@dataclass(frozen=True)
class TailChannel:
    """What is left of one channel in the cut record."""

    offset_bytes: int
    """From the file's start to its first sample."""
    n_samples: int
    n_before: int
    """Its samples in the whole records of the last segment."""
    gain: float
    intercept: float


@dataclass(frozen=True)
class Tail:
    """The cut record of a file."""

    path: str
    sample_bytes: int
    segment: int
    """Index of the segment that it ends."""
    channels: tuple[TailChannel, ...]


def samples_left(tail_samples: int, offset: int, n_samples: int) -> int:
    """Return how many samples of a channel a record holds that is cut after `tail_samples` samples of all channels."""
    return min(max(tail_samples - offset, 0), n_samples)


def with_tail(tail: Tail, body: ReadSamples) -> ReadSamples:
    """Return a reader that goes on behind the whole records with what the cut record holds, then with NaN."""
    return partial(_read_samples, tail, body)


def _read_samples(
    tail: Tail, body: ReadSamples, picks: Sequence[int], segment: int, start: int, stop: int
) -> np.ndarray:
    n_before = tail.channels[picks[0]].n_before  # picks share one rate
    if segment != tail.segment or 0 < stop <= n_before:
        return body(picks, segment, start, stop)
    samples = np.full((len(picks), stop - start), np.nan, dtype=np.float32)
    if start < n_before:
        samples[:, : n_before - start] = body(picks, segment, start, n_before)
    first = max(start, n_before)
    for row, pick in zip(samples, picks, strict=True):
        channel = tail.channels[pick]
        last = min(stop, n_before + channel.n_samples)
        if last > first:
            digital = _digital(tail, channel)[first - n_before : last - n_before]
            row[first - start : last - start] = digital * channel.gain + channel.intercept
    return samples


def _digital(tail: Tail, channel: TailChannel) -> np.ndarray:
    """Return the integers of a channel in the cut record, float64."""
    with Path(tail.path).open("rb") as file:
        file.seek(channel.offset_bytes)
        octets = np.frombuffer(file.read(channel.n_samples * tail.sample_bytes), np.uint8)
    wide = np.zeros((channel.n_samples, 4), np.uint8)
    wide[:, 4 - tail.sample_bytes :] = octets.reshape(-1, tail.sample_bytes)
    # In the upper bytes of 32 bits the sign is right; dividing brings the value back exactly.
    return wide.view("<i4")[:, 0] / 2.0 ** (8 * (4 - tail.sample_bytes))
