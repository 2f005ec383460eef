"""A gap between sites of known size: whether `evaluation.domain.gap` ranks sites as the generator planted it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluation.domain.gap import a_distance, coral, mmd, standardised
from studies.planted.corpus import CLASSES, make_corpus
from synthetic.recordings.sites import Site

SIZES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)
"""Planted sizes: each is that many times 20% of gain error, 1.2 µV of amplifier noise and 4 µV of mains hum.

The largest is worse than a dry consumer headset against a clinical amplifier. Below size 1, twelve people a site are
too few to see a gap in features."""


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """Planted sizes and measured distances to a site without a gap, in the same order."""

    planted: tuple[float, ...]
    mmd2: tuple[float, ...]
    a_distance: tuple[float, ...]
    coral: tuple[float, ...]
    rho: dict[str, float] = field(default_factory=dict)
    """Spearman correlation of planted and measured, a measure each."""


def graded_sites(sizes: Sequence[float] = SIZES) -> tuple[Site, ...]:
    """Return a site without a gap, and one of each size; all else is alike."""
    return tuple(
        Site(site_id=name, file_format="edf", montage="old-19", sfreq=200.0, mains_hz=50.0, mains_uv=2.0 + 4.0 * size,
             reference="average", gain=1.0 + 0.2 * size, noise_uv=0.4 + 1.2 * size)
        for name, size in [("origin", 0.0), *((f"gap-{size:g}", size) for size in sizes)]
    )  # fmt: skip


def recover(*, seed: int, sizes: Sequence[float] = SIZES, n_subjects: int = 12) -> Recovered:
    """Return what is measured of planted gaps, each site against the one without.

    The same people travel to every site, so that how people differ is no gap; embeddings are the features' means.
    """
    from scipy.stats import spearmanr

    corpus = make_corpus(
        seed=seed, sites=graded_sites(sizes), n_subjects=n_subjects, classes=CLASSES[:1], travelling=True
    )
    values = standardised(corpus.features[:, : corpus.features.shape[1] // 2])
    origin = corpus.sites == "origin"
    measured: dict[str, list[float]] = {"mmd2": [], "a_distance": [], "coral": []}
    for size in sizes:
        there = corpus.sites == f"gap-{size:g}"
        first, second = values[origin], values[there]
        people = np.concatenate([corpus.subjects[origin], corpus.subjects[there]])
        measured["mmd2"].append(mmd(first, second, people, seed=seed)[0])
        measured["a_distance"].append(a_distance(first, second, people, seed=seed))
        measured["coral"].append(coral(first, second))
    rho = {name: float(spearmanr(sizes, distances).statistic) for name, distances in measured.items()}
    return Recovered(planted=tuple(sizes), rho=rho, **{name: tuple(distances) for name, distances in measured.items()})
