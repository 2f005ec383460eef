"""A recording made worse: what a careless electrode, amplifier or ward does to it, before anything is prepared.

Each function takes a recording and returns one whose header and samples are changed; nothing is read until samples are
requested, and any way of cutting a recording into ranges gives the same samples. What is random is decided by the
seed, and is the same at every strength, so that a curve over strengths differs by nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from signals.conditioning.filters import antialias_taps, resampling_ratio
from signals.conditioning.rate_filter import polyphase
from signals.electrodes import POSITIONS, canonical_electrode, electrode_positions
from signals.modality import UNITS, UV_PER_UNIT
from signals.montage.labels import EAR_NAMES, Electrodes, find_electrodes
from signals.montage.leads import find_leads
from signals.recording.recording import Recording, Segment
from synthetic.subject.artifacts import artifact

Seed = int | Sequence[int]
_STRETCH_S, _FADE_S = 60.0, 2.0
"""Artifacts are made in stretches of their own, faded in and out, so that no range depends on another."""


class NotPossibleError(ValueError):
    """A change that this recording does not allow; the message says why."""


def remove_channels(recording: Recording, n: int, *, among: Sequence[str], seed: Seed) -> Recording:
    """Return the recording without `n` electrodes, or leads: as if they had never been recorded.

    They are drawn from those of `among` (electrode names) that it has; a larger n removes the same ones and more.
    Raises NotPossibleError with fewer electrodes than n.
    """
    electrodes = _channels(recording)
    known = {name for lead in among for name in (lead, canonical_electrode(lead)) if name is not None}
    names = sorted({d.anode for d in electrodes.derivations} & known)
    if n > len(names):
        raise NotPossibleError(f"{n} electrodes cannot be removed from {len(names)}")
    gone = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[:n]}
    picks = {
        pick
        for pick, d in zip(electrodes.picks, electrodes.derivations, strict=True)
        if d.anode in gone or d.against in gone
    }
    return _keep(recording, [pick for pick in range(len(recording.ch_names)) if pick not in picks])


def change_gains(recording: Recording, spread: float, *, seed: Seed) -> Recording:
    """Return the recording with each channel multiplied by exp(spread x a standard normal number of its own)."""
    gains = np.exp(spread * np.random.default_rng(seed).standard_normal(len(recording.ch_names))).astype(np.float32)
    return _with(recording, lambda x, picks, segment, start: x * gains[list(picks), None])


def add_hum(recording: Recording, *, mains_hz: float, amplitude_uv: float, seed: Seed) -> Recording:
    """Return the recording with mains hum on its electrodes, or leads: the frequency and its third harmonic, one phase.

    Electrodes have 0.5 to 1.5 times the amplitude. Raises NotPossibleError where the sampling rate holds no such
    frequency.
    """
    rng = np.random.default_rng(seed)
    eeg = _electrode_rows(recording)
    per_unit = np.array([UV_PER_UNIT[UNITS[sensor]] for sensor in recording.sensor_types])
    sizes = rng.uniform(0.5, 1.5, len(recording.ch_names)) * eeg * amplitude_uv / per_unit
    phase = float(rng.uniform(0, 2 * np.pi))
    slowest = min(recording.sfreqs[pick] for pick in np.flatnonzero(eeg))
    if mains_hz >= slowest / 2:
        raise NotPossibleError(f"{slowest:g} Hz cannot hold {mains_hz:g} Hz")

    def hum(x: np.ndarray, picks: Sequence[int], segment: int, start: int) -> np.ndarray:
        sfreq = recording.sfreqs[picks[0]]
        turns = mains_hz * (start + np.arange(x.shape[1])) / sfreq
        wave = np.sin(2 * np.pi * turns + phase)
        if 3 * mains_hz < sfreq / 2:
            wave += 0.2 * np.sin(6 * np.pi * turns + phase)
        return x + np.outer(sizes[list(picks)], wave).astype(np.float32)

    return _with(recording, hum)


def add_artifact(recording: Recording, kind: str, *, amplitude_uv: float, seed: Sequence[int]) -> Recording:
    """Return the recording with artifacts of one kind (`synthetic.subject.artifacts.ARTIFACT_KINDS`) on its electrodes.

    A bipolar channel sees the difference of its electrodes, and so does one against a scalp electrode; ears are quiet.
    Raises NotPossibleError where no electrode lies on the scalp.
    """
    electrodes = _scalp(recording)
    scalp = POSITIONS.keys() - EAR_NAMES
    pairs = [(d.anode, d.against if d.against in scalp else "") for d in electrodes.derivations]
    names = sorted({name for pair in pairs for name in pair} - {""})
    mixing = np.zeros((len(recording.ch_names), len(names)), np.float32)
    for pick, (anode, cathode) in zip(electrodes.picks, pairs, strict=True):
        mixing[pick, names.index(anode)] += 1.0
        if cathode:
            mixing[pick, names.index(cathode)] -= 1.0

    @lru_cache(maxsize=4)
    def stretch(segment: int, number: int, sfreq: float) -> np.ndarray:
        n_times = round(_STRETCH_S * sfreq)
        rng = np.random.default_rng((*seed, segment, number))
        artifacts = artifact(rng, kind, amplitude_uv=amplitude_uv, ch_names=names, positions=electrode_positions(names),
                        n_times=n_times, sfreq=sfreq)  # fmt: skip
        edge = np.minimum(np.arange(n_times), np.arange(n_times)[::-1]) / (_FADE_S * sfreq)
        return artifacts * np.sin(0.5 * np.pi * np.clip(edge, 0, 1)).astype(np.float32) ** 2

    def add(x: np.ndarray, picks: Sequence[int], segment: int, start: int) -> np.ndarray:
        sfreq = recording.sfreqs[picks[0]]
        length, stop = round(_STRETCH_S * sfreq), start + x.shape[1]
        numbers = range(start // length, -(-stop // length))
        if not numbers:
            return x
        artifacts = np.concatenate([stretch(segment, number, sfreq) for number in numbers], axis=1)
        return x + mixing[list(picks)] @ artifacts[:, start - numbers[0] * length : stop - numbers[0] * length]

    return _with(recording, add)


def rereference(recording: Recording, reference: str) -> Recording:
    """Return the recording against an electrode, which is then missing, or against the "average" of its electrodes.

    Raises NotPossibleError where the electrode is not there, or a channel is no single electrode.
    """
    electrodes = _scalp(recording)
    if electrodes.is_bipolar:
        raise NotPossibleError("a bipolar montage has no single reference")
    at = {d.anode: pick for pick, d in zip(electrodes.picks, electrodes.derivations, strict=True)}
    if reference != "average" and reference not in at:
        raise NotPossibleError(f"the recording has no {reference}")
    rate = recording.sfreqs[electrodes.picks[0]]
    with_rate = [pick for pick in electrodes.picks if recording.sfreqs[pick] == rate]
    against = with_rate if reference == "average" else [at[reference]]
    eeg = _electrode_rows(recording)

    def subtract(x: np.ndarray, picks: Sequence[int], segment: int, start: int) -> np.ndarray:
        if recording.sfreqs[picks[0]] != recording.sfreqs[against[0]]:
            return x
        level = recording.read(against, segment=segment, start=start, stop=start + x.shape[1]).mean(axis=0)
        return x - np.outer(eeg[list(picks)], level).astype(np.float32)

    changed = _with(recording, subtract)
    gone = set() if reference == "average" else {at[reference]}
    return _keep(changed, [pick for pick in range(len(recording.ch_names)) if pick not in gone])


def record_at(recording: Recording, sfreq: float) -> Recording:
    """Return the recording as an amplifier at another rate would have given it: low-passed below half the new rate.

    Every channel has the new rate. Missing samples stay missing, within one new sample.
    """
    n_new = [
        min(recording.n_times(pick, segment) * up // down for pick, (up, down) in enumerate(_ratios(recording, sfreq)))
        for segment in range(len(recording.segments))
    ]
    segments = tuple(Segment(s.onset_s, n / sfreq) for s, n in zip(recording.segments, n_new, strict=True))
    return replace(
        recording,
        sfreqs=(float(sfreq),) * len(recording.ch_names),
        segments=segments,
        read_samples=lambda picks, segment, start, stop: np.concatenate(
            [_resampled(recording, pick, sfreq, segment, start, stop) for pick in picks]
        ),
    )


def _ratios(recording: Recording, sfreq: float) -> list[tuple[int, int]]:
    return [resampling_ratio(rate, sfreq) for rate in recording.sfreqs]


def _resampled(recording: Recording, pick: int, sfreq: float, segment: int, start: int, stop: int) -> np.ndarray:
    """Return samples [start, stop) of one channel at the new rate, shape (1, stop - start).

    Whole steps of the ratio are read, with a halo as wide as the anti-alias filter; ends are held.
    """
    native = recording.sfreqs[pick]
    up, down = resampling_ratio(native, sfreq)
    taps = antialias_taps(up, down)
    halo = len(taps) // (2 * up * down) + 2
    first, last = (start // up - halo) * down, (-(-stop // up) + halo) * down
    n_native = recording.n_times(pick, segment)
    x = recording.read([pick], segment=segment, start=max(first, 0), stop=min(last, n_native)).astype(np.float64)
    x = np.pad(x, [(0, 0), (max(-first, 0), max(last - n_native, 0))], mode="edge")
    missing = np.isnan(x)
    # A constant would come through the polyphase filter as a tone; one number for the whole segment, or ranges differ.
    offset = np.nan_to_num(
        np.nanmedian(np.r_[recording.read([pick], segment=segment, stop=min(n_native, 256))[0], 0.0])
    )
    filled = np.where(missing, 0.0, x - offset)
    resampled = polyphase(filled, up, down, taps, first=first, start=start, stop=stop) + offset
    if missing.any():
        at = np.clip(np.rint((np.arange(start, stop) / sfreq) * native).astype(int) - first, 0, x.shape[1] - 1)
        resampled[missing[:, at]] = np.nan
    return resampled.astype(np.float32)


def _electrode_rows(recording: Recording) -> np.ndarray:
    """Return 1.0 for channels that are electrodes, or leads, 0.0 for others, shape (n_chans,)."""
    rows = np.zeros(len(recording.ch_names))
    rows[list(_channels(recording).picks)] = 1.0
    return rows


def _channels(recording: Recording) -> Electrodes:
    """Return the recording's electrodes, or its leads where it has none."""
    electrodes = find_electrodes(recording.ch_names, recording.sensor_types)
    return electrodes if electrodes.picks else find_leads(recording.ch_names, recording.sensor_types)


def _scalp(recording: Recording) -> Electrodes:
    electrodes = find_electrodes(recording.ch_names, recording.sensor_types)
    if not electrodes.picks:
        raise NotPossibleError("no electrode lies on the scalp")
    return electrodes


def _with(recording: Recording, change: Callable[[np.ndarray, Sequence[int], int, int], np.ndarray]) -> Recording:
    """Return the recording with `change(samples, picks, segment, start)` applied to whatever is read."""

    def read(picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
        x = recording.read_samples(picks, segment, start, stop)
        return np.asarray(change(x, picks, segment, start), dtype=np.float32)

    return replace(recording, read_samples=read)


def _keep(recording: Recording, picks_kept: Sequence[int]) -> Recording:
    """Return the recording with only these channels."""
    return replace(
        recording,
        ch_names=tuple(recording.ch_names[i] for i in picks_kept),
        sensor_types=tuple(recording.sensor_types[i] for i in picks_kept),
        sfreqs=tuple(recording.sfreqs[i] for i in picks_kept),
        read_samples=lambda picks, segment, start, stop: recording.read_samples(
            [picks_kept[pick] for pick in picks], segment, start, stop
        ),
    )
