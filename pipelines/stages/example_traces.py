"""Ten seconds of one recording a site, before and after preparation: what the run report draws.

Which recording is decided by the smallest block hash of the site, so every runner draws the same. Only a reference to
the block is combined; samples are read where they are drawn from. A trace carries a site, a recording id and names of
electrodes, never a label out of the file.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np

from pipelines.report.traces import extremes
from pipelines.runs.remote import register_remote
from pipelines.stages.counters import count
from signals.modality import microvolts
from signals.readers.registry import reopen_recording
from signals.recording.recording import Recording
from signals.shards.records import as_stored
from signals.threads import one_thread
from signals.window import MEASURED, Window
from signals.windows.blocks import Block
from signals.windows.plan import RecordingPlan
from signals.windows.prepare import prepare_block

EXAMPLE_S = 10
_MOST_ROWS = 24


@dataclass(frozen=True, kw_only=True)
class Row:
    """One channel's course (`run_report_traces.extremes`); None where nothing was recorded."""

    name: str
    values: tuple[int | None, ...] | None


@dataclass(frozen=True, kw_only=True)
class Example:
    """The same seconds of one recording before and after."""

    site_id: str
    recording_id: str
    label: str
    start_s: float
    """Onset in the recording, seconds since its start."""
    native_sfreq: float
    sfreq: float
    band: tuple[float, float]
    mains_hz: float | None
    before: tuple[Row, ...]
    """As read, each channel's median taken off."""
    after: tuple[Row, ...]
    ch_state: tuple[int, ...]
    flags: tuple[tuple[int, ...], ...]
    """Bit set of `signals.description.artifacts.KINDS` by channel and second."""


@dataclass
class ExampleTraces(beam.PTransform):
    """Block -> Example, one a site that has a window."""

    def expand(self, planned: beam.PCollection) -> beam.PCollection:
        """Choose a block a site, then read and prepare it."""
        return (
            planned
            | "Key by site" >> beam.Map(by_site)
            | "Choose" >> beam.CombinePerKey(smallest_hash)
            | "Block" >> beam.Values()
            | "Read" >> beam.ParDo(ReadExample())
        )


def by_site(block: Block) -> tuple[str, Block]:
    """Return (site_id, block)."""
    return block.plan.site_id, block


def smallest_hash(blocks: Iterable[Block]) -> Block:
    """Return the block of the smallest hash."""
    return min(blocks, key=block_hash)


def block_hash(block: Block) -> str:
    """Return 64 hex digits that recording, segment and first window of a block decide."""
    first = block.starts[0]
    return hashlib.sha256(f"{block.plan.source_sha256}/{first.segment}/{first.start}".encode()).hexdigest()


class ReadExample(beam.DoFn):
    """Block -> Example, none where every window of the block is rejected."""

    def setup(self) -> None:
        """Let the readers open what Beam's file systems hold."""
        register_remote()

    def process(self, block: Block) -> Iterator[Example]:
        """Yield the example of one block."""
        started = time.perf_counter()
        with one_thread():
            example = example_of(reopen_recording(block.plan.uri), block)
        if example is not None:
            yield example
        count("example", n=int(example is not None), n_bytes=0, started=started)


def example_of(recording: Recording, block: Block) -> Example | None:
    """Return the example of the block's first window that is kept, or None."""
    for start in block.starts:
        for window in prepare_block(recording, replace(block, starts=(start,))).windows:
            return _example(recording, block.plan, window)
    return None


def _example(recording: Recording, plan: RecordingPlan, window: Window) -> Example:
    # What the label speaks of, if it speaks of a part.
    skip_s = int(window.label_span_s[0]) if window.label_span_s else 0
    seconds = slice(skip_s, skip_s + EXAMPLE_S)
    samples = slice(*(round(s * window.sfreq) for s in (seconds.start, seconds.stop)))
    types = window.sensor_types
    after = microvolts(as_stored(window.data, types), types)[:, samples]
    return Example(
        site_id=plan.site_id,
        recording_id=plan.recording_id,
        label=window.label,
        start_s=window.start_s + skip_s,
        native_sfreq=plan.native_sfreq,
        sfreq=window.sfreq,
        band=plan.band,
        mains_hz=plan.mains_hz,
        before=_before(recording, plan, window, skip_s, after.shape[1] / window.sfreq),
        after=tuple(
            Row(name=name, values=extremes(x) if state else None)
            for name, x, state in zip(plan.profile.signal.ch_names, after, window.ch_state, strict=True)
        ),
        ch_state=tuple(int(state) for state in window.ch_state),
        flags=tuple(tuple(int(bits) for bits in row[seconds]) for row in window.artifact_mask),
    )


def _before(recording: Recording, plan: RecordingPlan, window: Window, skip_s: int, n_s: float) -> tuple[Row, ...]:
    picks, segment = [int(i) for i in plan.conditioner.harmoniser.used], window.provenance.segment
    stop_at = recording.n_times(plan.picks[0], segment)
    start = window.provenance.start_sample + round(skip_s * plan.native_sfreq)
    stop = min(start + round(n_s * plan.native_sfreq), stop_at)
    x = recording.read([plan.picks[i] for i in picks], segment=segment, start=start, stop=stop)
    x = x - np.asarray([plan.offsets[i] for i in picks], dtype=np.float32)[:, None]
    derived = [plan.derivations[i] for i in picks]
    if any(derivation.cathode for derivation in derived):
        names = [f"{d.anode}-{d.cathode}" if d.cathode else d.anode for d in derived]
        return tuple(Row(name=n, values=extremes(row)) for n, row in zip(names, x, strict=True))[:_MOST_ROWS]
    rows = {d.anode: row for d, row in zip(derived, x, strict=True)}
    rows |= _sensors_before(recording, plan, segment, start / plan.native_sfreq, n_s)
    return tuple(
        Row(name=name, values=extremes(rows[name]) if state == MEASURED and name in rows else None)
        for name, state in zip(plan.profile.signal.ch_names, window.ch_state, strict=True)
    )


def _sensors_before(
    recording: Recording, plan: RecordingPlan, segment: int, start_s: float, n_s: float
) -> dict[str, np.ndarray]:
    """Return the channels of the rows beside EEG as read, µV, by the row's name."""
    rows = {}
    for sensor in plan.sensors:
        start, n = round(start_s * sensor.native_sfreq), round(n_s * sensor.native_sfreq)
        stop = min(start + n, recording.n_times(sensor.pick, segment))
        x = recording.read([sensor.pick], segment=segment, start=start, stop=stop) - np.float32(sensor.offset)
        rows[plan.profile.signal.ch_names[sensor.row]] = microvolts(x, (sensor.sensor_type,))[0]
    return rows


def choose(examples: Sequence[Example], most: int) -> list[dict[str, Any]]:
    """Return at most so many examples as plain values, evenly spread over the sites in order of their names."""
    ordered = sorted(examples, key=lambda example: example.site_id)
    step = max(1.0, len(ordered) / most)
    return [_plain(ordered[int(i * step)]) for i in range(min(most, len(ordered)))]


def _plain(example: Example) -> dict[str, Any]:
    rows = {
        side: [{"name": row.name, "values": None if row.values is None else list(row.values)} for row in shown]
        for side, shown in (("before", example.before), ("after", example.after))
    }
    return {**vars(example), **rows, "band": list(example.band), "ch_state": list(example.ch_state),
            "flags": [list(row) for row in example.flags]}  # fmt: skip
