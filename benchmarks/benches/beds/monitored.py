"""Hours of synthetic monitoring through one bed: what its alarms and its answers are worth, second by second.

A stretch of hours is one stream with planted status, short seizures, other patterns, and disconnected leads. Bed, alarm
rules and records are the server's own; the socket is left out (another part measures that it changes nothing).
"""

import tempfile
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from benchmarks.benches.beds.reader import class_at
from service.live.alarms import ICTAL, NO_ELECTRODES
from service.live.bed import RULES, Bed
from service.records import streams
from service.records.alarms import list_alarms
from service.records.database import open_database
from service.records.tables import LiveStream
from serving.model import Model
from serving.runtime import Answer
from signals.readers.registry import open_recording
from signals.window import Window
from synthetic.recordings.monitoring import Day, monitoring_day

CHUNK_S = 1.0
HOP_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Raised:
    """An alarm as it came."""

    condition: str
    severity: str
    onset_s: float
    raised_s: float
    """Second of the stream at which it was there."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What one stretch came to; plain values, so that it can be kept as a line of JSON."""

    seed: int
    hours: float
    status_s: tuple[float, float]
    seizures_s: list[tuple[float, float]]
    """All planted seizures, the status among them."""
    leads_off_s: tuple[float, float]
    alarms: list[dict[str, object]]
    ictal_s: list[tuple[float, float]]
    """Seconds of which the model says Seizure by the alarm rules' own threshold, hop by hop."""
    n_hops: int
    centred: tuple[int, int]
    """Answers whose middle 10 s have one planted class: right, all."""
    right_aligned: tuple[int, int]
    """The same answers read as being about the window's last 10 s."""
    centred_changed: tuple[int, int]
    right_aligned_changed: tuple[int, int]
    """Only windows in which the planted class changes."""


def planted(seed: int, hours: float, file: Path) -> Day:
    """Write one stretch: a status of up to twenty minutes before its middle, leads off in its last quarter."""
    rng, n_seconds = np.random.default_rng(seed), int(3600 * hours)
    onset = int(rng.uniform(0.15, 0.25) * n_seconds)  # before the gap
    off = int(rng.uniform(0.8, 0.85) * n_seconds)
    lasts = min(int(rng.uniform(600, 1200)), n_seconds // 4)
    return monitoring_day(file, hours=hours, seed=seed, status_s=(onset, onset + lasts), leads_off_s=(off, off + 120))


def stretch(model: Model, *, seed: int, hours: float) -> Stretch:
    """Run one stretch through a bed whose records are a database of its own."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "bed.edf"
        day = planted(seed, hours, file)
        engine = open_database(f"sqlite:///{Path(place) / 'records.db'}")
        try:
            alarms = _run(model, engine, file, stream=f"{seed:032x}")
            hops = streams.last_hops(engine, f"{seed:032x}", limit=10**6)
        finally:
            engine.dispose()
    assert day.status is not None
    assert day.leads_off_s is not None
    span = model.bundle.profile.label_span_s or (20.0, 30.0)
    last = (model.bundle.profile.window_s - (span[1] - span[0]), model.bundle.profile.window_s)
    answered = [(hop.start_s, hop.answer) for hop in hops if hop.answer is not None]
    seizures = [*day.episodes, day.status]
    return Stretch(
        seed=seed, hours=hours, status_s=_span(day.status.onset_s, day.status.duration_s),
        seizures_s=sorted(_span(one.onset_s, one.duration_s) for one in seizures if one.label == ICTAL),
        leads_off_s=day.leads_off_s, alarms=[asdict(one) for one in alarms],
        ictal_s=[
            (start_s + span[0], start_s + span[1])
            for start_s, answer in answered
            if answer["class_probabilities"][ICTAL] >= RULES.ictal_from
        ],
        n_hops=len(hops), centred=_right(day, answered, span), right_aligned=_right(day, answered, last),
        centred_changed=_right(day, answered, span, changed_only=True),
        right_aligned_changed=_right(day, answered, last, changed_only=True),
    )  # fmt: skip


def _span(onset_s: float, duration_s: float) -> tuple[float, float]:
    return float(onset_s), float(onset_s + duration_s)


def _right(
    day: Day, answered: Sequence[tuple[float, dict[str, object]]], span: tuple[float, float], *,
    changed_only: bool = False,
) -> tuple[int, int]:  # fmt: skip
    """Return how many answers name the planted class of these seconds of their window, and how many could."""
    n_right = n_all = 0
    for start_s, answer in answered:
        label = class_at(day, start_s + span[0], start_s + span[1])
        if label is None or (changed_only and class_at(day, start_s, start_s + 50.0) is not None):
            continue
        n_all += 1
        n_right += answer["predicted_class"] == label
    return n_right, n_all


def _run(model: Model, engine: Engine, file: Path, *, stream: str) -> list[Raised]:
    """Feed a file second by second, gaps as gaps, and note when each alarm was there."""
    recording = open_recording(str(file))
    sfreq = recording.sfreqs[0]
    row = LiveStream(
        id=stream, bed="1", owner="bench", ch_names=list(recording.ch_names[:19]), sfreq=sfreq, hop_s=HOP_S,
        model=model.name, begun_at=0.0, ended_at=None,
    )  # fmt: skip

    def submit(windows: Sequence[Window]) -> "Future[list[Answer]]":
        future: Future[list[Answer]] = Future()
        future.set_result(model.answers(windows))
        return future

    bed, seen, found, n_chunk = Bed(streams.begin_stream(engine, row), model, engine, submit), -1, {}, round(sfreq)
    for number, segment in enumerate(recording.segments):
        first = round(segment.onset_s * sfreq)
        n_times = recording.n_times(0, number)
        for at in range(0, n_times, n_chunk):
            x = recording.read(range(19), segment=number, start=at, stop=min(at + n_chunk, n_times))
            bed.feed(np.asarray(x, dtype=np.float32), first + at)
            if bed.version == seen:
                continue
            seen = bed.version
            for alarm in list_alarms(engine):
                key = (alarm.condition, alarm.onset_s)
                if alarm.condition in (ICTAL, NO_ELECTRODES) and key not in found:
                    found[key] = Raised(
                        condition=alarm.condition, severity=alarm.severity, onset_s=alarm.onset_s,
                        raised_s=(first + at + x.shape[1]) / sfreq,
                    )  # fmt: skip
    bed.finish()
    return list(found.values())
