"""Shapley values of groups of a window's parts: exact for few players, by sampled orders for many (Shapley 1953).

Orders come in pairs, one the reverse of the other (antithetic sampling, Castro et al. 2009, Mitchell et al. 2022). Each
order's gains add up to the whole change by themselves, so the sum is exact however few orders are drawn; what is
uncertain is how it is divided, and the spread over pairs shows that.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, product
from math import factorial

import numpy as np

from explain.asking.ask import BATCH, Ask, scores
from explain.asking.parts import BANDS, Part, Replacer, regions_of
from explain.explanation import STEP_S, Explanation, n_steps

METHOD = "grouped Shapley"
MOST_EXACT = 12
"""Most players whose 2^n coalitions are all asked for."""
MOST_PLAYERS = 95
Game = Callable[[Iterable[np.ndarray]], np.ndarray]
"""Coalitions, bool (n_players,) each, to values, one each."""


def exact(game: Game, n_players: int) -> np.ndarray:
    """Return every player's exact value, shape (n_players,), from all coalitions.

    Raises ValueError for more than `MOST_EXACT` players.
    """
    if n_players > MOST_EXACT:
        raise ValueError(f"{n_players} players have too many coalitions; at most {MOST_EXACT} are exact")
    coalitions = np.array(list(product([False, True], repeat=n_players)))
    values = np.asarray(game(coalitions), dtype=np.float64)
    places = 2 ** np.arange(n_players)[::-1]
    sizes = coalitions.sum(axis=1)
    weights = np.array([factorial(s) * factorial(n_players - s - 1) / factorial(n_players) for s in range(n_players)])
    result = np.zeros(n_players)
    for player, place in enumerate(places):
        outside = np.flatnonzero(~coalitions[:, player])
        result[player] = (weights[sizes[outside]] * (values[outside + place] - values[outside])).sum()
    return result


def sampled(game: Game, n_players: int, *, n_pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return estimates and their standard errors, both shape (n_players,), from pairs of opposite orders."""
    orders = [order for _ in range(n_pairs) for order in _pair(rng.permutation(n_players))]

    def steps() -> Iterable[np.ndarray]:
        for order in orders:
            present = np.zeros(n_players, dtype=bool)
            yield present.copy()
            for player in order:
                present[player] = True
                yield present.copy()

    values = np.asarray(game(steps()), dtype=np.float64).reshape(len(orders), n_players + 1)
    gains = np.zeros((len(orders), n_players))
    for row, order in enumerate(orders):
        gains[row, order] = np.diff(values[row])
    of_pairs = gains.reshape(n_pairs, 2, n_players).mean(axis=1)
    error = of_pairs.std(axis=0, ddof=1) / np.sqrt(n_pairs) if n_pairs > 1 else np.full(n_players, np.nan)
    return of_pairs.mean(axis=0), error


def _pair(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return order, order[::-1]


def shapley(
    ask: Ask, x: np.ndarray, target: int, *, sfreq: float, background: np.ndarray, ch_names: Sequence[str],
    n_pairs: int = 4, seed: int = 0, bands: Sequence[tuple[float, float]] = tuple(BANDS.values()),
    batch_size: int = BATCH,
) -> Explanation:  # fmt: skip
    """Return evidence for a class by region, stretch and band.

    Two games: regions by stretches, of which there are at most `MOST_PLAYERS`, and bands, which is exact. A player's
    value is spread evenly over its channels and steps, a cell's over bands as in the second game. The sum is the
    window's logit less the background's. Raises ValueError as `occlusion`.
    """
    replacer, length_s = Replacer(x, background, sfreq), x.shape[1] / sfreq
    regions = list(regions_of(ch_names).values())
    n_stretches = max(1, min(MOST_PLAYERS // len(regions), round(length_s)))
    edges = np.round(np.linspace(0, length_s, n_stretches + 1) / STEP_S) * STEP_S
    players = [
        Part(channels=region, start_s=float(a), stop_s=float(b)) for region in regions for a, b in pairwise(edges)
    ]
    rows = tuple(range(len(x)))
    rest = _outside(bands, sfreq)
    by_band = [Part(channels=rows, start_s=0.0, stop_s=length_s, band_hz=band) for band in (*bands, *rest)]
    rng = np.random.default_rng(seed)
    places, _ = sampled(_game(ask, replacer, players, target, batch_size), len(players), n_pairs=n_pairs, rng=rng)
    of_bands = exact(_game(ask, replacer, by_band, target, batch_size), len(by_band))[: len(bands)]
    values = np.zeros((len(x), n_steps(x.shape[1], sfreq), len(bands)))
    shares = np.maximum(of_bands, 0) / np.maximum(of_bands, 0).sum() if (of_bands > 0).any() else 1 / len(bands)
    for part, value in zip(players, places, strict=True):
        first, last = round(part.start_s / STEP_S), min(round(part.stop_s / STEP_S), values.shape[1])
        values[list(part.channels), first:last] += value / len(part.channels) / (last - first) * shares
    score, base = scores(ask, [x, background], target)
    return Explanation(
        method=METHOD, target=target, values=values, score=float(score), base=float(base), bands=tuple(bands)
    )


def _outside(bands: Sequence[tuple[float, float]], sfreq: float) -> list[tuple[float, float]]:
    """Return what lies below and above the bands, so that all players together are the whole signal."""
    return [(0.0, min(low for low, _ in bands)), (max(high for _, high in bands), sfreq)]


def _game(ask: Ask, replacer: Replacer, players: Sequence[Part], target: int, batch_size: int) -> Game:
    def game(coalitions: Iterable[np.ndarray]) -> np.ndarray:
        windows = (
            replacer.without([part for part, here in zip(players, present, strict=True) if not here])
            for present in coalitions
        )
        return scores(ask, windows, target, batch_size=batch_size)

    return game
