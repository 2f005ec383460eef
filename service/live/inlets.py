"""Samples of a file at any speed, and of a Lab Streaming Layer outlet."""

import time

import numpy as np

from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError

KEPT_S = 300.0
"""Samples of an outlet that are kept, for a server that was away."""
_FIND_S, _PULL_S = 10.0, 0.2


class Replay:
    """A file's longest gap-free stretch, its EEG channels, as if it were recorded now."""

    def __init__(self, path: str, *, speed: float) -> None:
        """speed: times real time; 0 is as fast as it goes. Raises UnreadableError."""
        recording = open_recording(path)
        rates = [rate for rate, kind in zip(recording.sfreqs, recording.sensor_types, strict=True) if kind == "eeg"]
        if not rates:
            raise UnreadableError("no_eeg_channels", "the file has no EEG channel")
        self.sfreq = max(set(rates), key=rates.count)
        kinds = zip(recording.sfreqs, recording.sensor_types, strict=True)
        self._picks = [i for i, (rate, kind) in enumerate(kinds) if kind == "eeg" and rate == self.sfreq]
        self.ch_names = tuple(recording.ch_names[pick] for pick in self._picks)
        lengths = [segment.duration_s for segment in recording.segments]
        self._recording, self._segment, self._speed = recording, int(np.argmax(lengths)), speed
        self._n_times = recording.n_times(self._picks[0], self._segment)
        self._began = time.monotonic()

    def first(self) -> int:
        """Return 0: all of a file can be read."""
        return 0

    def read(self, start: int, n_times: int) -> np.ndarray:
        """Return samples when their time has come; none at the end."""
        stop = min(start + n_times, self._n_times)
        if self._speed > 0:
            time.sleep(max(0.0, self._began + stop / self.sfreq / self._speed - time.monotonic()))
        return self._recording.read(self._picks, segment=self._segment, start=min(start, stop), stop=stop)


class Outlet:
    """A stream of the Lab Streaming Layer, by its name; units of µV or V."""

    def __init__(self, name: str, *, quiet_s: float = 60.0) -> None:
        """quiet_s: the stream has ended when nothing has come for so long.

        Raise ValueError where no stream of this name is found within 10 s, or its rate is irregular."""
        import pylsl

        found = pylsl.resolve_byprop("name", name, timeout=_FIND_S)
        if not found:
            raise ValueError(f"no LSL stream of the name {name!r} was found within {_FIND_S:g} s")
        self._inlet = pylsl.StreamInlet(found[0], max_buflen=360, recover=True)
        info = self._inlet.info(timeout=_FIND_S)
        if info.nominal_srate() <= 0:
            raise ValueError(f"LSL stream {name!r} has no regular rate")
        self.sfreq = float(info.nominal_srate())
        self.ch_names, units = _channels(info)
        self._to_uv = np.array([1e6 if unit in ("v", "volts", "volt") else 1.0 for unit in units], dtype=np.float32)
        self._kept = np.empty((len(self.ch_names), 0), dtype=np.float32)
        self._first, self._quiet_s = 0, quiet_s

    def first(self) -> int:
        """Return the number of the oldest sample that is kept."""
        return self._first

    def read(self, start: int, n_times: int) -> np.ndarray:
        """Return samples as they come; what is left, or none, when nothing has come for `quiet_s`."""
        start = max(start, self._first)
        quiet_until = time.monotonic() + self._quiet_s
        while self._first + self._kept.shape[1] < start + n_times:
            samples, _ = self._inlet.pull_chunk(timeout=_PULL_S, max_samples=round(2 * self.sfreq))
            if samples:
                self._keep(np.asarray(samples, dtype=np.float32).T * self._to_uv[:, None])
                quiet_until = time.monotonic() + self._quiet_s
            elif time.monotonic() > quiet_until:
                break
        at = start - self._first
        return self._kept[:, at : at + n_times].copy()

    def _keep(self, x_uv: np.ndarray) -> None:
        self._kept = np.concatenate([self._kept, x_uv], axis=1)
        n_over = self._kept.shape[1] - round(KEPT_S * self.sfreq)
        if n_over > round(30 * self.sfreq):
            self._kept, self._first = self._kept[:, n_over:].copy(), self._first + n_over


def _channels(info: object) -> tuple[tuple[str, ...], list[str]]:
    """Return labels and units of an outlet's description; numbers where it has none."""
    names, units = [], []
    channel = info.desc().child("channels").child("channel")  # type: ignore[attr-defined]
    for number in range(info.channel_count()):  # type: ignore[attr-defined]
        names.append(channel.child_value("label") or str(number + 1))
        units.append(channel.child_value("unit").lower())
        channel = channel.next_sibling("channel")
    return tuple(names), units
