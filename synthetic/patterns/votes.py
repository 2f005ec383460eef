"""How experts vote on a synthetic segment: sharply where the pattern stands out, else along their usual confusions."""

import numpy as np

from signals.tasks import SIX_CLASS

# Which classes uncertain experts choose, in the order of SIX_CLASS.classes (Seizure, LPD, GPD, LRDA, GRDA, Other). The
# pairs are those that experts confuse in Jing et al., Interrater Reliability of Expert Electroencephalographers
# Identifying Seizures and Rhythmic and Periodic Patterns in EEGs, Neurology 100 (2023); the shares are ours.
_DOUBT = {
    "LPD": (0.15, 0.00, 0.15, 0.30, 0.05, 0.35),
    "GPD": (0.12, 0.18, 0.00, 0.05, 0.30, 0.35),
    "LRDA": (0.10, 0.30, 0.03, 0.00, 0.17, 0.40),
    "GRDA": (0.08, 0.03, 0.22, 0.17, 0.00, 0.50),
    "Other": (0.15, 0.15, 0.15, 0.20, 0.35, 0.00),
}
_FOCAL_SEIZURE = (0.00, 0.40, 0.05, 0.25, 0.05, 0.25)
_GENERALISED_SEIZURE = (0.00, 0.05, 0.45, 0.05, 0.25, 0.20)
SURE = (0.42, 0.56)
"""Share of experts for the class itself where nothing is plain, and what full clarity adds to it."""


def doubt_of(label: str, *, rate_hz: float = 1.0, lateral: bool = False) -> np.ndarray:
    """Return which classes experts choose who do not choose `label`, weights in the order of SIX_CLASS.classes."""
    doubt = np.array((_FOCAL_SEIZURE if lateral else _GENERALISED_SEIZURE) if label == "Seizure" else _DOUBT[label])
    if label not in ("Seizure", "Other"):
        doubt[SIX_CLASS.classes.index("Seizure")] *= 1 + 3 * np.clip((rate_hz - 1.2) / 1.3, 0, 1)
    return doubt


def draw_votes(
    rng: np.random.Generator, label: str, *, clarity: float, rate_hz: float = 1.0, lateral: bool = False
) -> tuple[int, ...]:
    """Return vote counts of 3 to 20 experts in the order of SIX_CLASS.classes; most of them, alone, are for `label`.

    `clarity` in [0, 1]: 0 is a coin toss, 1 is plain to see. Patterns near 2.5 Hz draw votes for Seizure.
    """
    n_experts = int(rng.integers(3, 21))
    doubt = doubt_of(label, rate_hz=rate_hz, lateral=lateral)
    true = SIX_CLASS.classes.index(label)
    share = (1 - (SURE[0] + SURE[1] * clarity)) * rng.dirichlet(1e-3 + 3 * doubt / doubt.sum())
    share[true] += 1 - share.sum()
    votes = rng.multinomial(n_experts, share)
    while np.sum(votes == votes.max()) > 1 or votes.argmax() != true:
        rivals = np.where(np.arange(votes.size) == true, -1, votes)
        votes[rivals.argmax()] -= 1
        votes[true] += 1
    return tuple(int(count) for count in votes)
