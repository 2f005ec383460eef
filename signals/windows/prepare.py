"""From a recording to windows: the one chain that the pipeline and the server share.

`plan_recording` (`signals.windows.plan`) decides once per recording what is done to it, `plan_windows` and `blocks`
(`signals.windows.blocks`) where its windows lie. `read_block` reads the samples of a block,
`prepare_samples` turns them into windows: a pure function, which serves a stream just as well.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from signals.conditioning.conditioning import Conditioned, Conditioner, Native
from signals.description import quality
from signals.recording.recording import Recording
from signals.threads import one_thread
from signals.version import code_version
from signals.window import MEASURED, Provenance, Window
from signals.windows.blocks import Block, WindowStart, blocks, plan_windows
from signals.windows.labels import Label
from signals.windows.margins import NO_MARGINS, recorded_span, with_margins
from signals.windows.native import read_native
from signals.windows.plan import RecordingPlan
from signals.windows.rows import Rows, primary_rows, with_sensors
from signals.windows.sensors import SensorSignal
from signals.windows.surroundings import surroundings

WINDOW_REASONS = {
    "mostly_missing": "More than half of the window's samples were missing in the source.",
    "flat": "Every measured channel is flat over the whole window.",
}
DESCRIPTION, SPECTROGRAM = "description", "spectrogram"
EVERYTHING = frozenset({DESCRIPTION, SPECTROGRAM})
"""What `want` may hold besides samples and channel states, which every window has: flags, quality and features; the
spectrogram, where the profile has one. What is not wanted is not computed, and empty in the window."""


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
    primary: Native
    """The picks that the plan's harmoniser uses, over the span of the block's samples."""
    sensors: tuple[Native, ...]
    """The channel of each of the plan's sensors, over its span."""
    spectrograms: tuple[np.ndarray | None, ...]
    """The ten minutes around each window where the profile asks for them (`signals.windows.surroundings`)."""


def prepare_block(recording: Recording, block: Block, *, want: Collection[str] = EVERYTHING) -> Prepared:
    """Return the windows of a block; cutting a recording into other blocks gives the same windows.

    `want` is a part of `EVERYTHING`: all that is wanted, and which windows are rejected, is the same to the bit.
    """
    return prepare_samples(block, read_block(recording, block, want=want), want=want)


def prepare_recording(
    recording: Recording, plan: RecordingPlan, labels: Sequence[Label] = (), *, want: Collection[str] = EVERYTHING
) -> Iterator[Window]:
    """Yield every accepted window of a recording, block by block; `want` as in `prepare_block`."""
    for block in blocks(plan, plan_windows(recording, plan, labels)):
        yield from prepare_block(recording, block, want=want).windows


@one_thread()
def read_block(recording: Recording, block: Block, *, want: Collection[str] = EVERYTHING) -> BlockSamples:
    """Return the samples of a block: one read for its primary channels, and one per sensor."""
    plan, segment = block.plan, block.starts[0].segment
    start, stop = _extent(block)
    around: Sequence[np.ndarray | None] = [None] * len(block.starts)
    if plan.profile.spectrogram and SPECTROGRAM in want:  # of what was recorded, without margins
        n_before = round(plan.margins[0] * plan.profile.signal.sfreq)
        around = surroundings(recording, plan, [replace(place, start=place.start - n_before) for place in block.starts])
    recording = with_margins(recording, plan.margins)
    return BlockSamples(
        reader=recording.reader,
        onset_s=recording.segments[segment].onset_s,
        primary=read_native(recording, plan.used_picks, plan.conditioner, segment=segment, start=start, stop=stop),
        sensors=tuple(
            read_native(recording, (sensor.pick,), chain, segment=segment, start=start, stop=stop)
            for sensor, chain in zip(plan.sensors, plan.sensor_conditioners, strict=True)
        ),
        spectrograms=tuple(around),
    )


@one_thread()
def prepare_samples(block: Block, samples: BlockSamples, *, want: Collection[str] = EVERYTHING) -> Prepared:
    """Return the windows of a block from its samples; `want` as in `prepare_block`.

    Raises ValueError for something to want that is not in `EVERYTHING`.
    """
    if unknown := set(want) - EVERYTHING:
        raise ValueError(f"want={sorted(unknown)} is not a part of {sorted(EVERYTHING)}")
    plan, conditioner = block.plan, block.plan.conditioner
    start, stop = _extent(block)
    primary = _marked(plan, conditioner, samples.primary, conditioner.condition(samples.primary, start, stop))
    sensors = [
        SensorSignal(
            plan=sensor, native=native, signal=_marked(plan, chain, native, chain.condition(native, start, stop))
        )
        for sensor, chain, native in zip(plan.sensors, plan.sensor_conditioners, samples.sensors, strict=True)
    ]
    prepared = Prepared()
    scores = block.anomaly or (None,) * len(block.starts)
    for place, anomaly, spectrogram in zip(block.starts, scores, samples.spectrograms, strict=True):
        signal = primary.cut(place.start, plan.n_window)
        seconds_s = place.start / plan.profile.signal.sfreq + np.arange(int(plan.profile.window_s))
        rows = primary_rows(
            plan, conditioner.harmoniser, signal, samples.primary, seconds_s=seconds_s, described=DESCRIPTION in want
        )
        rows = with_sensors(rows, plan, sensors, place, seconds_s=seconds_s)
        window = _window(plan, place, samples, rows, anomaly, spectrogram)
        times, seconds = _within(plan, place, conditioner, samples.primary)
        reason = reject_reason(window.ch_state[: window.n_primary], signal.missing[:, times], rows.flat[:, seconds])
        if reason is None:
            prepared.windows.append(window)
        else:
            prepared.rejected.append(Rejected(plan.recording_id, plan.site_id, window.start_s, reason))
    return prepared


def _recorded(plan: RecordingPlan, conditioner: Conditioner, native: Native) -> tuple[int, int]:
    """Return the samples [start, stop) of a segment with its margins that were recorded, at the modality's rate."""
    return recorded_span(conditioner.n_times(native.n_segment), plan.profile.signal.sfreq, plan.margins)


def _within(plan: RecordingPlan, place: WindowStart, conditioner: Conditioner, native: Native) -> tuple[slice, slice]:
    """Return the samples of a window that were recorded, and its whole seconds that were."""
    start, stop = (each - place.start for each in _recorded(plan, conditioner, native))
    first, n_second = max(start, 0), round(plan.profile.signal.sfreq)
    second = -(-first // n_second)
    return slice(first, stop), slice(second, max(stop // n_second, second + 1))


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


def _window(
    plan: RecordingPlan,
    place: WindowStart,
    samples: BlockSamples,
    rows: Rows,
    anomaly: np.ndarray | None,
    spectrogram: np.ndarray | None,
) -> Window:
    signal, profile = plan.profile.signal, plan.profile
    return Window(
        data=rows.data,
        ch_state=rows.ch_state,
        artifact_mask=rows.artifact_mask,
        quality=rows.quality,
        snr_db=rows.snr_db,
        artifact_ratio=rows.artifact_ratio,
        quality_verdict=_quality_of(rows, signal.n_primary),
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
        device=plan.details.device,
        start_hour=plan.details.start_hour,
        age_group=plan.details.age_group,
        age=plan.details.age,
        sex=plan.details.sex,
        height_cm=plan.details.height_cm,
        weight_kg=plan.details.weight_kg,
        provenance=_provenance(plan, place, samples.reader),
    )


def _quality_of(rows: Rows, n_primary: int) -> str:
    """Return the quality of a window's primary channels; empty where the profile does not measure their SNR."""
    if rows.snr_db is None:
        return ""
    return quality.quality_verdict(
        artifact_mask=rows.artifact_mask[:n_primary],
        ch_state=rows.ch_state[:n_primary],
        quality=rows.quality[:n_primary],
        snr_db=rows.snr_db[:n_primary],
    )


def _provenance(plan: RecordingPlan, place: WindowStart, reader: str) -> Provenance:
    native_per_sample = plan.native_sfreq / plan.profile.signal.sfreq
    n_before = round(plan.margins[0] * plan.native_sfreq)
    return Provenance(
        source_sha256=plan.source_sha256,
        segment=place.segment,
        start_sample=int(place.start * native_per_sample) - n_before,
        stop_sample=int((place.start + plan.n_window) * native_per_sample) - n_before,
        reader=reader,
        config_hash=plan.profile.config_hash,
        code_version=code_version(),
    )


def reject_reason(ch_state: np.ndarray, missing: np.ndarray, flat: np.ndarray) -> str | None:
    """Return a key of WINDOW_REASONS for a window that holds nothing to learn from, or None.

    Amplitude is no reason: spikes are what clinicians look for, artifacts are flagged. Only primary channels count;
    `ch_state` has shape (n_primary,), `missing` (n_primary, n_times), `flat` (n_primary, n_seconds).
    """
    measured = ch_state == MEASURED
    if missing.any() and missing[measured].mean() > 0.5:
        return "mostly_missing"
    return "flat" if flat[measured].all() else None
