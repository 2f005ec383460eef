"""A stream's samples become the windows of a file, whatever the size of the chunks that they come in.

A plan looks at a whole recording; a stream's is made when the warm-up is over, of what has come, and judged again every
minute. It stays as it was unless other electrodes are bad, other mains are found or the signal cannot be used: then it
is another version, which each window names. A window is prepared when the filters' reach behind its end has come.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from signals.conditioning.conditioning import Native
from signals.readers.memory import recording_of_array
from signals.recording.recording import UnreadableError
from signals.streams.ring import Ring
from signals.window import Window
from signals.windows.blocks import Block, WindowStart
from signals.windows.plan import RecordingPlan, plan_recording
from signals.windows.prepare import BlockSamples, prepare_samples
from signals.windows.profiles import Profile

AFTER_S = 5.0
"""Behind a window's end: more than the filters' reach of 3.6 s. What the warm-up has more than a window."""
JUDGED_S = 60.0
"""Between two judgements."""
LOOKED_AT_S = 180.0
"""What a judgement looks at, at most."""
BRIDGED_S = 2.0
"""Longest gap within a segment."""
_ENDLESS = 1 << 40
NO_PLAN = "not_planned"


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """What is done to a stream, for now."""

    version: int
    plan: RecordingPlan | None
    """None where the signal cannot be used."""
    reason: str = ""
    """Why it cannot: a reader's reason code."""


@dataclass(frozen=True, kw_only=True)
class StreamWindow:
    """A window of a stream; every hop has one."""

    start_s: float
    """From the stream's first sample."""
    stop_s: float
    window: Window | None
    reason: str
    """Why there is none; empty where there is."""
    plan_version: int


class Stream:
    """One source's samples at one rate. Numbers of samples count from its first."""

    def __init__(
        self, profile: Profile, *, ch_names: Sequence[str], sfreq: float, hop_s: float, want: Collection[str] = (),
        begin: int = 0,
    ) -> None:  # fmt: skip
        """Take what `signals.windows.prepare` takes; `begin`: number of the first sample to come.

        Hops lie at multiples of `hop_s` from the stream's first sample. Raises ValueError for a hop that is no whole
        number of samples.
        """
        if not (hop_s * profile.signal.sfreq).is_integer() or not (hop_s * sfreq).is_integer():
            raise ValueError(
                f"hop_s={hop_s:g} is no whole number of samples at {sfreq:g} and {profile.signal.sfreq:g} Hz"
            )
        self._profile, self._names, self._sfreq = replace(profile, hop_s=hop_s), tuple(ch_names), sfreq
        self._hop_s, self._want = hop_s, want
        self.plan = StreamPlan(version=0, plan=None, reason=NO_PLAN)
        self._begin_segment(begin)

    def _begin_segment(self, first: int) -> None:
        """Begin a gap-free stretch at a sample; its windows begin where the stream's hops are."""
        n_hop = round(self._hop_s * self._sfreq)
        self._origin = -(-first // n_hop) * n_hop
        """The first hop: samples before it are the filters' surroundings."""
        self._first = first
        kept_s = max(LOOKED_AT_S, self._profile.window_s + 2 * AFTER_S) + self._hop_s
        self._ring = Ring(len(self._names), round(kept_s * self._sfreq), first=first)
        self._n_hops = 0
        self._judged_at = self._origin + round((self._profile.window_s + AFTER_S) * self._sfreq)

    @property
    def next_sample(self) -> int:
        """Number of the sample that should come next."""
        return self._ring.stop

    def recent(self, start: int, stop: int) -> np.ndarray:
        """Return those of samples [start, stop) that are kept and do not lie before the last gap."""
        stop = min(stop, self._ring.stop)
        return self._ring.read(min(max(start, self._ring.first), stop), stop)

    def append(self, x_uv: np.ndarray, *, first: int | None = None) -> Iterator[StreamWindow]:
        """Yield the windows that samples complete, shape (n_chans, n_times), µV, the first of them numbered `first`.

        Samples that came before are left out. A gap of up to `BRIDGED_S` is missing samples; a longer one ends the
        segment and begins another.
        """
        first = self.next_sample if first is None else first
        if first < self.next_sample:
            x_uv, first = x_uv[:, self.next_sample - first :], self.next_sample
        n_lost = first - self.next_sample
        if 0 < n_lost <= round(BRIDGED_S * self._sfreq):
            x_uv = np.concatenate([np.full((len(x_uv), n_lost), np.nan, dtype=np.float32), x_uv], axis=1)
        elif n_lost > 0 and x_uv.shape[1]:
            yield from self.finish()
            self._begin_segment(first)
        step = round(self._hop_s * self._sfreq)
        for begin in range(0, x_uv.shape[1], step):  # the ring keeps no more than a hop beyond what is looked at
            self._ring.append(x_uv[:, begin : begin + step])
            yield from self._due(_ENDLESS)

    def finish(self) -> Iterator[StreamWindow]:
        """Yield the windows up to the segment's end, which is known now."""
        if self.plan.reason == NO_PLAN and self._ready_at(0) <= self._ring.stop:  # it ends within the warm-up
            self._judged_at = self._ring.stop
            self._judge()
        yield from self._due(self._ring.stop - self._first)

    def _due(self, n_segment: int) -> Iterator[StreamWindow]:
        """Yield what is complete, in the order of the samples that complete it: so chunks do not matter."""
        while True:
            ready = self._ready_at(n_segment)
            if self._judged_at <= min(ready, self._ring.stop):
                self._judge()
            elif ready <= self._ring.stop:
                yield self._window(n_segment)
                self._n_hops += 1
            else:
                return

    def _start(self) -> int:
        """Number of the next window's first sample."""
        return self._origin + self._n_hops * round(self._hop_s * self._sfreq)

    def _ready_at(self, n_segment: int) -> int:
        """Return the number of the sample before which the next window is complete."""
        stop = self._start() + round(self._profile.window_s * self._sfreq)
        if n_segment != _ENDLESS:
            return stop
        return stop + round(AFTER_S * self._sfreq)

    def _judge(self) -> None:
        """Plan what has come; the plan stays where nothing that matters has changed."""
        stop = self._judged_at
        x = self._ring.read(max(self._ring.first, stop - round(LOOKED_AT_S * self._sfreq), self._first), stop)
        self._judged_at += round(JUDGED_S * self._sfreq)
        recording = recording_of_array(x, ch_names=self._names, sfreq=self._sfreq)
        try:
            plan = plan_recording(recording, self._profile, site_id="live", subject_id="live", source_sha256="0" * 64)
        except UnreadableError as error:
            if self.plan.plan is not None or self.plan.reason != error.reason:
                self.plan = StreamPlan(version=self.plan.version + 1, plan=None, reason=error.reason)
            return
        if self.plan.plan is None or _decisions(plan) != _decisions(self.plan.plan):
            self.plan = StreamPlan(version=self.plan.version + 1, plan=plan)

    def _window(self, n_segment: int) -> StreamWindow:
        start = self._start()
        start_s = start / self._sfreq
        window, reason = None, self.plan.reason
        if self.plan.plan is not None:
            window, reason = self._prepared(self.plan.plan, start - self._first, n_segment)
        return StreamWindow(
            start_s=start_s, stop_s=start_s + self._profile.window_s, window=window, reason=reason,
            plan_version=self.plan.version,
        )  # fmt: skip

    def _prepared(self, plan: RecordingPlan, start: int, n_segment: int) -> tuple[Window | None, str]:
        """Return the window that begins at a native sample of the segment, or why there is none."""
        rate = self._profile.signal.sfreq
        at = WindowStart(0, round(start * rate / self._sfreq))
        block = Block(plan, (at,))
        eeg = self._native(plan.used_picks, plan, at.start, n_segment)
        samples = BlockSamples(
            reader="stream", onset_s=self._first / self._sfreq, primary=eeg, spectrograms=(None,),
            sensors=tuple(self._native((sensor.pick,), plan, at.start, n_segment) for sensor in plan.sensors),
        )  # fmt: skip
        prepared = prepare_samples(block, samples, want=self._want)
        if prepared.windows:
            return prepared.windows[0], ""
        return None, prepared.rejected[0].reason

    def _native(self, picks: Sequence[int], plan: RecordingPlan, start: int, n_segment: int) -> Native:
        """Return what is there around a window: the filters' reach, and more where samples are missing."""
        n_window, conditioner = plan.n_window, plan.conditioner
        first, last = conditioner.wide_span(start, start + n_window, n_segment)
        first = max(first, self._ring.first - self._first)
        last = min(last, self._ready_at(n_segment) - self._first)
        x = self._ring.read(self._first + first, self._first + last)[list(picks)]
        end = conditioner.span(start, start + n_window, n_segment)[1]
        if n_segment == _ENDLESS and np.isnan(x[:, end - first - 1]).any():
            n_segment = last  # what bridges the loss has not come: as if the segment ended here
        return Native(x=x, first=first, n_segment=n_segment)


def _decisions(plan: RecordingPlan) -> tuple[object, ...]:
    """Return what makes a plan another one; levels and amplitudes always differ a little."""
    return plan.picks, plan.derivations, plan.bad_channels, plan.mains_hz, plan.band, len(plan.sensors)
