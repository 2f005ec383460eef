"""From a recording to windows: the one chain that the pipeline and the server share.

`plan_recording` (`signals.windows.plan`) decides once per recording what is done to it, `plan_windows` and `blocks`
(`signals.windows.blocks`) where its windows lie. `read_block` reads the samples of a block,
`prepare_samples` turns them into windows: a pure function, which serves a stream just as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from signals.conditioning.cleaning import clean_window
from signals.conditioning.conditioning import Conditioned, Conditioner, Native
from signals.description import artifacts, features, quality
from signals.modality import microvolts
from signals.montage.montage import Harmoniser
from signals.recording.recording import Recording
from signals.threads import one_thread
from signals.version import code_version
from signals.window import ABSENT, MEASURED, Provenance, Window
from signals.windows.blocks import Block, WindowStart, blocks, plan_windows
from signals.windows.labels import Label
from signals.windows.margins import NO_MARGINS, recorded_span, with_margins
from signals.windows.native import read_native
from signals.windows.plan import RecordingPlan
from signals.windows.sensors import SensorSignal
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


@dataclass(frozen=True, kw_only=True)
class BlockSamples:
    """The samples of a block: all that its windows depend on besides their plan."""

    reader: str
    """Name of the reader that brought the samples."""
    onset_s: float
    """Onset of the block's segment in the recording, seconds."""
    eeg: Native
    """The picks that the plan's harmoniser uses, over the span of the block's samples."""
    sensors: tuple[Native, ...]
    """The channel of each of the plan's sensors, over its span."""
    spectrograms: tuple[np.ndarray | None, ...]
    """The ten minutes around each window where the profile asks for them (`signals.windows.surroundings`)."""


def prepare_block(recording: Recording, block: Block) -> Prepared:
    """Return the windows of a block; cutting a recording into other blocks gives the same windows."""
    return prepare_samples(block, read_block(recording, block))


def prepare_recording(recording: Recording, plan: RecordingPlan, labels: Sequence[Label] = ()) -> Iterator[Window]:
    """Yield every accepted window of a recording, block by block."""
    for block in blocks(plan, plan_windows(recording, plan, labels)):
        yield from prepare_block(recording, block).windows


@one_thread()
def read_block(recording: Recording, block: Block) -> BlockSamples:
    """Return the samples of a block: one read for its EEG, and one per sensor."""
    plan, segment = block.plan, block.starts[0].segment
    start, stop = _extent(block)
    around: Sequence[np.ndarray | None] = [None] * len(block.starts)
    if plan.profile.spectrogram:  # of what was recorded, without margins
        n_before = round(plan.margins[0] * plan.profile.signal.sfreq)
        around = surroundings(recording, plan, [replace(place, start=place.start - n_before) for place in block.starts])
    recording = with_margins(recording, plan.margins)
    return BlockSamples(
        reader=recording.reader,
        onset_s=recording.segments[segment].onset_s,
        eeg=read_native(recording, plan.used_picks, plan.conditioner, segment=segment, start=start, stop=stop),
        sensors=tuple(
            read_native(recording, (sensor.pick,), chain, segment=segment, start=start, stop=stop)
            for sensor, chain in zip(plan.sensors, plan.sensor_conditioners, strict=True)
        ),
        spectrograms=tuple(around),
    )


@one_thread()
def prepare_samples(block: Block, samples: BlockSamples) -> Prepared:
    """Return the windows of a block from its samples."""
    plan, conditioner = block.plan, block.plan.conditioner
    start, stop = _extent(block)
    eeg = _marked(plan, conditioner, samples.eeg, conditioner.condition(samples.eeg, start, stop))
    sensors = [
        SensorSignal(
            plan=sensor, native=native, signal=_marked(plan, chain, native, chain.condition(native, start, stop))
        )
        for sensor, chain, native in zip(plan.sensors, plan.sensor_conditioners, samples.sensors, strict=True)
    ]
    prepared = Prepared()
    scores = block.anomaly or (None,) * len(block.starts)
    for place, anomaly, spectrogram in zip(block.starts, scores, samples.spectrograms, strict=True):
        signal = eeg.cut(place.start, plan.n_window)
        rows = _scalp(plan, conditioner.harmoniser, signal, _faults(plan, conditioner, samples.eeg, place))
        rows = _with_sensors(rows, plan, sensors, place)
        window = _window(plan, place, samples, rows, anomaly, spectrogram)
        first, last = _recorded(plan, conditioner, samples.eeg)
        within = slice(max(first - place.start, 0), last - place.start)
        reason = reject_reason(window, signal.missing, within)
        if reason is None:
            prepared.windows.append(window)
        else:
            prepared.rejected.append(Rejected(plan.recording_id, plan.site_id, window.start_s, reason))
    return prepared


def _recorded(plan: RecordingPlan, conditioner: Conditioner, native: Native) -> tuple[int, int]:
    """Return the samples [start, stop) of a segment with its margins that were recorded, at the modality's rate."""
    return recorded_span(conditioner.n_times(native.n_segment), plan.profile.signal.sfreq, plan.margins)


def _marked(plan: RecordingPlan, conditioner: Conditioner, native: Native, signal: Conditioned) -> Conditioned:
    """Return the signal with its margins marked as missing."""
    if plan.margins == NO_MARGINS:
        return signal
    start, stop = _recorded(plan, conditioner, native)
    at = np.arange(signal.start, signal.start + signal.missing.shape[-1])
    return replace(signal, missing=signal.missing | (at < start) | (at >= stop))


def _extent(block: Block) -> tuple[int, int]:
    """Return the samples [start, stop) of the segment that a block covers, at the modality's rate."""
    return block.starts[0].start, block.starts[-1].start + block.plan.n_window


def _faults(plan: RecordingPlan, conditioner: Conditioner, native: Native, place: WindowStart) -> np.ndarray:
    """Return the faults of a window's electrodes, uint16, shape (n_chans, n_seconds); see `electrode_faults`.

    A measured channel has those of the picks it is made of, an interpolated one none.
    """
    fit = conditioner.harmoniser
    bits = artifacts.electrode_faults(
        native.x, plan.native_sfreq, first_s=native.first / plan.native_sfreq, onsets_s=_seconds(plan, place)
    )
    depends = fit.depends[:, fit.used] & (fit.ch_state == MEASURED)[:, None]
    return np.bitwise_or.reduce(np.where(depends[:, :, None], bits[None], np.uint16(0)), axis=1)


def _seconds(plan: RecordingPlan, place: WindowStart) -> np.ndarray:
    """Return the onsets of a window's seconds in its segment."""
    return place.start / plan.profile.signal.sfreq + np.arange(int(plan.profile.window_s))


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What is stored of a window's channels; fields as in `Window`."""

    data: np.ndarray
    ch_state: np.ndarray
    artifact_mask: np.ndarray
    quality: np.ndarray
    snr_db: np.ndarray
    artifact_ratio: np.ndarray
    features: np.ndarray

    def with_absent(self, n: int) -> "_Rows":
        """Return the rows with `n` more behind them, all 0 and ABSENT."""
        return _Rows(
            data=_with_zeros(self.data, n),
            ch_state=_with_zeros(self.ch_state, n),
            artifact_mask=_with_zeros(self.artifact_mask, n),
            quality=_with_zeros(self.quality, n),
            snr_db=np.append(self.snr_db, np.full(n, np.nan, dtype=np.float32)),
            artifact_ratio=np.append(self.artifact_ratio, np.full(n, np.nan, dtype=np.float32)),
            features=_with_zeros(self.features, n),
        )


def _with_zeros(values: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([values, np.zeros((n, *values.shape[1:]), values.dtype)])


def _scalp(plan: RecordingPlan, fit: Harmoniser, conditioned: Conditioned, faults: np.ndarray) -> _Rows:
    """Return the EEG rows of a window."""
    signal, profile = plan.profile.signal.scalp, plan.profile
    x, ch_state = conditioned.x, fit.ch_state
    mask = artifacts.detect(
        x, signal.sfreq, ch_names=signal.ch_names, mains_hz=plan.mains_hz, h_freq=plan.band[1],
        missing=conditioned.missing,
    )  # fmt: skip
    # A gap's filler is no fault of the electrode.
    mask |= np.where(mask & artifacts.BIT["gap"], np.uint16(0), faults)
    mask[ch_state == ABSENT] = 0
    # After the flags: they describe what the source held, also where cleaning has taken it out.
    if plan.removal is not None:
        x = plan.removal.apply(x)
    if profile.cleaning.by_window:
        x = clean_window(x, signal.sfreq, cleaning=profile.cleaning, fit=fit, modality=signal, h_freq=plan.band[1])
    # A flat channel has no shape and no spectrum: its undefined features are stored as 0, the mask says why.
    spectrum = features.spectrum(x, signal.sfreq)
    values = np.nan_to_num(features.features(x, signal.sfreq, of=spectrum))
    values[ch_state == ABSENT] = 0.0
    absent = np.where(ch_state == ABSENT, np.float32(np.nan), np.float32(0.0))
    return _Rows(
        data=np.ascontiguousarray(x, dtype=np.float32),
        ch_state=ch_state,
        artifact_mask=mask,
        quality=quality.channel_quality(x, mask, ch_state),
        snr_db=quality.channel_snr_db(*spectrum, h_freq=plan.band[1]) + absent,
        artifact_ratio=quality.artifact_ratio(mask) + absent,
        features=values,
    )


def _with_sensors(scalp: _Rows, plan: RecordingPlan, sensors: Sequence[SensorSignal], place: WindowStart) -> _Rows:
    """Return the rows of EEG with those of the other sensors behind them: 0 and ABSENT where none was recorded."""
    signal = plan.profile.signal
    if signal.scalp is signal:
        return scalp
    rows = scalp.with_absent(signal.n_chans - signal.n_eeg)
    for sensor in sensors:
        row, conditioned = sensor.plan.row, sensor.signal.cut(place.start, plan.n_window)
        mask = sensor.mask(_seconds(plan, place), conditioned.missing[0])
        rows.data[row] = conditioned.x[0]
        rows.ch_state[row] = MEASURED
        rows.artifact_mask[row] = mask
        rows.quality[row] = quality.trust(mask)
        rows.artifact_ratio[row] = quality.artifact_ratio(mask)
        in_uv = microvolts(conditioned.x, (sensor.plan.sensor_type,))
        rows.features[row] = np.nan_to_num(features.features(in_uv, signal.sfreq)[0])
    return rows


def _window(
    plan: RecordingPlan,
    place: WindowStart,
    samples: BlockSamples,
    rows: _Rows,
    anomaly: np.ndarray | None,
    spectrogram: np.ndarray | None,
) -> Window:
    signal, profile = plan.profile.signal, plan.profile
    native_per_sample, eeg = plan.native_sfreq / signal.sfreq, slice(signal.n_eeg)
    n_before = round(plan.margins[0] * plan.native_sfreq)
    return Window(
        data=rows.data,
        ch_state=rows.ch_state,
        artifact_mask=rows.artifact_mask,
        quality=rows.quality,
        snr_db=rows.snr_db,
        artifact_ratio=rows.artifact_ratio,
        quality_verdict=quality.quality_verdict(
            artifact_mask=rows.artifact_mask[eeg],
            ch_state=rows.ch_state[eeg],
            quality=rows.quality[eeg],
            snr_db=rows.snr_db[eeg],
        ),
        features=rows.features,
        anomaly=anomaly,
        spectrogram=spectrogram,
        modality=signal.name,
        sfreq=signal.sfreq,
        band=plan.band,
        site_id=plan.site_id,
        subject_id=plan.subject_id,
        recording_id=plan.recording_id,
        start_s=round(samples.onset_s + place.start / signal.sfreq, 6),
        label=place.label.label if place.label else "",
        votes=place.label.votes if place.label else (),
        label_span_s=profile.label_span_s if place.label else None,
        provenance=Provenance(
            source_sha256=plan.source_sha256,
            segment=place.segment,
            start_sample=int(place.start * native_per_sample) - n_before,
            stop_sample=int((place.start + plan.n_window) * native_per_sample) - n_before,
            reader=samples.reader,
            config_hash=profile.config_hash,
            code_version=code_version(),
        ),
    )


def reject_reason(window: Window, missing: np.ndarray, within: slice = slice(None)) -> str | None:
    """Return a key of WINDOW_REASONS for a window that holds nothing to learn from, or None.

    Amplitude is no reason: spikes are what clinicians look for, artifacts are flagged. Only EEG counts; `missing` has
    shape (n_eeg, n_times). Of a window with margins, what lies `within` the samples that were recorded counts.
    """
    measured = window.ch_state[: window.n_eeg] == MEASURED
    if missing[measured, within].mean() > 0.5:
        return "mostly_missing"
    flat, n_second = artifacts.KINDS.index("flat"), round(window.sfreq)
    first, last, _ = within.indices(missing.shape[1])
    seconds = slice(-(-first // n_second), max(last // n_second, -(-first // n_second) + 1))
    if ((window.artifact_mask[: window.n_eeg][measured, seconds] >> flat) & 1).all():
        return "flat"
    return None
