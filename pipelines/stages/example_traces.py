"""Ten seconds of one recording per site, before and after preparation: what the run report draws.

Which recording is decided by the smallest block hash of the site, so every runner draws the same. Only a reference to
the block is combined; samples are read where they are drawn from. A trace carries a site, a recording id and names of
electrodes, never a label out of the file.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from pipelines.report.traces import Example, Row, extremes
from pipelines.stages.outcome import Refused
from pipelines.stages.prepare import prepared, reopened
from signals.modality import microvolts
from signals.recording.recording import Recording
from signals.shards.records import as_stored
from signals.threads import one_thread
from signals.window import MEASURED, Window
from signals.windows.blocks import Block
from signals.windows.plan import RecordingPlan

EXAMPLE_S = 10
_MOST_ROWS = 24


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


def read_example(block: Block) -> Example | Refused:
    """Return the example of the block's first window that is kept, or why its last one is not."""
    outcome: Example | Refused | None = None
    with one_thread():
        for start in block.starts:
            (first,) = prepared(replace(block, starts=(start,), anomaly=()))
            if not isinstance(first, Refused):
                plan = block.plan
                return _example(reopened(plan), plan, first.window)
            outcome = first
    assert outcome is not None  # a block has windows
    return outcome


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
