"""Electrodes that are bad for a whole recording, found in a bounded look at it.

The criteria are those of PREP (Bigdely-Shamlo 2015, doi:10.3389/fninf.2015.00016): flat, deviant in size, noisy,
correlated with no other, and not predicted by spherical splines from random subsets of the others (RANSAC). They work
on raw electrodes before any re-referencing, and they are set so that a focus is never taken for a bad electrode: a
discharge spreads by volume conduction, so one criterion of size alone convicts nothing but what its neighbours do not
see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from signals.conditioning.filters import GUARD, bandpass
from signals.conditioning.gaps import bridge
from signals.description.robust import median, robust_z
from signals.montage.splines import spline_matrix
from signals.spectrograms import welch

REASONS: dict[str, str] = {
    "flat": "Its peak to peak is next to nothing in at least half of the seconds.",
    "deviant": "Its size is far from that of the others, and they do not predict it.",
    "noisy": "Its share of power above 40 Hz is far above that of the others, and they do not predict it.",
    "lonely": "In most seconds it correlates with no other electrode.",
    "unpredicted": "In most stretches spherical splines from the others do not predict it at all.",
}
"""Why an electrode is bad."""


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Where each criterion begins to convict."""

    flat_uv: float = 0.5
    """Peak to peak of a second below which it is flat, µV."""
    deviation: float = 5.0
    """Largest robust z of the log of its size."""
    noise: float = 5.0
    """Largest robust z of the log share of power above 40 Hz."""
    correlation: float = 0.4
    """Least |correlation| with the best other electrode, 98% quantile over the others as in PREP."""
    predicted: float = 0.75
    """Least correlation with what splines predict of a deviant or noisy electrode, in montages of at least `dense`."""
    predicted_sparse: float = 0.5
    """The same in sparser ones, where the nearest electrode lies 6 cm away."""
    predicted_alone: float = 0.5
    """Least correlation of an electrode that meets no other criterion, in dense montages. PREP takes 0.75, which in
    weak EEG convicts half of a 64-electrode cap."""
    predicted_alone_sparse: float = 0.3
    """The same in sparser ones."""
    excess: float = 5.0
    """Largest size of a deviant electrode over that of its prediction: a field is not that steep."""
    dense: int = 32
    """Fewest electrodes of a dense montage."""
    bad_share: float = 0.5
    """Least share of seconds or stretches in which a criterion must hold."""
    n_subsets: int = 20
    """Random subsets that RANSAC predicts from."""
    subset_share: float = 0.25
    """Share of electrodes in a subset; at least `least_subset`."""
    least_subset: int = 7
    """Fewest electrodes in a subset."""


def bad_channels(
    stretches: Sequence[np.ndarray],
    sfreq: float,
    *,
    positions: np.ndarray,
    criteria: Criteria = Criteria(),
    seed: int = 0,
) -> dict[int, tuple[str, ...]]:
    """Return the bad electrodes by row with their reasons (keys of `REASONS`).

    `stretches`: parts of the recording against any common reference, each (n_electrodes, n_times), µV at `sfreq`, NaN
    where missing; `positions`: (n_electrodes, 3). Fewer than 6 electrodes, or less than 4 s of signal, are not judged.
    The result depends on nothing but the arguments.
    """
    n_chans = len(positions)
    parts = [bridge(x, np.isnan(x)) for x in stretches if x.shape[1] >= 4 * sfreq]
    if n_chans < 6 or not parts:
        return {}
    flat = flat_electrodes(parts, sfreq, criteria=criteria)
    alive = np.flatnonzero(~flat)
    found: dict[str, np.ndarray] = {"flat": flat}
    if alive.size >= 6:
        clean = [bandpass(x[alive], sfreq, l_freq=1.0, h_freq=GUARD * sfreq) for x in parts]
        spread = {name: np.zeros(n_chans, dtype=bool) for name in REASONS if name != "flat"}
        for name, bad in _criteria(clean, sfreq, positions[alive], criteria, seed).items():
            spread[name][alive] = bad
        found |= spread
    return {
        row: reasons
        for row in range(n_chans)
        if (reasons := tuple(name for name in REASONS if name in found and found[name][row]))
    }


def flat_electrodes(stretches: Sequence[np.ndarray], sfreq: float, *, criteria: Criteria = Criteria()) -> np.ndarray:
    """Return the electrodes that are flat in most seconds of the stretches, bool, shape (n_electrodes,)."""
    n_second = int(round(sfreq))
    return _share([_flat(np.nan_to_num(x), n_second, criteria.flat_uv) for x in stretches]) >= criteria.bad_share


def _criteria(
    parts: Sequence[np.ndarray], sfreq: float, positions: np.ndarray, criteria: Criteria, seed: int
) -> dict[str, np.ndarray]:
    """Return which of the living electrodes each criterion convicts."""
    n_second = int(round(sfreq))
    # Against the median electrode, a bad one does not reach the others; correlations are taken as recorded.
    whole = np.concatenate([x - median(x, axis=0) for x in parts], axis=1)
    size = robust_z(np.log(np.maximum(_mad(whole), 1e-3)), least=0.2)
    noise = robust_z(noise_share(whole, sfreq), least=0.2)
    slow = [bandpass(x, sfreq, l_freq=1.0, h_freq=min(40.0, GUARD * sfreq)) for x in parts]
    lonely = _share([best_correlation(x, n_second) < criteria.correlation for x in slow])
    suspect = (np.abs(size) > criteria.deviation) | (noise > criteria.noise) | (lonely >= criteria.bad_share)
    dense = len(positions) >= criteria.dense
    limit = criteria.predicted if dense else criteria.predicted_sparse
    alone = criteria.predicted_alone if dense else criteria.predicted_alone_sparse
    found = [_predicted(x, sfreq, positions, suspect, criteria, seed) for x in slow]
    agreement, excess = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))

    steep = (excess > criteria.excess).mean(axis=1) >= criteria.bad_share if excess.size else suspect & ~suspect

    def missed(least: float) -> np.ndarray:
        return (
            np.asarray((agreement < least).mean(axis=1) >= criteria.bad_share) if agreement.size else ~suspect & suspect
        )

    return {
        "deviant": (np.abs(size) > criteria.deviation) & (missed(limit) | steep),
        "noisy": (noise > criteria.noise) & missed(limit),
        "lonely": lonely >= criteria.bad_share,
        "unpredicted": missed(alone),
    }


def _predicted(
    x: np.ndarray, sfreq: float, positions: np.ndarray, suspect: np.ndarray, criteria: Criteria, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return each electrode's correlation with its prediction in 4-s stretches, and its size over the prediction's.

    Both have shape (n_chans, n_stretches), none where too few electrodes are above suspicion.
    """
    good = np.flatnonzero(~suspect)
    if good.size <= criteria.least_subset:
        return np.zeros((len(x), 0)), np.zeros((len(x), 0))
    rows = _prediction(tuple(map(tuple, positions.tolist())), tuple(good.tolist()), criteria, seed)
    step = max(1, int(sfreq // 100))  # below 40 Hz after the band-pass: every other sample suffices
    stretches = _seconds(x, int(4 * sfreq))[..., ::step].astype(np.float32)
    guess = np.einsum("cd,dst->cst", rows, stretches, optimize=True)
    return _correlation(stretches, guess), stretches.std(axis=-1) / np.maximum(guess.std(axis=-1), 1e-6)


@lru_cache(maxsize=256)
def _prediction(
    positions: tuple[tuple[float, ...], ...], good: tuple[int, ...], criteria: Criteria, seed: int
) -> np.ndarray:
    """Return the mean over random subsets of the splines that predict each electrode, float32, (n_chans, n_chans).

    An electrode is predicted from subsets that it is not in, of the `good` electrodes, which meet no other
    criterion. PREP takes the median of the predictions; their mean is one matrix, which costs nothing per sample. It
    takes 15 ms to compute, and is the same for all recordings of a montage.
    """
    places, rng, n_chans = np.array(positions), np.random.default_rng(seed), len(positions)
    n_subset = min(max(criteria.least_subset, int(np.ceil(criteria.subset_share * len(good)))), len(good) - 1)
    total, count = np.zeros((n_chans, n_chans)), np.zeros(n_chans)
    for _ in range(criteria.n_subsets):
        chosen = np.sort(rng.permutation(np.array(good))[:n_subset])
        others = np.setdiff1d(np.arange(n_chans), chosen)
        total[np.ix_(others, chosen)] += spline_matrix(places[chosen], places[others])
        count[others] += 1
    return np.asarray((total / np.maximum(count, 1)[:, None]).astype(np.float32))


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    norm = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return (a * b).sum(axis=-1) / np.maximum(norm, 1e-9)


def _flat(x: np.ndarray, n_second: int, flat_uv: float) -> np.ndarray:
    return np.ptp(_seconds(x, n_second), axis=-1) < flat_uv


def _seconds(x: np.ndarray, n_second: int) -> np.ndarray:
    n_seconds = x.shape[-1] // n_second
    return x[..., : n_seconds * n_second].reshape(*x.shape[:-1], n_seconds, n_second)


def _share(flags: Sequence[np.ndarray]) -> np.ndarray:
    """Return the share of seconds, shape (n_chans,), of flags (n_chans, n_seconds) by stretch."""
    return np.asarray(np.concatenate(flags, axis=1).mean(axis=1))


def _mad(x: np.ndarray) -> np.ndarray:
    return 1.4826 * median(np.abs(x), axis=-1)


def noise_share(x: np.ndarray, sfreq: float) -> np.ndarray:
    """Return the log of power above 40 Hz over power in 1-40 Hz, mains left out; zeros below 100 Hz."""
    freqs, density = welch(x, sfreq)
    mains = (np.abs(freqs - 50) < 1.5) | (np.abs(freqs - 60) < 1.5)
    high = (freqs >= 40) & (freqs < GUARD * sfreq) & ~mains
    if not high.any():
        return np.zeros(len(x))
    low = (freqs >= 1) & (freqs < 40)
    return np.asarray(np.log((density[:, high].sum(axis=-1) + 1e-6) / (density[:, low].sum(axis=-1) + 1e-6)))


def best_correlation(x: np.ndarray, n_second: int) -> np.ndarray:
    """Return each electrode's 98% quantile of |correlation| with the others, by second, shape (n_chans, n_seconds)."""
    seconds = np.moveaxis(_seconds(x, n_second), -2, -3)
    seconds = seconds - seconds.mean(axis=-1, keepdims=True)
    norm = np.sqrt(np.einsum("sct,sct->sc", seconds, seconds))
    seconds = seconds / np.maximum(norm, 1e-6)[..., None]
    correlation = np.abs(seconds @ np.swapaxes(seconds, -1, -2))
    index = np.arange(x.shape[0])
    correlation[:, index, index] = 0.0
    return np.asarray(np.quantile(correlation, 0.98, axis=-1).T)
