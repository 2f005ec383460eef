"""The frames of live sockets; docs/live.md shows each of them.

Samples travel as one message: the number of the first one (uint64, little-endian), then float32, little-endian, time by
time, a value per channel in µV, NaN where missing.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.refusals import Refusal
from service.web.bodies import MOST_CHANNELS, RATES_HZ

LONGEST_S = 10.0
"""Of one message."""
FARTHEST_S = 3600.0
"""How far a stream may jump ahead."""
_HEAD = 8
_ID = re.compile(r"[0-9a-f]{32}")
BED = re.compile(r"[\w .-]{1,80}")


@dataclass(frozen=True, kw_only=True)
class Begin:
    """What a source says of itself first."""

    stream: str
    ch_names: tuple[str, ...]
    sfreq: float
    hop_s: float
    model: str | None


def read_begin(fields: Any) -> Begin:
    """Return a source's first frame; raises Refusal 422 for anything else."""
    if not isinstance(fields, dict) or fields.get("type") != "begin":
        raise _invalid('the first frame is not {"type": "begin", ...}')
    if unknown := set(fields) - {"type", "stream", "ch_names", "sfreq", "hop_s", "model"}:
        raise _invalid(f"{len(unknown)} unknown fields")
    stream, names, model = fields.get("stream"), fields.get("ch_names"), fields.get("model")
    if not isinstance(stream, str) or not _ID.fullmatch(stream):
        raise _invalid("stream is no id of 32 hexadecimal digits")
    if not isinstance(names, list) or not all(isinstance(name, str) and 0 < len(name) <= 80 for name in names):
        raise _invalid("ch_names is no list of labels")
    if not 0 < len(names) <= MOST_CHANNELS or len(set(names)) < len(names):
        raise _invalid(f"ch_names holds none, one twice, or more than {MOST_CHANNELS}")
    if not isinstance(model, str | None):
        raise _invalid("model is no name")
    return Begin(
        stream=stream, ch_names=tuple(names), model=model, sfreq=_number(fields, "sfreq", *RATES_HZ),
        hop_s=_number({"hop_s": 10.0} | fields, "hop_s", 1.0, 60.0),
    )  # fmt: skip


def _number(fields: dict[str, Any], name: str, low: float, high: float) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _invalid(f"{name} is no number from {low:g} to {high:g}")
    return float(value)


def read_samples(message: bytes, *, n_chans: int, sfreq: float, next_sample: int) -> tuple[int, np.ndarray]:
    """Return (number of the first sample, float32 of shape (n_chans, n_times)).

    Raises Refusal 422 for another size, for infinities, for a jump of more than `FARTHEST_S` ahead.
    """
    n_values, rest = divmod(len(message) - _HEAD, 4 * n_chans)
    if rest or not 0 < n_values <= LONGEST_S * sfreq:
        raise _invalid(f"a message is 8 bytes and 1 to {LONGEST_S:g} s of {n_chans} float32")
    first = int.from_bytes(message[:_HEAD], "little")
    if first > next_sample + FARTHEST_S * sfreq:
        raise Refusal(422, "time_jump", f"the stream jumps more than {FARTHEST_S:g} s ahead", "begin another stream")
    x = np.frombuffer(message, dtype="<f4", offset=_HEAD).reshape(n_values, n_chans).T
    if np.isinf(x).any():
        raise Refusal(422, "not_finite", "a sample is infinite", "NaN marks a missing one")
    return first, np.ascontiguousarray(x, dtype=np.float32)


def write_samples(first: int, x_uv: np.ndarray) -> bytes:
    """Return the message of samples of shape (n_chans, n_times)."""
    return first.to_bytes(_HEAD, "little") + np.ascontiguousarray(x_uv.T, dtype="<f4").tobytes()


def _invalid(error: str) -> Refusal:
    return Refusal(422, "invalid_frame", error, "docs/live.md shows every frame")
