"""From a recording to windows: the one chain that the pipeline and the server share.

`plan_recording` (`signals.windows.plan`) decides once a recording what is done to it, `plan_windows` and `blocks`
(`signals.windows.blocks`) where its windows lie; `prepare_block` makes the windows of a stretch of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from signals.conditioning.cleaning import clean_window
from signals.conditioning.conditioning import Conditioner
from signals.description import artifacts, features, quality
from signals.modality import microvolts
from signals.montage.montage import Harmoniser
from signals.recording.recording import Recording
from signals.version import code_version
from signals.window import ABSENT, MEASURED, Provenance, Window
from signals.windows.blocks import Block, WindowStart, blocks, plan_windows
from signals.windows.labels import Label
from signals.windows.plan import RecordingPlan
from signals.windows.sensors import SensorSignal, condition_sensor
from signals.windows.surroundings import surroundings

WINDOW_REASONS = {
    "mostly_missing": "More than half of the window's samples were missing in the source.",
    "flat": "Every measured channel is flat over the whole window.",
}


@dataclass(frozen=True)
class Rejected:
    """A window that was not kept, and why."""

    recording_id: str
    site_id: str
    start_s: float
    reason: str


@dataclass(frozen=True)
class Prepared:
    """Windows of a block, and those that were rejected: together as many as the block has starts."""

    windows: list[Window] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def prepare_block(recording: Recording, block: Block) -> Prepared:
    """Return the windows of a block; cutting a recording into other blocks gives the same windows."""
    plan, segment = block.plan, block.starts[0].segment
    conditioner = plan.conditioner
    n_window = round(plan.profile.window_s * plan.profile.signal.sfreq)
    first = block.starts[0].start
    stop = block.starts[-1].start + n_window
    picks = [plan.picks[i] for i in conditioner.harmoniser.used]
    raw = _Raw()

    def read(a: int, b: int) -> np.ndarray:
        return raw.keep(recording.read(picks, segment=segment, start=a, stop=b), a)

    x, missing = conditioner.block(read, recording.n_times(plan.picks[0], segment), first, stop)
    sensors = [
        condition_sensor(
            recording, sensor, segment=segment, start=first, stop=stop, sfreq=conditioner.sfreq,
            mains_hz=plan.mains_hz, antialias_db=conditioner.antialias_db,
        )
        for sensor in plan.sensors
    ]  # fmt: skip
    prepared = Prepared()
    scores = block.anomaly or (None,) * len(block.starts)
    around = surroundings(recording, plan, block.starts) if plan.profile.spectrogram else [None] * len(block.starts)
    for start, anomaly, spectrogram in zip(block.starts, scores, around, strict=True):
        cut = slice(start.start - first, start.start - first + n_window)
        scalp = _scalp(plan, conditioner.harmoniser, x[:, cut], missing[:, cut], _faults(plan, conditioner, raw, start))
        window = _window(recording, plan, start, _with_sensors(scalp, plan, sensors, start, cut), anomaly)
        reason = reject_reason(window, missing[:, cut])
        if reason is None:
            prepared.windows.append(replace(window, spectrogram=spectrogram))
        else:
            prepared.rejected.append(Rejected(plan.recording_id, plan.site_id, window.start_s, reason))
    return prepared


def prepare_recording(recording: Recording, plan: RecordingPlan, labels: Sequence[Label] = ()) -> Iterator[Window]:
    """Yield every accepted window of a recording, block by block."""
    for block in blocks(plan, plan_windows(recording, plan, labels)):
        yield from prepare_block(recording, block).windows


def reject_reason(window: Window, missing: np.ndarray) -> str | None:
    """Return a key of WINDOW_REASONS for a window that holds nothing to learn from, or None.

    Amplitude is no reason: spikes are what clinicians look for, artifacts are flagged. Only EEG counts; `missing` has
    shape (n_eeg, n_times).
    """
    measured = window.ch_state[: window.n_eeg] == MEASURED
    if missing[measured].mean() > 0.5:
        return "mostly_missing"
    flat = artifacts.KINDS.index("flat")
    if ((window.artifact_mask[: window.n_eeg][measured] >> flat) & 1).all():
        return "flat"
    return None


class _Raw:
    """The native samples that a block was made of, kept while it is made."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, np.ndarray]] = []

    def keep(self, x: np.ndarray, start: int) -> np.ndarray:
        self.parts.append((start, x))
        return x

    def joined(self) -> tuple[int, np.ndarray]:
        """Return the first sample's number and the samples, shape (n_picks, n_times)."""
        if len(self.parts) > 1:
            self.parts = [(self.parts[0][0], np.concatenate([x for _, x in self.parts], axis=1))]
        return self.parts[0]


def _faults(plan: RecordingPlan, conditioner: Conditioner, raw: _Raw, start: WindowStart) -> np.ndarray:
    """Return the faults of a window's electrodes, uint16, shape (n_chans, n_seconds); see `electrode_faults`.

    A measured channel has those of the picks it is made of, an interpolated one none.
    """
    first, x = raw.joined()
    fit = conditioner.harmoniser
    onsets_s = _seconds(plan, start)
    bits = artifacts.electrode_faults(
        x, plan.native_sfreq, first_s=first / plan.native_sfreq, onsets_s=onsets_s
    )  # fmt: skip
    depends = fit.depends[:, fit.used] & (fit.ch_state == MEASURED)[:, None]
    return np.bitwise_or.reduce(np.where(depends[:, :, None], bits[None], np.uint16(0)), axis=1)


def _seconds(plan: RecordingPlan, start: WindowStart) -> np.ndarray:
    """Return the onsets of a window's seconds in its segment."""
    return start.start / plan.profile.signal.sfreq + np.arange(int(plan.profile.window_s))


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What is stored of a window's channels; fields as in `Window`."""

    data: np.ndarray
    ch_state: np.ndarray
    artifact_mask: np.ndarray
    quality: np.ndarray
    features: np.ndarray


def _scalp(plan: RecordingPlan, fit: Harmoniser, x: np.ndarray, missing: np.ndarray, faults: np.ndarray) -> _Rows:
    """Return the EEG rows of a window."""
    signal, profile = plan.profile.signal.scalp, plan.profile
    ch_state = fit.ch_state
    mask = artifacts.detect(
        x, signal.sfreq, ch_names=signal.ch_names, mains_hz=plan.mains_hz, h_freq=plan.band[1], missing=missing
    )
    # A gap's filler is no fault of the electrode.
    mask |= np.where(mask & artifacts.BIT["gap"], np.uint16(0), faults)
    mask[ch_state == ABSENT] = 0
    # After the flags: they tell what the source held, also where cleaning has taken it out.
    if plan.removal is not None:
        x = plan.removal.apply(x)
    if profile.cleaning.by_window:
        x = clean_window(x, signal.sfreq, cleaning=profile.cleaning, fit=fit, modality=signal, h_freq=plan.band[1])
    # A flat channel has no shape and no spectrum: its undefined features are stored as 0, the mask says why.
    values = np.nan_to_num(features.features(x, signal.sfreq))
    values[ch_state == ABSENT] = 0.0
    return _Rows(
        data=np.ascontiguousarray(x, dtype=np.float32),
        ch_state=ch_state,
        artifact_mask=mask,
        quality=quality.channel_quality(x, mask, ch_state),
        features=values,
    )


def _with_sensors(
    scalp: _Rows, plan: RecordingPlan, sensors: Sequence[SensorSignal], start: WindowStart, cut: slice
) -> _Rows:
    """Return the rows of EEG with those of the other sensors behind them: 0 and ABSENT where none was recorded."""
    signal = plan.profile.signal
    if signal.scalp is signal:
        return scalp
    rows = {
        name: np.concatenate([value, np.zeros((signal.n_chans - signal.n_eeg, *value.shape[1:]), value.dtype)])
        for name, value in vars(scalp).items()
    }
    for sensor in sensors:
        row, x = sensor.plan.row, sensor.x[cut]
        mask = sensor.mask(_seconds(plan, start), cut)
        in_uv = microvolts(x[None], (sensor.plan.sensor_type,))
        rows["data"][row] = x
        rows["ch_state"][row] = MEASURED
        rows["artifact_mask"][row] = mask
        rows["quality"][row] = quality.trust(mask)
        rows["features"][row] = np.nan_to_num(features.features(in_uv, signal.sfreq)[0])
    return _Rows(**rows)


def _window(
    recording: Recording, plan: RecordingPlan, start: WindowStart, rows: _Rows, anomaly: np.ndarray | None
) -> Window:
    signal, profile = plan.profile.signal, plan.profile
    onset_s = recording.segments[start.segment].onset_s + start.start / signal.sfreq
    native = plan.native_sfreq / signal.sfreq
    return Window(
        **vars(rows),
        anomaly=anomaly,
        modality=signal.name,
        sfreq=signal.sfreq,
        band=plan.band,
        site_id=plan.site_id,
        subject_id=plan.subject_id,
        recording_id=plan.recording_id,
        start_s=round(onset_s, 6),
        label=start.label.label if start.label else "",
        votes=start.label.votes if start.label else (),
        label_span_s=profile.label_span_s if start.label else None,
        provenance=Provenance(
            source_sha256=plan.source_sha256,
            segment=start.segment,
            start_sample=int(start.start * native),
            stop_sample=int((start.start + rows.data.shape[1]) * native),
            reader=recording.reader,
            config_hash=profile.config_hash,
            code_version=code_version(),
        ),
    )
