"""One bed: samples in, a committed outcome for every hop, alarms that follow from what is committed."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field

import numpy as np
from sqlalchemy import Engine

from service.live.alarms import ICTAL, NO_ELECTRODES, TECHNICAL, Episode, Hop, Rules, after_hop, after_second
from service.records import streams
from service.records.alarms import write_alarm
from service.records.tables import Alarm, LiveHop, LiveStream
from serving.model import Model
from serving.runtime import Answer
from signals.streams.electrodes import good_in_second
from signals.streams.stream import AFTER_S, Stream, StreamWindow
from signals.window import Window

Submit = Callable[[Sequence[Window]], "Future[list[Answer]]"]
RULES = Rules()
ELECTRODES = "electrodes"
"""Why a hop has no answer: fewer than `Rules.fewest_good` electrodes measure anything."""


@dataclass
class Bed:
    """A stream that is connected. One thread at a time calls it."""

    row: LiveStream
    model: Model
    engine: Engine
    submit: Submit
    """What answers windows."""
    version: int = 0
    """Counts what was committed, for those who watch."""
    seen: float = field(default_factory=time.monotonic)
    """When samples came last."""

    def __post_init__(self) -> None:
        """Go on where the records end."""
        kept = round((RULES.burden_s + RULES.persistence_s) / self.row.hop_s) + 1
        stored = streams.last_hops(self.engine, self.row.id, limit=kept)
        self._hops = deque((as_hop(hop) for hop in stored), maxlen=kept)
        self._done_s = stored[-1].start_s if stored else -1.0
        begin = max(0, round((self._done_s + self.row.hop_s - AFTER_S) * self.row.sfreq)) if stored else 0
        self.stream = Stream(
            self.model.bundle.profile, ch_names=self.row.ch_names, sfreq=self.row.sfreq, hop_s=self.row.hop_s,
            want=self.model.intake.want, begin=begin,
        )  # fmt: skip
        self._burden = episode_of(streams.last_alarm(self.engine, self.row.id, ICTAL))
        self._leads = episode_of(streams.last_alarm(self.engine, self.row.id, NO_ELECTRODES))
        self._good: deque[int] = deque(maxlen=max(RULES.bad_for_s, RULES.good_for_s))
        self.good = np.zeros(len(self.row.ch_names), dtype=bool)
        """Which channels measured something in the newest second, bool, shape (n_chans,)."""
        self._second = np.empty((len(self.row.ch_names), 0), dtype=np.float32)
        self._second_at = begin
        reach_s = self.model.bundle.profile.window_s + AFTER_S
        self._judged_s = self._done_s + reach_s if stored else 0.0
        """Seconds before were judged before the last outcome was committed: they are surroundings now."""

    @property
    def next_sample(self) -> int:
        """Number of the sample that should come next."""
        return self.stream.next_sample

    def feed(self, x_uv: np.ndarray, first: int) -> list[LiveHop]:
        """Take samples, shape (n_chans, n_times), and return the outcomes that were committed because of them."""
        self.seen = time.monotonic()
        n_known = max(0, self.next_sample - first)
        self._judge_seconds(x_uv[:, n_known:], first + n_known)
        return [hop for window in self.stream.append(x_uv, first=first) if (hop := self._settle(window)) is not None]

    def finish(self) -> list[LiveHop]:
        """End the stream; returns the outcomes of its last hops."""
        last = [hop for window in self.stream.finish() if (hop := self._settle(window)) is not None]
        streams.end_stream(self.engine, self.row.id)
        return last

    def _settle(self, window: StreamWindow) -> LiveHop | None:
        """Answer a hop and commit its outcome with what it does to the alarm; None for one that has an outcome."""
        if window.start_s <= self._done_s:
            return None
        reason = window.reason or ("" if self._has_electrodes(window.start_s) else ELECTRODES)
        answer = None if reason or window.window is None else self.submit([window.window]).result()[0]
        below = self.model.bundle.calibration.abstain_below
        abstained = answer is not None and below is not None and answer.confidence < below
        hop = LiveHop(
            stream_id=self.row.id, start_s=window.start_s, stop_s=window.stop_s,
            answer=None if answer is None else asdict(answer), reason=reason, abstained=abstained,
            plan_version=window.plan_version, model_digest=self.model.digest, answered_at=time.time(),
        )  # fmt: skip
        hops = [*self._hops, as_hop(hop)]
        changed = after_hop(hops, self._burden, stream=self.row.id, hop_s=self.row.hop_s, rules=RULES)
        streams.add_hop(self.engine, hop, [] if changed is None else [self._row_of(changed)])
        self._hops.append(hops[-1])
        self._done_s, self._burden, self.version = window.start_s, changed or self._burden, self.version + 1
        return hop

    def _has_electrodes(self, start_s: float) -> bool:
        """Return whether enough electrodes measure in most of the seconds that a window's answer is about."""
        begin, end = self.model.bundle.profile.label_span_s or (0.0, self.model.bundle.profile.window_s)
        x = self.stream.recent(round((start_s + begin) * self.row.sfreq), round((start_s + end) * self.row.sfreq))
        seconds = np.array_split(x, max(1, round(x.shape[1] / self.row.sfreq)), axis=1)
        n_enough = sum(good_in_second(second).sum() >= RULES.fewest_good for second in seconds)
        return 2 * n_enough > len(seconds)

    def _judge_seconds(self, x_uv: np.ndarray, first: int) -> None:
        """Look at the electrodes of each whole second that has come; a gap begins anew."""
        n_second = round(self.row.sfreq)
        if first != self._second_at + self._second.shape[1]:
            self._second, self._second_at = self._second[:, :0], first
        joined = np.concatenate([self._second, x_uv], axis=1)
        n_whole = joined.shape[1] // n_second
        for number in range(n_whole):
            self.good = good_in_second(joined[:, number * n_second : (number + 1) * n_second])
            self._good.append(int(self.good.sum()))
            at_s = self._second_at / self.row.sfreq + number
            if at_s < self._judged_s:
                continue
            changed = after_second(list(self._good), at_s, self._leads, stream=self.row.id, rules=RULES)
            if changed is not None:
                write_alarm(self.engine, self._row_of(changed))
                self._leads, self.version = changed, self.version + 1
        self._second, self._second_at = joined[:, n_whole * n_second :], self._second_at + n_whole * n_second

    def _row_of(self, episode: Episode) -> Alarm:
        return alarm_row(self.row, episode, model=self.model.name, model_digest=self.model.digest)


def alarm_row(row: LiveStream, episode: Episode, *, model: str = "", model_digest: str = "") -> Alarm:
    """Return an episode of a stream as a row of the records."""
    now = time.time()
    if episode.kind == TECHNICAL:
        model = model_digest = ""
    return Alarm(
        id=episode.id, bed=row.bed, stream=row.id, kind=episode.kind, severity=episode.severity,
        condition=episode.condition, onset_s=episode.onset_s, raised_at=now,
        cleared_at=None if episode.cleared_s is None else now, acknowledged_at=None, acknowledged_by="",
        model=model, model_digest=model_digest,
    )  # fmt: skip


def as_hop(hop: LiveHop) -> Hop:
    """Return a row as the alarm rules take it."""
    answered = hop.answer is not None and not hop.abstained
    return Hop(hop.start_s, hop.answer["class_probabilities"].get(ICTAL) if answered and hop.answer else None)


def episode_of(alarm: Alarm | None) -> Episode | None:
    """Return a row as the newest episode; when it was cleared does not matter, only whether."""
    if alarm is None:
        return None
    return Episode(
        id=alarm.id, kind=alarm.kind, severity=alarm.severity, condition=alarm.condition, onset_s=alarm.onset_s,
        cleared_s=None if alarm.cleared_at is None else alarm.onset_s,
    )  # fmt: skip
