"""Occlusion: how much a class's logit falls when a part of the window gives way to another patient's background.

Time first, then channels and bands within the stretches that matter: removing one channel for one second changes
hardly anything where neighbours show the same, and asking for every combination would take minutes (two steps:
Ismail et al. 2020). A channel's or band's share is the mean of what is lost when it goes first and what comes back when
it is the last to return, so that neighbours who show the same thing are not all called useless.
"""

from collections.abc import Sequence

import numpy as np

from explain.asking.ask import BATCH, Ask, scores
from explain.asking.parts import BANDS, Part, Replacer
from explain.explanation import STEP_S, Explanation, n_steps

METHOD = "occlusion"
WIDTHS_S = (1.0, 2.0)
"""Lengths of the removed stretches."""
MOST_HOPS = 120
"""Most stretches of one length; longer windows get longer hops."""
MOST_STRETCHES = 3


def occlusion(
    ask: Ask, x: np.ndarray, target: int, *, sfreq: float, backgrounds: np.ndarray,
    bands: Sequence[tuple[float, float]] = tuple(BANDS.values()), batch_size: int = BATCH,
) -> Explanation:  # fmt: skip
    """Return evidence for a class in a window, shape (n_chans, n_times), by channel, step and band.

    backgrounds: windows of other patients without findings, shape (n, n_chans, n_times), on the same scale; results
    are means over them. What stretches lose one by one does not add up to what all of them lose together, so no sum is
    promised. Raises ValueError for shapes that differ and as `explain.asking.ask.answers`.
    """
    replacers = [Replacer(x, background, sfreq) for background in backgrounds]
    every = Part(channels=tuple(range(len(x))), start_s=0.0, stop_s=x.shape[1] / sfreq)
    score = float(scores(ask, [x], target)[0])
    base = float(scores(ask, [r.without([every]) for r in replacers], target, batch_size=batch_size).mean())
    per_step = _per_step(ask, replacers, target, score, batch_size)
    values = np.zeros((len(x), len(per_step), len(bands)))
    profile = None
    for first, last in stretches(per_step):
        shares = _shares(ask, replacers, target, (first * STEP_S, last * STEP_S), bands, batch_size)
        profile = shares if profile is None else profile
        values[:, first:last] = shares[:, None] * per_step[first:last, None]
    rest = ~values.any(axis=(0, 2))
    even = np.full((len(x), len(bands)), 1 / (len(x) * len(bands)))
    values[:, rest] = (even if profile is None else profile)[:, None] * per_step[rest, None]
    return Explanation(
        method=METHOD, target=target, values=values, score=score, base=base, bands=tuple(bands), sums=False
    )


def _per_step(ask: Ask, replacers: Sequence[Replacer], target: int, score: float, batch_size: int) -> np.ndarray:
    """Return what is lost by step, the mean over all removed stretches that hold it, shape (n_steps,)."""
    x, sfreq = replacers[0].x, replacers[0].sfreq
    length_s, n = x.shape[1] / sfreq, n_steps(x.shape[1], sfreq)
    hop = max(1, -(-n // MOST_HOPS))
    spans = [
        (first, min(first + round(width / STEP_S), n))
        for width in WIDTHS_S
        for first in range(0, max(1, n - round(width / STEP_S) + 1), hop)
    ]
    rows = tuple(range(len(x)))
    parts = [Part(channels=rows, start_s=a * STEP_S, stop_s=min(b * STEP_S, length_s)) for a, b in spans]
    after = scores(ask, (r.without([part]) for r in replacers for part in parts), target, batch_size=batch_size)
    lost = score - after.reshape(len(replacers), -1).mean(axis=0)
    sums, counts = np.zeros(n), np.zeros(n)
    for (first, last), value in zip(spans, lost, strict=True):
        sums[first:last] += value / (last - first)
        counts[first:last] += 1
    return sums / np.maximum(counts, 1)


def stretches(per_step: np.ndarray, *, share: float = 0.5, most: int = MOST_STRETCHES) -> list[tuple[int, int]]:
    """Return the steps [first, last) of runs with at least a share of the largest evidence, the strongest first."""
    if not per_step.size or per_step.max() <= 0:
        return []
    high = np.concatenate([[False], per_step >= share * per_step.max(), [False]])
    edges = np.flatnonzero(high[1:] != high[:-1])
    runs = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return sorted(runs, key=lambda run: -per_step[run[0] : run[1]].sum())[:most]


def _shares(
    ask: Ask, replacers: Sequence[Replacer], target: int, span_s: tuple[float, float],
    bands: Sequence[tuple[float, float]], batch_size: int,
) -> np.ndarray:  # fmt: skip
    """Return the share of each channel and band in what a stretch holds, shape (n_chans, n_bands), sum 1."""
    rows = tuple(range(len(replacers[0].x)))
    start_s, stop_s = span_s
    whole = [Part(channels=rows, start_s=start_s, stop_s=stop_s)]
    by_band = [Part(channels=rows, start_s=start_s, stop_s=stop_s, band_hz=band) for band in bands]
    by_channel = [Part(channels=(row,), start_s=start_s, stop_s=stop_s) for row in rows]
    games = [_first_and_last(ask, replacers, target, parts, whole, batch_size) for parts in (by_channel, by_band)]
    channel, band = (_positive_shares(game) for game in games)
    return np.outer(channel, band)


def _first_and_last(
    ask: Ask, replacers: Sequence[Replacer], target: int, parts: Sequence[Part], whole: Sequence[Part], batch_size: int
) -> np.ndarray:
    """Return the mean of what each part's removal alone costs, and of what its return alone gives, shape (n_parts,)."""
    cases = (
        case
        for r in replacers
        for case in (
            r.x,
            r.without(whole),
            *(r.without([part]) for part in parts),
            *(r.only([part], within=whole) for part in parts),
        )
    )
    found = scores(ask, cases, target, batch_size=batch_size).reshape(len(replacers), -1).mean(axis=0)
    full, none, n = found[0], found[1], len(parts)
    return np.asarray((full - found[2 : 2 + n]) / 2 + (found[2 + n :] - none) / 2)


def _positive_shares(values: np.ndarray) -> np.ndarray:
    """Return shares of what speaks for the class, sum 1; even ones where nothing does."""
    positive = np.maximum(values, 0)
    return np.asarray(positive / positive.sum()) if positive.sum() > 0 else np.full(len(values), 1 / len(values))
