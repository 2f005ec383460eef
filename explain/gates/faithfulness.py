"""Deletion and insertion: does the answer change sooner along an explanation's order of cells than along a random one?

Removed cells are filled in three ways, since each filler is itself something that the model may react to, and scores
are kept apart by class, since they depend on it (Baer 2025). Attributed is the logit; what is counted here is the
probability, which is what a reader of the map would see change.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explain.asking.ask import Ask, answers
from explain.explanation import STEP_S, Explanation

FILLERS = ("interpolation", "noise", "background")
"""A straight line over the gap; noise of the window's own spectrum; another patient's background."""
SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Shares of all cells that are removed, or left in."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far an order of cells is from a random one under one filler, in probability; above 0 is better."""

    filler: str
    deletion: float
    insertion: float

    @property
    def mean(self) -> float:
        """Of both."""
        return (self.deletion + self.insertion) / 2


def gaps(
    ask: Ask, explanation: Explanation, x: np.ndarray, *, sfreq: float, background: np.ndarray,
    rng: np.random.Generator,
) -> list[Gap]:  # fmt: skip
    """Return the gap under each of `FILLERS`; x and background have shape (n_chans, n_times)."""
    found = explanation.channels_steps
    orders = [np.argsort(-found.ravel(), kind="stable"), rng.permutation(found.size)]
    windows, n_step = [], round(STEP_S * sfreq)
    for filler in FILLERS:
        for order in orders:
            for removed in masks(order, found.shape):
                inside = np.repeat(removed, n_step, axis=1)[:, : x.shape[1]]
                windows.append(filled(x, inside, filler, background=background, rng=rng))
    logits = answers(ask, windows)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    prob = (odds / odds.sum(axis=1, keepdims=True))[:, explanation.target]
    means = prob.reshape(len(FILLERS), 2, 2, len(SHARES)).mean(axis=3)
    return [
        Gap(filler=name, deletion=float(random[0] - own[0]), insertion=float(own[1] - random[1]))
        for name, (own, random) in zip(FILLERS, means, strict=True)
    ]


def masks(order: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return removed cells along an order: first ever more of its beginning, then all but ever more of it."""
    found = []
    for keeps in (False, True):
        for share in SHARES:
            removed = np.full(order.size, keeps)
            removed[order[: max(1, round(share * order.size))]] = not keeps
            found.append(removed.reshape(shape))
    return found


def filled(
    x: np.ndarray, removed: np.ndarray, filler: str, *, background: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return x with samples replaced where `removed`, bool of its shape; raises ValueError for an unknown filler."""
    if filler == "background":
        return np.where(removed, background, x)
    if filler == "noise":
        return np.where(removed, same_spectrum(x, rng), x)
    if filler != "interpolation":
        raise ValueError(f"filler={filler!r} is none of {', '.join(FILLERS)}")
    out, t = x.copy(), np.arange(x.shape[1])
    for row, gone in zip(out, removed, strict=True):
        row[gone] = np.interp(t[gone], t[~gone], row[~gone]) if (~gone).any() else 0.0
    return out


def same_spectrum(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise with the power spectra of x and the phases between its channels, same shape."""
    spectrum = np.fft.rfft(x, axis=-1)
    turn = np.exp(2j * np.pi * rng.random(spectrum.shape[-1]))
    turn[0] = 1.0
    if x.shape[-1] % 2 == 0:
        turn[-1] = 1.0  # at half the rate there is no phase
    return np.fft.irfft(spectrum * turn, n=x.shape[-1], axis=-1).astype(x.dtype)


def worst_by_class(found: Sequence[tuple[int, Sequence[Gap]]]) -> float:
    """Return the lowest mean gap over classes and fillers; nan without any case."""
    means: dict[tuple[int, str], list[float]] = {}
    for label, of_case in found:
        for gap in of_case:
            means.setdefault((label, gap.filler), []).append(gap.mean)
    return min((float(np.mean(values)) for values in means.values()), default=float("nan"))
