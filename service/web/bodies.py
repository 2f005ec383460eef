"""From a request's JSON to arrays: the two shapes that integrators were promised, checked before they cost anything."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from service.refusals import Refusal
from serving.intake import SFREQ

FIELDS = ("eeg_data", "spectrogram_data", "sfreq", "ch_names")
MOST_CHANNELS, MOST_TIMES = 256, 2_000_000
RATES_HZ = (30.0, 20_000.0)


@dataclass(frozen=True)
class Sample:
    """One window as it was sent."""

    x_uv: np.ndarray
    """float32, shape (n_chans, n_times), µV."""
    sfreq: float = SFREQ
    ch_names: tuple[str, ...] | None = None
    spectrogram: np.ndarray | None = None


def read_json(body: bytes) -> dict[str, Any]:
    """Return a JSON object; raises Refusal 400 "invalid_json", also for NaN, Infinity and too deep nesting."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(
            400, "invalid_json", f"the body is no JSON: line {error.lineno}, column {error.colno}",
            "NaN and Infinity are no JSON; send null-free numbers",
        ) from None  # fmt: skip
    if not isinstance(value, dict):
        raise Refusal(422, "invalid_request", "the body is no JSON object", 'send {"eeg_data": [[...], ...]}')
    return value


def sample_of(fields: Any) -> Sample:
    """Return the sample of an object with eeg_data and, optionally, the other FIELDS; raises Refusal 422."""
    if not isinstance(fields, dict) or "eeg_data" not in fields:
        raise Refusal(422, "invalid_request", "eeg_data is missing", "19 rows of 10000 numbers, µV at 200 Hz")
    if unknown := set(fields) - set(FIELDS):
        raise Refusal(422, "invalid_request", f"{len(unknown)} unknown fields", f"fields are {', '.join(FIELDS)}")
    spectrogram = fields.get("spectrogram_data")
    return Sample(
        x_uv=_array(fields["eeg_data"], "eeg_data", n_axes=2),
        sfreq=_rate(fields.get("sfreq", SFREQ)),
        ch_names=_names(fields.get("ch_names")),
        spectrogram=None if spectrogram is None else _array(spectrogram, "spectrogram_data", n_axes=3),
    )


def samples_of(fields: dict[str, Any], *, most: int) -> list[Sample]:
    """Return the samples of {"samples": [...]}; raises Refusal 422, which names the first bad one."""
    listed = fields.get("samples")
    if not isinstance(listed, list) or not listed or len(fields) != 1:
        raise Refusal(422, "invalid_request", "samples is missing or empty", 'send {"samples": [{"eeg_data": ...}]}')
    if len(listed) > most:
        raise Refusal(422, "too_many_samples", f"{len(listed)} samples, at most {most}", "send several requests")
    result = []
    for number, one in enumerate(listed):
        try:
            result.append(sample_of(one))
        except Refusal as refusal:
            raise Refusal(refusal.status, refusal.code, f"sample {number}: {refusal.error}", refusal.hint) from None
    return result


def _array(value: Any, name: str, *, n_axes: int) -> np.ndarray:
    """Return nested lists as float32; raises Refusal 422 for another depth, ragged rows, texts and what overflows."""
    _check_size(value, name, n_axes)
    try:
        array = np.asarray(value)  # without a type, which would read texts as numbers
    except ValueError:
        array = np.zeros(0)
    if array.ndim != n_axes or array.size == 0 or array.dtype.kind not in "fiu":
        raise Refusal(
            422, "invalid_request", f"{name} is no array of {n_axes} axes of numbers", "rows must be equally long"
        )
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.isfinite(single).all():
        raise Refusal(422, "not_finite", f"{name} holds a number that is not finite", "mark losses in a file instead")
    return single


def _check_size(value: Any, name: str, n_axes: int) -> None:
    """Refuse what is too large before it becomes an array."""
    rows = value if isinstance(value, list) else []
    if len(rows) > MOST_CHANNELS:
        raise Refusal(422, "too_many_channels", f"{name} has {len(rows)} rows, at most {MOST_CHANNELS}")
    if n_axes == 2 and any(isinstance(row, list) and len(row) > MOST_TIMES for row in rows):
        raise Refusal(422, "too_long", f"{name} has rows of more than {MOST_TIMES} samples", "upload a file")


def _rate(value: Any) -> float:
    low, high = RATES_HZ
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Refusal(422, "unusable_rate", f"sfreq is no number from {low:g} to {high:g}", "Hz, 200 by default")
    return float(value)


def _names(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) and 0 < len(name) <= 80 for name in value):
        raise Refusal(422, "invalid_request", "ch_names is no list of labels", 'as ["Fp1", "F3", ...]')
    if len(value) > MOST_CHANNELS or len(set(value)) < len(value):
        raise Refusal(422, "invalid_request", "ch_names are too many, or one stands twice")
    return tuple(value)
