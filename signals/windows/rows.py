"""What is stored of a window's channels: samples and states always, flags, quality and features where wanted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from signals.conditioning.cleaning import clean_window
from signals.conditioning.conditioning import Conditioned, Native
from signals.description import artifacts, quality
from signals.description.describers import describer_of
from signals.description.features import spectrum
from signals.modality import in_microvolts
from signals.montage.montage import Harmoniser
from signals.window import ABSENT, MEASURED
from signals.windows.blocks import WindowStart
from signals.windows.plan import RecordingPlan
from signals.windows.sensors import SensorSignal


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What is stored of a window's channels; fields as in `Window`, empty where they were not wanted."""

    data: np.ndarray
    ch_state: np.ndarray
    flat: np.ndarray
    """Whether a second of a primary channel is flat, bool, shape (n_primary, n_seconds)."""
    artifact_mask: np.ndarray
    quality: np.ndarray
    snr_db: np.ndarray | None
    artifact_ratio: np.ndarray | None
    features: np.ndarray

    def with_absent(self, n: int) -> "Rows":
        """Return the rows with `n` more behind them, all 0 and ABSENT."""
        unknown = np.full(n, np.nan, dtype=np.float32)
        return Rows(
            data=_with_zeros(self.data, n),
            ch_state=_with_zeros(self.ch_state, n),
            flat=self.flat,
            artifact_mask=_with_zeros(self.artifact_mask, n),
            quality=_with_zeros(self.quality, n),
            snr_db=None if self.snr_db is None else np.append(self.snr_db, unknown),
            artifact_ratio=None if self.artifact_ratio is None else np.append(self.artifact_ratio, unknown),
            features=_with_zeros(self.features, n),
        )


def _with_zeros(values: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([values, np.zeros((n, *values.shape[1:]), values.dtype)])


def primary_rows(
    plan: RecordingPlan, fit: Harmoniser, conditioned: Conditioned, native: Native, *, seconds_s: np.ndarray,
    described: bool,
) -> Rows:  # fmt: skip
    """Return the primary rows of a window.

    `native` holds the samples that it was conditioned from, `seconds_s` the onsets of its seconds in their segment.
    Where it is not `described`, flags and features have no columns, quality is NaN, and what may be None is.
    """
    if not described:
        n_chans = len(fit.ch_state)
        return Rows(
            data=_cleaned(plan, fit, conditioned.x),
            ch_state=fit.ch_state,
            flat=_flat(plan, fit, conditioned, native, seconds_s),
            artifact_mask=np.zeros((n_chans, 0), dtype=np.uint16),
            quality=np.full(n_chans, np.nan, dtype=np.float32),
            snr_db=None,
            artifact_ratio=None,
            features=np.zeros((n_chans, 0), dtype=np.float32),
        )
    signal, ch_state = plan.profile.signal.primary, fit.ch_state
    describer, native_uv = describer_of(signal), in_microvolts(native.x, signal.kind)
    # Before cleaning: flags describe what the source held, also where cleaning takes it out.
    mask = describer.flags(
        in_microvolts(conditioned.x, signal.kind), signal.sfreq, ch_names=signal.ch_names, mains_hz=plan.mains_hz,
        h_freq=plan.band[1], missing=conditioned.missing,
    )  # fmt: skip
    first_s = native.first / plan.native_sfreq
    bits = describer.faults(native_uv, plan.native_sfreq, first_s=first_s, onsets_s=seconds_s)
    # A gap's filler is no fault of the electrode.
    mask |= np.where(mask & artifacts.BIT["gap"], np.uint16(0), _of_channels(fit, bits))
    mask[ch_state == ABSENT] = 0
    x = _cleaned(plan, fit, conditioned.x)
    # A flat channel has no shape and no spectrum: its undefined features are stored as 0, the mask says why.
    x_uv = in_microvolts(x, signal.kind)
    density = spectrum(x_uv, signal.sfreq)
    values = np.nan_to_num(describer.values(x_uv, signal.sfreq, of=density))
    values[ch_state == ABSENT] = 0.0
    absent = np.where(ch_state == ABSENT, np.float32(np.nan), np.float32(0.0))
    return Rows(
        data=x,
        ch_state=ch_state,
        flat=(mask & artifacts.BIT["flat"]) > 0,
        artifact_mask=mask,
        quality=describer.quality(x_uv, mask, ch_state),
        snr_db=quality.channel_snr_db(*density, h_freq=plan.band[1]) + absent,
        artifact_ratio=quality.artifact_ratio(mask) + absent,
        features=values,
    )


def with_sensors(
    primary: Rows, plan: RecordingPlan, sensors: Sequence[SensorSignal], place: WindowStart, *, seconds_s: np.ndarray
) -> Rows:
    """Return the primary rows with those of the other sensors behind them: 0 and ABSENT where none was recorded."""
    signal = plan.profile.signal
    if signal.primary is signal:
        return primary
    rows = primary.with_absent(signal.n_chans - signal.n_primary)
    for sensor in sensors:
        row, conditioned = sensor.plan.row, sensor.signal.cut(place.start, plan.n_window)
        rows.data[row] = conditioned.x[0]
        rows.ch_state[row] = MEASURED
        if rows.artifact_ratio is None:
            continue
        mask = sensor.mask(seconds_s, conditioned.missing[0])
        rows.artifact_mask[row] = mask
        rows.quality[row] = quality.trust(mask)
        rows.artifact_ratio[row] = quality.artifact_ratio(mask)
        in_uv = in_microvolts(conditioned.x, sensor.plan.sensor_type)
        rows.features[row] = np.nan_to_num(describer_of(signal).values(in_uv, signal.sfreq)[0])
    return rows


def _cleaned(plan: RecordingPlan, fit: Harmoniser, x: np.ndarray) -> np.ndarray:
    """Return the samples after the cleaning that the profile asks for, float32."""
    signal, cleaning = plan.profile.signal.primary, plan.profile.cleaning
    if plan.removal is not None:
        x = plan.removal.apply(x)
    if cleaning.by_window:
        x = clean_window(x, signal.sfreq, cleaning=cleaning, fit=fit, modality=signal, h_freq=plan.band[1])
    return np.ascontiguousarray(x, dtype=np.float32)


def _flat(
    plan: RecordingPlan, fit: Harmoniser, conditioned: Conditioned, native: Native, seconds_s: np.ndarray
) -> np.ndarray:
    """Return where the flag "flat" would stand, bool, (n_primary, n_seconds), at a fraction of all flags' cost."""
    n_seconds, first_s = len(seconds_s), native.first / plan.native_sfreq
    kind, describer = plan.profile.signal.kind, describer_of(plan.profile.signal)
    bits = describer.flat(in_microvolts(native.x, kind), plan.native_sfreq, first_s=first_s, onsets_s=seconds_s)
    flat = describer.flat_seconds(in_microvolts(conditioned.x, kind), n_seconds) | (_of_channels(fit, bits) > 0)
    gap = conditioned.missing.reshape(len(flat), n_seconds, -1).any(axis=-1)
    return np.asarray(flat & ~gap & (fit.ch_state != ABSENT)[:, None])


def _of_channels(fit: Harmoniser, bits: np.ndarray) -> np.ndarray:
    """Return the faults of electrodes, uint16, as those of channels, shape (n_chans, n_seconds).

    A measured channel has those of the picks it is made of, an interpolated one none.
    """
    depends = fit.depends[:, fit.used] & (fit.ch_state == MEASURED)[:, None]
    return np.bitwise_or.reduce(np.where(depends[:, :, None], bits[None], np.uint16(0)), axis=1)
