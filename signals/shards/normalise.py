"""From µV to numbers around 1: one scale for a window, so that amplitudes compare between its channels.

Shards hold µV; this runs when a batch is loaded and when a window is served. Nothing but the division by one number
and a hard clip changes the signal.

The scale comes from EEG alone. Sensors in µV (EOG, EMG) are divided by it too, so that they keep their size beside the
EEG: muscle tone separates sleep stages. An ECG beside EEG is in mV and as large as its electrodes lie far apart, so
each such channel is divided by its own RMS in the window, whatever the kind of normalisation. The leads of an
electrocardiogram are all divided by one constant (`signals.modality.FIXED_SCALE`): their voltage is diagnostic.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import Any, Literal, get_args

import numpy as np

from signals.modality import FIXED_SCALE, UNITS, n_primary
from signals.shards.moments import Moments
from signals.window import ABSENT, MEASURED

Normalisation = Literal["window", "subject", "site", "global", "robust"]
"""Where the scale comes from: the window's RMS, its subject, its site, all training subjects, or the window's MAD."""

MIN_SCALE_UV = 1.0
"""No scale is smaller, so that noise of a dead recording is not blown up to the size of EEG."""

MIN_SCALE_MV = 0.02
"""The same for the channels in mV: an R peak of 0.1 mV, the least that is read as one, is 5."""

CLIP = 20.0
"""Normalised samples lie within this on both sides."""

_TO_STD = 1.4826  # MAD of a normal distribution to its standard deviation


def scale_of(moments: Moments, sensor_types: Sequence[str] = ()) -> float:
    """Return a robust scale in µV: the median over channels of 1.4826 times the median |x|, at least `MIN_SCALE_UV`.

    Only primary channels of `sensor_types` count; without them, all are EEG. Band-passed EEG has a median of zero, so
    the median |x| is the MAD. Raises ValueError if no channel has samples.
    """
    sizes = moments.quantile_abs(0.5)[_primary(len(moments.count), sensor_types)]
    if np.isnan(sizes).all():
        raise ValueError("no scale without samples: every channel's count is 0")
    return max(MIN_SCALE_UV, float(_TO_STD * np.nanmedian(sizes)))


def robust_window_scale(x: np.ndarray, ch_state: np.ndarray) -> float:
    """Return the median over usable channels of 1.4826 MAD, at least `MIN_SCALE_UV`; x (n_chans, n_times), µV."""
    usable = _usable(x, ch_state)
    if not usable.size:
        return MIN_SCALE_UV
    median = np.nanmedian if np.isnan(usable).any() else np.median
    centre = median(usable, axis=-1, keepdims=True)
    spread = _TO_STD * median(np.abs(usable - centre), axis=-1)
    return max(MIN_SCALE_UV, float(np.median(spread)))


def window_scale(x: np.ndarray, ch_state: np.ndarray) -> float:
    """Return the median over usable channels of the standard deviation, at least `MIN_SCALE_UV`; x in µV."""
    usable = _usable(x, ch_state)
    # The same bits where no sample is missing, in a third of the time.
    deviation = np.nanstd if np.isnan(usable).any() else np.std
    return max(MIN_SCALE_UV, float(np.median(deviation(usable, axis=-1)))) if usable.size else MIN_SCALE_UV


def normalise(x: np.ndarray, scale: float | np.ndarray, *, clip: float = CLIP) -> np.ndarray:
    """Return x / scale, clipped hard to [-clip, clip], float32, same shape; NaN stays NaN.

    Hard, not soft: everything inside of the limit, a discharge of 20 deviations too, keeps its exact shape. `scale` is
    one number, or shape (n_chans, 1). Raises ValueError unless the scale is positive.
    """
    if not np.all(np.greater(scale, 0)):
        raise ValueError(f"scale={scale} must be positive")
    scaled = np.asarray(x, dtype=np.float32) * (1.0 / np.asarray(scale, dtype=np.float64)).astype(np.float32)
    return np.clip(scaled, -clip, clip, out=scaled)


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """Scales fitted on training subjects; travels in checkpoints and bundles.

    A subject or site that was not trained on gets its window's own robust scale (`robust_window_scale`): held-out
    sites bring nothing in. Where train and test should be treated exactly alike, choose "robust", "window" or "global".
    """

    kind: Normalisation
    """Where scales come from."""
    scales: dict[str, float] = field(default_factory=dict)
    """µV by subject ("subject") or site ("site")."""
    global_scale: float | None = None
    """µV over all training subjects ("global")."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Normalisation):
            raise ValueError(f"kind={self.kind!r} is none of {get_args(Normalisation)}")
        if (self.kind == "global") != (self.global_scale is not None):
            raise ValueError(f"kind={self.kind!r} does not go with global_scale={self.global_scale}")

    @classmethod
    def fit(
        cls,
        kind: Normalisation,
        moments_by_subject: Mapping[str, Moments],
        subject_site: Mapping[str, str],
        train_subjects: Iterable[str],
        *,
        sensor_types: Sequence[str] = (),
    ) -> "Normaliser":
        """Return a normaliser whose scales come from the EEG of the training subjects and nobody else.

        `sensor_types` are the modality's; without, all channels are EEG. Subjects without a sample get no scale of
        their own. Raises ValueError for a training subject without moments or site, and for kind "global" without a
        sample.
        """
        subjects = sorted(set(train_subjects))
        unknown = [s for s in subjects if s not in moments_by_subject or s not in subject_site]
        if unknown:
            raise ValueError(f"{len(unknown)} training subjects have no moments or site, first {unknown[0]!r}")
        groups: dict[str, list[Moments]] = {}
        for subject in subjects:
            key = {"subject": subject, "site": subject_site[subject]}.get(kind, kind)
            groups.setdefault(key, []).append(moments_by_subject[subject])
        if kind in ("subject", "site"):
            merged = {key: reduce(Moments.merge, parts) for key, parts in groups.items()}
            return cls(kind=kind, scales={key: scale_of(m, sensor_types) for key, m in merged.items() if m.count.any()})
        if kind == "global":
            if not subjects:
                raise ValueError("kind='global' needs at least one training subject")
            return cls(kind=kind, global_scale=scale_of(reduce(Moments.merge, groups[kind]), sensor_types))
        return cls(kind=kind)

    def scale(self, x: np.ndarray, ch_state: np.ndarray, subject_id: str, site_id: str) -> float:
        """Return the scale of one window, µV; x has shape (n_chans, n_times), µV, EEG alone."""
        if self.global_scale is not None:
            return self.global_scale
        if self.kind == "window":
            return window_scale(x, ch_state)
        known = self.scales.get({"subject": subject_id, "site": site_id}.get(self.kind, ""))
        return robust_window_scale(x, ch_state) if known is None else known

    def apply(
        self, x: np.ndarray, ch_state: np.ndarray, subject_id: str, site_id: str, sensor_types: Sequence[str] = ()
    ) -> np.ndarray:
        """Return one window normalised, float32, shape (n_chans, n_times); see `normalise`.

        `sensor_types` are the window's; without, all channels are EEG. Raises ValueError where they are not as many as
        the channels.
        """
        return normalise(x, self.scales_of(x, ch_state, subject_id, site_id, sensor_types)[:, None])

    def scales_of(
        self, x: np.ndarray, ch_state: np.ndarray, subject_id: str, site_id: str, sensor_types: Sequence[str] = ()
    ) -> np.ndarray:
        """Return what `apply` divides each channel by, in its unit, float64, shape (n_chans,)."""
        primary = _primary(len(x), sensor_types)
        fixed = FIXED_SCALE.get(sensor_types[0]) if sensor_types else None
        shared = self.scale(x[primary], ch_state[primary], subject_id, site_id) if fixed is None else fixed
        scales = np.full(len(x), shared)
        for row, sensor_type in enumerate(sensor_types[primary.stop :], start=primary.stop):
            if UNITS[sensor_type] == "mV":
                scales[row] = _rms_mv(x[row])
        return scales

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Normaliser":
        """Build a normaliser from `to_dict`'s output, also after a round trip through JSON."""
        return cls(kind=fields["kind"], scales=dict(fields["scales"]), global_scale=fields["global_scale"])


def _primary(n_chans: int, sensor_types: Sequence[str]) -> slice:
    """Return the rows of the primary channels, which are the first; all without sensor types."""
    if sensor_types and len(sensor_types) != n_chans:
        raise ValueError(f"there are {n_chans} channels, but {len(sensor_types)} sensor_types")
    return slice(0, n_primary(sensor_types) if sensor_types else n_chans)


def _rms_mv(x: np.ndarray) -> float:
    """Return the root mean square of one channel, shape (n_times,), at least `MIN_SCALE_MV`; NaN do not count."""
    known = x[np.isfinite(x)]
    return (
        max(MIN_SCALE_MV, float(np.sqrt(np.mean(np.square(known, dtype=np.float64))))) if known.size else MIN_SCALE_MV
    )


def _usable(x: np.ndarray, ch_state: np.ndarray) -> np.ndarray:
    """Return measured channels that hold a sample; interpolated ones only where nothing was measured."""
    finite, is_measured = np.isfinite(x), ch_state == MEASURED
    if finite.all() and is_measured.all():
        return x
    there = finite.any(axis=-1)
    measured = there & is_measured
    return x[measured] if measured.any() else x[there & (ch_state != ABSENT)]
