"""Whether intervals hold what they state: how often they cover a truth that is known, over simulated studies.

Three generators of results: normal, bounded (beta), and skewed (a few poor sites or patients among good ones).
"""

from collections.abc import Callable, Mapping

import numpy as np

from evaluation.measures.bootstrap import interval_of, resamples
from evaluation.measures.intervals import over_sites

Generator = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

SITES: Mapping[str, tuple[float, Generator]] = {
    "normal": (0.65, lambda rng, shape: 0.65 + 0.07 * rng.normal(size=shape)),
    "beta": (20 / 30, lambda rng, shape: rng.beta(20, 10, shape)),
    # A gamma of shape 4 has skewness 1: most sites do a little better than the mean, some much worse.
    "skewed": (0.65, lambda rng, shape: 0.65 - 0.07 * (rng.gamma(4.0, 1.0, shape) - 4.0) / 2.0),
}
"""Mean over hospitals, and the true accuracy of hospitals."""
SUBJECTS: Mapping[str, tuple[float, Generator]] = {
    "normal": (0.6, lambda rng, shape: np.clip(0.6 + 0.12 * rng.normal(size=shape), 0, 1)),
    "beta": (0.6, lambda rng, shape: rng.beta(6, 4, shape)),
    "skewed": (5 / 6, lambda rng, shape: rng.beta(5, 1, shape)),  # skewness -1.2
}
"""Mean over subjects, and the true accuracy of subjects."""
N_SITES, SITE_ERROR = 4, 0.035
"""Sites of a study, and the sampling error of one site's accuracy, about that of 16 patients with 12 windows each."""
_N_WINDOWS = 30


def covered_over_sites(kind: str, *, n_studies: int, seed: int, n_sites: int = N_SITES) -> tuple[float, float]:
    """Return the share of studies whose interval covers the mean over hospitals, and one more hospital's result."""
    mean, draw = SITES[kind]
    rng = np.random.default_rng([seed, 1])
    of_mean = of_new = 0
    for _ in range(n_studies):
        true = draw(rng, (n_sites + 1,))
        seen = np.clip(true + SITE_ERROR * rng.normal(size=n_sites + 1), 0, 1)
        known = over_sites(seen[:-1], bounds=(0.0, 1.0))
        of_mean += known.mean.low <= mean <= known.mean.high
        of_new += known.new_site.low <= seen[-1] <= known.new_site.high
    return of_mean / n_studies, of_new / n_studies


def covered_over_subjects(kind: str, *, n_studies: int, seed: int, n_subjects: int = 8, n_boot: int = 500) -> float:
    """Return the share of studies whose interval for the accuracy covers the mean over subjects."""
    mean, draw = SUBJECTS[kind]
    rng, covered = np.random.default_rng([seed, 2]), 0
    for study in range(n_studies):
        right = rng.binomial(_N_WINDOWS, draw(rng, (n_subjects,))) / _N_WINDOWS
        weights = next(resamples(n_subjects, n_boot=n_boot, seed=seed * 1_000_003 + study))
        drawn = weights @ right / n_subjects
        known = interval_of("accuracy", float(right.mean()), drawn, n_units=n_subjects)
        covered += known.low <= mean <= known.high
    return covered / n_studies


def furthest(shares: Mapping[str, float], level: float = 0.95) -> float:
    """Return the share that is furthest from what is stated."""
    return max(shares.values(), key=lambda share: abs(share - level))
