"""The recordings that are looked at: opened once, with their traces, overviews and trends.

Everything is kept in memory and named by a digest of the file's place, size and time of change and of the view, so
that nothing of a patient is written to a disk, and a file that changes is made anew.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from service.jobs.uploads import Places
from service.refusals import Refusal, of_error
from service.viewer.builds import Build, Builds
from signals.readers.registry import open_recording
from signals.recording.recording import Recording, UnreadableError
from signals.viewing.envelope import Envelope, envelope_of
from signals.viewing.filters import ViewFilter
from signals.viewing.montages import ViewMontage, view_montage, view_sfreq
from signals.viewing.traces import Traces
from signals.viewing.trends import Trends, trends_of
from signals.windows.plan import plan_recording
from signals.windows.profiles import SIX_CLASS

_MOST_OPEN = 32
_MOST_BYTES = 600_000_000
_NO_SUBJECT = "0" * 16


@dataclass(frozen=True, kw_only=True)
class View:
    """What a reader has chosen: montage and filters."""

    montage: str = "longitudinal"
    l_freq: float = 0.5
    h_freq: float = 70.0
    notch_hz: float = 0.0


@dataclass(frozen=True)
class Facts:
    """What a look over a recording shows; empty where it is refused, with the reason."""

    bad: tuple[tuple[str, str], ...] = ()
    """Bad electrodes and why."""
    mains_hz: float | None = None
    code: str = ""
    """Why no model answers it: a reader's reason code."""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A recording that is looked at."""

    name: str
    digest: str
    recording: Recording

    @cached_property
    def sfreq(self) -> float:
        """Rate of the traces, Hz."""
        return view_sfreq(self.recording)

    @cached_property
    def facts(self) -> Facts:
        """Bad electrodes, mains, and whether a six-class model could answer; takes up to a second."""
        try:
            plan = plan_recording(
                self.recording, SIX_CLASS, site_id="viewer", subject_id=_NO_SUBJECT, source_sha256="0" * 64
            )
        except UnreadableError as error:
            return Facts(code=error.reason, error=error.detail)
        return Facts(bad=plan.bad_channels, mains_hz=plan.mains_hz)

    def montage(self, name: str) -> ViewMontage:
        """Return a montage; raises Refusal 422 for an unknown one."""
        bad = [electrode for electrode, _ in self.facts.bad] if name in ("average", "laplacian") else []
        try:
            return view_montage(self.recording, name, sfreq=self.sfreq, bad=bad)
        except ValueError as error:
            raise Refusal(422, "unknown_montage", str(error)) from None

    def traces(self, view: View) -> Traces:
        """Return the traces of a view; raises Refusal 422 for a montage or filter that there is not."""
        montage = self.montage(view.montage)
        if not montage.rows:
            raise Refusal(422, "no_such_montage", f"this recording has no {view.montage} montage: {montage.reason}",
                          "the montage as recorded shows every channel")  # fmt: skip
        try:
            chosen = ViewFilter(sfreq=self.sfreq, l_freq=view.l_freq, h_freq=view.h_freq, notch_hz=view.notch_hz)
        except ValueError as error:
            raise Refusal(422, "unknown_filter", str(error)) from None
        return Traces(recording=self.recording, montage=montage, filter=chosen)


class Library:
    """Opened recordings and what was made of them."""

    def __init__(self, places: Places, *, n_threads: int) -> None:
        """Open nothing yet."""
        self._places = places
        self.study_ids: dict[str, str] = {}
        """The study of each digest in the records."""
        self._open: OrderedDict[str, Opened] = OrderedDict()
        self._lock = threading.Lock()
        self._builds = Builds(most_bytes=_MOST_BYTES)
        self._blocks = ThreadPoolExecutor(n_threads, thread_name_prefix="viewer-block")
        self._slow = ThreadPoolExecutor(1, thread_name_prefix="viewer-trend", initializer=_give_way)

    def opened(self, name: str) -> Opened:
        """Return a recording of the configured folder; raises Refusal for one that cannot be read."""
        path = self._places.path_of(name, is_upload=False)
        digest = _digest(path)
        with self._lock:
            if digest in self._open:
                self._open.move_to_end(digest)
                return self._open[digest]
        try:
            recording = open_recording(str(path))
        except UnreadableError as error:
            raise of_error(error) or error from error
        opened = Opened(name=name, digest=digest, recording=recording)
        with self._lock:
            self._open[digest] = opened
            while len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
        return opened

    def overview(self, opened: Opened, view: View) -> Build:
        """Return the envelope of a view, which is made if it is not there."""

        def make(progress: object) -> Envelope:
            return envelope_of(opened.traces(view), mapped=self._blocks.map, progress=progress)  # type: ignore[arg-type]

        return self._builds.want((opened.digest, view), make, size=lambda envelope: envelope.n_bytes)

    def trends(self, opened: Opened) -> Build:
        """Return the trends of a recording, which are made if they are not there; there are none without electrodes."""

        def make(progress: object) -> Trends:
            traces = opened.traces(View(montage="average", l_freq=0.5, h_freq=100.0))
            return trends_of(traces, mains_hz=opened.facts.mains_hz, mapped=self._slow.map, progress=progress)  # type: ignore[arg-type]

        return self._builds.want((opened.digest, "trends"), make, size=lambda trends: trends.n_bytes)

    def close(self) -> None:
        """Begin nothing more."""
        self._builds.close()
        for pool in (self._blocks, self._slow):
            pool.shutdown(wait=False, cancel_futures=True)


def _give_way() -> None:
    """Let threads that somebody waits for come before this one (Linux counts a thread's priority by itself)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _digest(path: Path) -> str:
    about = path.stat()
    return hashlib.sha256(f"{path.resolve()}\0{about.st_size}\0{about.st_mtime_ns}".encode()).hexdigest()
