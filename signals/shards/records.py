"""A window as a tf.train.Example and back.

Signals are stored as int16 with their bytes shuffled (all low bytes, then all high bytes): plain int16 EEG does not
compress under snappy at all, shuffled it does. The quantisation step travels in the record; it is 0.1 µV for signals
within ±3,276.7 µV and grows only for larger ones. EEG channels share one step; where there are other sensors, each of
them has its own, and the record holds a step per channel.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from signals.electrodes import CHAINS
from signals.modality import UNITS, UV_PER_UNIT
from signals.shards.example import Features, decode_example, encode_example
from signals.spectrograms import REGIONAL_FREQS
from signals.window import Provenance, Window

SCHEMA_VERSION = 1
STEP_UV = 0.1
_INT16_MAX = 32767
_TEXTS, _NUMBERS = ("device", "age_group", "sex"), ("start_hour", "age", "height_cm", "weight_kg")
DETAIL_FIELDS = frozenset({*_TEXTS, *_NUMBERS})
"""Fields that some records of a set hold and others do not: what was requested and is known of their recordings."""


class SchemaError(ValueError):
    """A record of another schema version than this code reads."""


def quantise(data: np.ndarray, *, least: float = STEP_UV) -> tuple[np.ndarray, float]:
    """Return (int16 of the same shape, step): data is about int16 x step, off by at most half a step.

    The step is `least`, or more where the data would not fit. Raises ValueError for samples that are not finite.
    """
    peak = float(np.max(np.abs(data), initial=0.0))
    if not np.isfinite(peak):
        raise ValueError("samples must be finite; mark gaps in artifact_mask and fill them")
    # The step is a float32, as it travels in the record, so that both sides multiply by the same number.
    step = float(np.float32(max(least, peak / _INT16_MAX)))
    return np.clip(np.rint(data / step), -_INT16_MAX, _INT16_MAX).astype(np.int16), step


def quantise_channels(data: np.ndarray, sensor_types: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return int16 values, and steps in each channel's unit, float32: shape (1,) for EEG alone, else (n_chans,).

    `data` has shape (n_chans, n_times). A sensor's step is at most 0.1 µV as well, 0.0001 mV, and depends on no other
    channel: the values of EEG are the same with other sensors beside it or without. Raises ValueError for samples
    that are not finite.
    """
    n_eeg = sum(sensor_type == "eeg" for sensor_type in sensor_types)
    if n_eeg == len(sensor_types):
        values, step = quantise(data)
        return values, np.array([step], dtype=np.float32)
    if len(sensor_types) != len(data):
        raise ValueError(f"data has {len(data)} channels, sensor_types {len(sensor_types)}")
    values = np.empty(data.shape, dtype=np.int16)
    steps = np.empty(len(data), dtype=np.float32)
    values[:n_eeg], steps[:n_eeg] = quantise(data[:n_eeg])
    for row in range(n_eeg, len(data)):
        least = STEP_UV / UV_PER_UNIT[UNITS[sensor_types[row]]]
        values[row], steps[row] = quantise(data[row], least=least)
    return values, steps


def as_stored(data: np.ndarray, sensor_types: Sequence[str] = ()) -> np.ndarray:
    """Return the samples as a shard gives them back, float32: whoever skips the shard uses this to see the same.

    `sensor_types` are the window's; without, all channels are EEG.
    """
    values, steps = quantise_channels(data, sensor_types)
    return values.astype(np.float32) * steps[:, None]


def shuffle_bytes(values: np.ndarray) -> bytes:
    """Return the bytes of int16 values, all low bytes first, then all high bytes."""
    words = values.astype("<i2").reshape(-1).view("<u2")
    # Shifts and casts run on whole vectors; a transposed copy of byte pairs goes byte by byte.
    return words.astype(np.uint8).tobytes() + (words >> 8).astype(np.uint8).tobytes()


def unshuffle_bytes(raw: bytes) -> np.ndarray:
    """Return int16 values from `shuffle_bytes`' output, shape (n,)."""
    low, high = np.frombuffer(raw, dtype=np.uint8).reshape(2, -1)
    words = high.astype("<u2")
    words <<= 8
    words |= low
    return words.view("<i2")


def encode_window(window: Window) -> bytes:
    """Return the window as a serialised tf.train.Example; equal windows give equal bytes."""
    values, steps = quantise_channels(window.data, window.sensor_types)
    about: dict[str, Any] = {
        "modality": window.modality,
        "recording_id": window.recording_id,
        "provenance": asdict(window.provenance),
    }
    span = window.label_span_s or ()
    return encode_example(
        {
            "schema_version": [SCHEMA_VERSION],
            "key": window.key.encode(),
            "signal": shuffle_bytes(values),
            "shape": list(values.shape),
            "step": steps,
            "ch_state": window.ch_state.astype(np.uint8).tobytes(),
            "artifact_mask": window.artifact_mask.astype("<u2").tobytes(),
            "quality": window.quality.astype("<f4").tobytes(),
            "features": window.features.astype("<f4").tobytes(),
            "sfreq": np.array([window.sfreq], dtype=np.float32),
            "band": np.array(window.band, dtype=np.float32),
            # float32 would lose a day's milliseconds: the onset travels in whole microseconds.
            "start_us": [round(window.start_s * 1e6)],
            "votes": np.array(window.votes, dtype=np.float32),
            "label_span_s": np.array(span, dtype=np.float32),
            "site_id": window.site_id.encode(),
            "subject_id": window.subject_id.encode(),
            "label": window.label.encode(),
            "about": json.dumps(about, sort_keys=True, ensure_ascii=False).encode(),
            **_optional_fields(window),
        }
    )


def _optional_fields(window: Window) -> dict[str, Any]:
    """Return the fields of what was requested; a record without them has no byte for them."""
    fields: dict[str, Any] = {}
    if window.anomaly is not None:
        fields["anomaly"] = window.anomaly.astype("<f4").tobytes()
    if window.snr_db is not None:
        fields["snr_db"] = window.snr_db.astype("<f4").tobytes()
    if window.artifact_ratio is not None:
        fields["artifact_ratio"] = window.artifact_ratio.astype("<f4").tobytes()
    if window.quality_verdict:
        fields["quality_verdict"] = window.quality_verdict.encode()
    fields |= {name: text.encode() for name in _TEXTS if (text := getattr(window, name))}
    fields |= {name: [number] for name in _NUMBERS if (number := getattr(window, name)) is not None}
    if window.spectrogram is not None:
        fields["spectrogram"] = shuffle_bytes(window.spectrogram.astype("<f2").view("<i2"))
    return fields


def decode_window(record: bytes) -> Window:
    """Return the window of a record; raises SchemaError for another schema version, ValueError for other bytes."""
    fields = decode_example(record)
    version = int(_numbers(fields, "schema_version")[0])
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"record has schema version {version}, this code reads {SCHEMA_VERSION}: write the shards again"
        )
    n_chans, n_times = (int(n) for n in _numbers(fields, "shape"))
    about = json.loads(_raw(fields, "about"))
    span = _numbers(fields, "label_span_s")
    band = _numbers(fields, "band")
    data = unshuffle_bytes(_raw(fields, "signal")).reshape(n_chans, n_times).astype(np.float32)
    kept: dict[str, Any] = {name: _text(fields, name) for name in _TEXTS}
    kept |= {name: int(_numbers(fields, name)[0]) for name in _NUMBERS if name in fields}
    data *= _numbers(fields, "step").astype(np.float32)[:, None]  # one, or one a channel
    return Window(
        data=data,
        ch_state=np.frombuffer(_raw(fields, "ch_state"), dtype=np.uint8),
        artifact_mask=np.frombuffer(_raw(fields, "artifact_mask"), dtype="<u2").reshape(n_chans, -1),
        quality=np.frombuffer(_raw(fields, "quality"), dtype="<f4"),
        snr_db=_optional(fields, "snr_db"),
        artifact_ratio=_optional(fields, "artifact_ratio"),
        quality_verdict=_text(fields, "quality_verdict"),
        features=np.frombuffer(_raw(fields, "features"), dtype="<f4").reshape(n_chans, -1),
        anomaly=None if (anomaly := _optional(fields, "anomaly")) is None else anomaly.reshape(n_chans, -1),
        spectrogram=_spectrogram(_raw(fields, "spectrogram")) if "spectrogram" in fields else None,
        modality=about["modality"],
        sfreq=float(_numbers(fields, "sfreq")[0]),
        band=(round(float(band[0]), 4), round(float(band[1]), 4)),
        site_id=_raw(fields, "site_id").decode(),
        subject_id=_raw(fields, "subject_id").decode(),
        recording_id=about["recording_id"],
        start_s=int(_numbers(fields, "start_us")[0]) / 1e6,
        label=_raw(fields, "label").decode(),
        votes=tuple(float(v) for v in _numbers(fields, "votes")),
        label_span_s=(float(span[0]), float(span[1])) if len(span) else None,
        **kept,
        provenance=Provenance(**about["provenance"]),
    )


def _optional(fields: Features, name: str) -> np.ndarray | None:
    """Return the float32 values of a field, None where the record has none."""
    return np.frombuffer(_raw(fields, name), dtype="<f4") if name in fields else None


def _text(fields: Features, name: str) -> str:
    """Return a text, empty where the record has none."""
    return _raw(fields, name).decode() if name in fields else ""


def _spectrogram(raw: bytes) -> np.ndarray:
    """Return float32, shape (4, 100, n_steps), from float16 with its bytes shuffled."""
    values = unshuffle_bytes(raw).view("<f2").astype(np.float32)
    return values.reshape(len(CHAINS), len(REGIONAL_FREQS), -1)


def _raw(fields: Features, name: str) -> bytes:
    values = fields[name]
    if not isinstance(values, list) or len(values) != 1:
        raise ValueError(f"record field {name!r} must hold one byte string")
    return values[0]


def _numbers(fields: Features, name: str) -> np.ndarray:
    values = fields[name]
    # An empty list carries no kind in protobuf.
    return np.array([]) if isinstance(values, list) else values
