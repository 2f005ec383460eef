"""The beds of a server, and the alarm about a source from which nothing comes any more."""

import logging
import threading
import time

from sqlalchemy import Engine

from service.live.alarms import LOW, TECHNICAL, Episode
from service.live.bed import Bed, alarm_row, episode_of
from service.records import streams
from service.records.alarms import write_alarm
from service.records.tables import LiveStream
from service.refusals import Refusal

logger = logging.getLogger(__name__)
SILENT_S = 15.0
NO_SAMPLES = "no answer: no samples"
_LOOK_S = 2.0


class Ward:
    """Beds by name; a thread looks whether samples still come to each stream that has not ended."""

    def __init__(self, engine: Engine) -> None:
        """Start the thread."""
        self._engine, self._lock = engine, threading.Lock()
        self._beds: dict[str, Bed] = {}
        self._seen: dict[str, float] = {}
        """When samples of a stream whose source has gone came last."""
        self._began, self._ended = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ward", daemon=True)
        self._thread.start()

    def bed(self, name: str) -> Bed | None:
        """Return a bed whose source is connected."""
        return self._beds.get(name)

    def check_free(self, name: str, stream_id: str) -> None:
        """Raise Refusal 409 where another source is connected to a bed; the same one again takes its place."""
        before = self._beds.get(name)
        if before is not None and before.row.id != stream_id:
            raise Refusal(409, "bed_taken", "another source is connected to this bed", "one source a bed")

    def connect(self, bed: Bed) -> None:
        """Let a source in; raises as `check_free`."""
        with self._lock:
            self.check_free(bed.row.bed, bed.row.id)
            self._beds[bed.row.bed] = bed

    def disconnect(self, bed: Bed) -> None:
        """Let a source go, unless it is back already."""
        with self._lock:
            if self._beds.get(bed.row.bed) is bed:
                del self._beds[bed.row.bed]
                self._seen[bed.row.id] = bed.seen

    def look(self) -> None:
        """Raise an alarm for each stream that is silent, and clear that of one that is not any more."""
        rows = streams.open_streams(self._engine)
        for row in rows:
            bed = self._beds.get(row.bed)
            seen = bed.seen if bed is not None and bed.row.id == row.id else self._seen.get(row.id, self._began)
            self._note(row, is_silent=time.monotonic() - seen > SILENT_S)
        kept = {row.id for row in rows}
        self._seen = {stream_id: seen for stream_id, seen in self._seen.items() if stream_id in kept}

    def _note(self, row: LiveStream, *, is_silent: bool) -> None:
        last = episode_of(streams.last_alarm(self._engine, row.id, NO_SAMPLES))
        is_open = last is not None and last.cleared_s is None
        if is_silent == is_open:
            return
        at_s = time.time() - row.begun_at
        if is_silent:
            episode = Episode(
                id=f"{round(1e3 * at_s):012x}{row.id[:20]}", kind=TECHNICAL, severity=LOW, condition=NO_SAMPLES,
                onset_s=at_s,
            )  # fmt: skip
        else:
            assert last is not None
            episode = Episode(
                id=last.id, kind=last.kind, severity=last.severity, condition=last.condition, onset_s=last.onset_s,
                cleared_s=at_s,
            )  # fmt: skip
        write_alarm(self._engine, alarm_row(row, episode))

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_S):
            try:
                self.look()
            except Refusal:  # the records are away: it looks again
                logger.error("alarms about silent sources could not be written")

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()
