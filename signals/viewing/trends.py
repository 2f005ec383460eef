"""Trends of a recording: what hours of EEG look like at a glance, in steps of 4 s.

Density spectral arrays of the four chains, amplitude-integrated EEG of each hemisphere, asymmetry, rhythmicity, and
artifact flags per electrode and second. They are made of the common average montage; a gap leaves NaN.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from signals.description.artifacts import BIT, detect
from signals.electrodes import CHAINS
from signals.spectrograms import stft_power
from signals.viewing.traces import Traces

STEP_S = 4.0
FREQS = np.arange(1, 41) * 0.5
"""Hz, of the spectral arrays."""
REGIONS = tuple(CHAINS)
"""Left and right lateral, left and right parasagittal."""
BLOCK_S = 240
_HALF_S = 0.5
_AEEG_HZ = (2.0, 15.0)
_RHYTHM_HZ = (1.0, 12.0)
_TOTAL_HZ = (1.0, 18.0)


@dataclass(frozen=True, kw_only=True)
class Trends:
    """Rows of one or many steps; NaN where there is no signal."""

    density_db: np.ndarray
    """float32, shape (4, 40, n_steps): 10 log10 µV²/Hz of `REGIONS` at `FREQS`."""
    aeeg_uv: np.ndarray
    """float32, shape (2, 2, n_steps): lower and upper margin, left and right hemisphere."""
    asymmetry: np.ndarray
    """float32, shape (n_steps,): (right - left) / (right + left) of the power in 1-18 Hz."""
    rhythmicity: np.ndarray
    """float32, shape (4, n_steps): share of the power of 1-12 Hz, whitened, within 0.5 Hz of its peak."""
    flags: np.ndarray
    """uint16, shape (n_electrodes, n_seconds): bits of `signals.description.artifacts.KINDS`."""

    @property
    def n_bytes(self) -> int:
        """Memory."""
        arrays = (self.density_db, self.aeeg_uv, self.asymmetry, self.rhythmicity, self.flags)
        return sum(int(array.nbytes) for array in arrays)


def trends_of(
    traces: Traces, *, mains_hz: float | None,
    mapped: Callable[[Callable[[int], Trends], Iterable[int]], Iterable[Trends]] = map,
    progress: Callable[[float], None] = lambda share: None,
) -> Trends:  # fmt: skip
    """Return the trends of a whole recording; `traces` are its common average, one electrode a row."""
    names = [row.electrodes[0] for row in traces.montage.rows if row.electrodes]
    n_block = round(BLOCK_S * traces.sfreq)
    starts = range(0, traces.n_times, n_block)

    def block(start: int) -> Trends:
        return block_trends(traces.read(start, start + n_block)[: len(names)], traces.sfreq, names, mains_hz=mains_hz)

    parts = []
    for number, part in enumerate(mapped(block, starts)):
        parts.append(part)
        progress((number + 1) / len(starts))
    n_steps = -(-int(traces.n_times / traces.sfreq) // int(STEP_S))
    return _cut(_joined(parts), n_steps)


def block_trends(x: np.ndarray, sfreq: float, names: Sequence[str], *, mains_hz: float | None) -> Trends:
    """Return the trends of electrodes against their average, shape (n_electrodes, n_times), µV, NaN where missing."""
    steps = _steps(x, sfreq)
    left, right = _hemispheres(names)
    lost = np.isnan(steps).any(axis=-1)
    filled = np.where(np.isnan(steps), 0.0, steps).astype(np.float32)
    freqs, _, power = stft_power(filled, sfreq, window_s=STEP_S, step_s=STEP_S)
    power = power[..., 0]
    chains = [_chain_power(filled, lost, names, chain, sfreq) for chain in CHAINS.values()]
    return Trends(
        density_db=np.stack([_density(freqs, p) for p in chains]),
        aeeg_uv=np.stack([_aeeg(filled, lost, names, side, sfreq) for side in (left, right)]),
        asymmetry=_asymmetry(freqs, power, lost, left, right),
        rhythmicity=np.stack([_rhythmicity(freqs, p) for p in chains]),
        flags=_flags(x, sfreq, names, mains_hz),
    )


def _steps(x: np.ndarray, sfreq: float) -> np.ndarray:
    """Return x in steps, shape (n_electrodes, n_steps, n_step); a remainder is filled up with NaN."""
    n_steps = -(-round(x.shape[-1] / sfreq * 1e6) // round(STEP_S * 1e6))
    n_step = round(STEP_S * sfreq)
    at = np.round(np.arange(n_steps) * STEP_S * sfreq).astype(int)
    padded = np.pad(x, [(0, 0), (0, n_step + 1)], constant_values=np.nan)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, n_step, axis=-1)[:, at])


def _hemispheres(names: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the rows over the left and over the right hemisphere."""
    last = [name[-1] if name[-1].isdigit() else "" for name in names]
    return [i for i, c in enumerate(last) if c and int(c) % 2], [i for i, c in enumerate(last) if c and not int(c) % 2]


def _chain_power(
    steps: np.ndarray, lost: np.ndarray, names: Sequence[str], chain: Sequence[tuple[str, str]], sfreq: float
) -> np.ndarray:
    """Return the mean power of a chain's pairs, shape (n_steps, n_freqs), NaN where none is whole."""
    index = {name: i for i, name in enumerate(names)}
    pairs = [(index[a], index[b]) for a, b in chain if a in index and b in index]
    n_freqs = steps.shape[-1] // 2 + 1
    if not pairs:
        return np.full((steps.shape[1], n_freqs), np.nan)
    anodes, cathodes = (list(side) for side in zip(*pairs, strict=True))
    _, _, power = stft_power(steps[anodes] - steps[cathodes], sfreq, window_s=STEP_S, step_s=STEP_S)
    there = ~(lost[anodes] | lost[cathodes])
    n_there = there.sum(axis=0)
    total = np.where(there[..., None], power[..., 0], 0.0).sum(axis=0)
    return np.asarray(np.where(n_there[:, None] > 0, total / np.maximum(n_there, 1)[:, None], np.nan))


def _density(freqs: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return 10 log10 of the power around each of `FREQS`, shape (40, n_steps)."""
    bins = np.rint(freqs / 0.5).astype(int)
    columns = [power[:, bins == number].mean(axis=1) for number in range(1, len(FREQS) + 1)]
    return np.asarray(10 * np.log10(np.maximum(np.stack(columns), 1e-6)), dtype=np.float32)


def _aeeg(steps: np.ndarray, lost: np.ndarray, names: Sequence[str], side: Sequence[int], sfreq: float) -> np.ndarray:
    """Return the 10th and 90th percentile of the peak to peak of half seconds in 2-15 Hz, shape (2, n_steps)."""
    index = {names[i]: i for i in side}
    pair = next(((index[a], index[b]) for a, b in _AEEG_PAIRS if a in index and b in index), None)
    if pair is None:
        return np.full((2, steps.shape[1]), np.nan, dtype=np.float32)
    x = steps[pair[0]] - steps[pair[1]]
    freqs = np.fft.rfftfreq(x.shape[-1], 1 / sfreq)
    spectrum = np.fft.rfft(x, axis=-1)
    spectrum[:, (freqs < _AEEG_HZ[0]) | (freqs > _AEEG_HZ[1])] = 0
    x = np.fft.irfft(spectrum, x.shape[-1], axis=-1)
    n_half = int(_HALF_S * sfreq)
    halves = x[:, : x.shape[-1] // n_half * n_half].reshape(len(x), -1, n_half)
    margins = np.quantile(np.ptp(halves, axis=-1), (0.1, 0.9), axis=-1)
    return np.asarray(np.where(lost[pair[0]] | lost[pair[1]], np.nan, margins), dtype=np.float32)


_AEEG_PAIRS = (("C3", "P3"), ("C4", "P4"), ("F3", "C3"), ("F4", "C4"), ("Fp1", "O1"), ("Fp2", "O2"))


def _asymmetry(
    freqs: np.ndarray, power: np.ndarray, lost: np.ndarray, left: Sequence[int], right: Sequence[int]
) -> np.ndarray:
    within = (freqs >= _TOTAL_HZ[0]) & (freqs <= _TOTAL_HZ[1])
    total = np.where(lost, np.nan, power[..., within].sum(axis=-1))
    means = []
    for side in (left, right):
        there = ~np.isnan(total[side])
        sums = np.where(there, total[side], 0.0).sum(axis=0)
        means.append(np.where(there.any(axis=0), sums / np.maximum(there.sum(axis=0), 1), np.nan))
    return np.asarray((means[1] - means[0]) / np.maximum(means[1] + means[0], 1e-9), dtype=np.float32)


def _rhythmicity(freqs: np.ndarray, power: np.ndarray) -> np.ndarray:
    within = (freqs >= _RHYTHM_HZ[0]) & (freqs <= _RHYTHM_HZ[1])
    white = power[:, within] * freqs[within]
    n_near = 2 * round(0.5 / (freqs[1] - freqs[0])) + 1
    near = np.apply_along_axis(np.convolve, 1, white, np.ones(n_near), "same")
    return np.asarray(near.max(axis=1) / np.maximum(white.sum(axis=1), 1e-9), dtype=np.float32)


def _flags(x: np.ndarray, sfreq: float, names: Sequence[str], mains_hz: float | None) -> np.ndarray:
    """Return artifact flags by second; rates without whole samples a second have none but gaps."""
    n_second = int(round(sfreq))
    n_seconds = -(-x.shape[-1] // n_second)
    padded = np.pad(x, [(0, 0), (0, n_seconds * n_second - x.shape[-1])], constant_values=np.nan)
    if n_second != sfreq:
        gap = np.isnan(padded.reshape(len(x), n_seconds, n_second)).any(axis=-1)
        return np.where(gap, BIT["gap"], 0).astype(np.uint16)
    return detect(padded, sfreq, ch_names=names, mains_hz=mains_hz, missing=np.isnan(padded))


def _joined(parts: Sequence[Trends]) -> Trends:
    def along(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts], axis=-1)

    return Trends(
        density_db=along("density_db"), aeeg_uv=along("aeeg_uv"), asymmetry=along("asymmetry"),
        rhythmicity=along("rhythmicity"), flags=along("flags"),
    )  # fmt: skip


def _cut(trends: Trends, n_steps: int) -> Trends:
    """Return the first steps: the last block reaches beyond the end."""
    return Trends(
        density_db=trends.density_db[..., :n_steps], aeeg_uv=trends.aeeg_uv[..., :n_steps],
        asymmetry=trends.asymmetry[:n_steps], rhythmicity=trends.rhythmicity[:, :n_steps],
        flags=trends.flags[:, : n_steps * int(STEP_S)],
    )  # fmt: skip
