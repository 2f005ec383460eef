"""All beds at a glance, for the wall: answers, burden, electrodes, alarms and pauses, made once for all who look."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from service.live.alarms import Hop, Rules, burden
from service.live.bed import RULES, Bed, as_hop
from service.live.pauses import Condition, Held, signals_of
from service.live.ward import Ward
from service.records import streams
from service.records.alarms import list_alarms
from service.records.pauses import pauses_on
from service.records.tables import Alarm, LiveHop, LiveStream, Pause

HOUR_S = 3600.0
_FRESH_S, _AWAY_S = 0.4, 5.0
_SHOWN_AFTER_END_S = HOUR_S
_MOST_ALARMS = 300


@dataclass(frozen=True)
class Summary:
    """What a stream's hops come to."""

    newest: LiveHop | None
    burden_hour: float | None
    """Share of ictal hops among those of the last hour that have an answer; None where none has."""
    answered_hour: float
    """Share of hops of the last hour, or of what there is of it, with an answer."""
    burden_alarm: tuple[float, float]
    """The least and the largest share that the alarm rules go by."""


def hour_of(hops: Sequence[Hop], rules: Rules) -> tuple[float | None, float]:
    """Return the share of ictal hops among those of the last hour that have an answer, and the share that has one.

    `hops` are those of one stream, oldest first; an abstention is no answer here.
    """
    recent = [hop.ictal for hop in hops if hop.start_s > hops[-1].start_s - HOUR_S]
    answered = [value for value in recent if value is not None]
    if not answered:
        return None, 0.0
    return sum(value >= rules.ictal_from for value in answered) / len(answered), len(answered) / len(recent)


class Board:
    """The state of all beds, read from the records at most so often, whoever looks."""

    def __init__(self, engine: Engine, ward: Ward) -> None:
        """Read nothing yet."""
        self._engine, self._ward, self._lock = engine, ward, threading.Lock()
        self._made_at, self._snapshot = float("-inf"), dict[str, Any]()
        self._summaries: dict[str, tuple[int, float, Summary]] = {}

    def snapshot(self) -> dict[str, Any]:
        """Return beds and alarms as the wall shows them; raises Refusal where the records are away."""
        with self._lock:
            if time.monotonic() - self._made_at > _FRESH_S:
                self._snapshot = self._made()
                self._made_at = time.monotonic()
            return self._snapshot

    def _made(self) -> dict[str, Any]:
        now = time.time()
        rows = streams.newest_streams(self._engine, ended_since=now - _SHOWN_AFTER_END_S)
        held = {pause.bed: pause for pause in pauses_on(self._engine, at=now)}
        alarms = list_alarms(self._engine, limit=_MOST_ALARMS)
        known = {row.id for row in rows}
        self._summaries = {name: one for name, one in self._summaries.items() if name in known}
        return {
            "at": now,
            "beds": [self._bed(row, held.get(row.bed)) for row in rows],
            "alarms": [alarm_state(alarm, held.get(alarm.bed), now) for alarm in alarms],
        }

    def _bed(self, row: LiveStream, pause: Pause | None) -> dict[str, Any]:
        bed = self._ward.bed(row.bed)
        bed = bed if bed is not None and bed.row.id == row.id else None
        summary = self._summary(row, bed)
        least, most = summary.burden_alarm
        return {
            "bed": row.bed, "stream": row.id, "is_connected": bed is not None, "begun_at": row.begun_at,
            "ended_at": row.ended_at, "model": row.model, "hop_s": row.hop_s, "newest": newest_fields(summary.newest),
            "burden_hour": summary.burden_hour, "answered_hour": summary.answered_hour,
            "burden_5min": [least, most], "quality": None if bed is None else quality_fields(bed),
            "pause": None if pause is None else pause_fields(pause),
        }  # fmt: skip

    def _summary(self, row: LiveStream, bed: Bed | None) -> Summary:
        """Return the hops of a stream in short; read again when an outcome was committed."""
        version, now = -1 if bed is None else bed.version, time.monotonic()
        known = self._summaries.get(row.id)
        if known is not None and known[0] == version and (bed is not None or now - known[1] < _AWAY_S):
            return known[2]
        rows = streams.last_hops(self._engine, row.id, limit=round(HOUR_S / row.hop_s))
        hops = [as_hop(one) for one in rows]
        share, answered = hour_of(hops, RULES) if hops else (None, 0.0)
        around = burden(hops, hops[-1].start_s, row.hop_s, RULES) if hops else (0.0, 1.0)
        summary = Summary(rows[-1] if rows else None, share, answered, around)
        self._summaries[row.id] = version, now, summary
        return summary


def newest_fields(hop: LiveHop | None) -> dict[str, Any] | None:
    """Return the newest outcome of a bed; its number is where a socket goes on."""
    if hop is None:
        return None
    names = ("start_s", "stop_s", "answer", "reason", "abstained", "answered_at")
    return {"seq": hop.id, **{name: getattr(hop, name) for name in names}}


def quality_fields(bed: Bed) -> dict[str, Any]:
    """Return how many channels measured something in the newest second, and which did not."""
    bad = [name for name, good in zip(bed.row.ch_names, bed.good, strict=True) if not good]
    return {"n_good": len(bed.row.ch_names) - len(bad), "n_chans": len(bed.row.ch_names), "bad": bad,
            "fewest_good": RULES.fewest_good, "silent_s": time.monotonic() - bed.seen}  # fmt: skip


def pause_fields(pause: Pause) -> dict[str, Any]:
    """Return a pause as plain values."""
    names = ("id", "bed", "kind", "begun_at", "until_at", "begun_by", "ended_at", "ended_by")
    return {name: getattr(pause, name) for name in names}


def alarm_state(alarm: Alarm, pause: Pause | None, at: float) -> dict[str, Any]:
    """Return an alarm with what is signalled of it at a time."""
    names = ("id", "bed", "stream", "kind", "severity", "condition", "onset_s", "raised_at", "cleared_at",
             "acknowledged_at", "acknowledged_by", "model", "model_digest")  # fmt: skip
    condition = Condition(raised_at=alarm.raised_at, cleared_at=alarm.cleared_at, acknowledged_at=alarm.acknowledged_at)
    signals = signals_of(condition, [] if pause is None else [held_of(pause)], at)
    return {name: getattr(alarm, name) for name in names} | {
        "is_listed": signals.is_listed, "flashes": signals.flashes, "sounds": signals.sounds,
    }  # fmt: skip


def held_of(pause: Pause) -> Held:
    """Return a row as the rules take it."""
    return Held(kind=pause.kind, begun_at=pause.begun_at, until_at=pause.until_at, ended_at=pause.ended_at)
