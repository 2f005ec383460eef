"""The gap between sites in embeddings: each site against all others, before and after the site is erased.

- proxy A-distance 2 (1 - 2 error) of a linear classifier between the two sides (Ben-David et al. 2007), people held out
- MMD^2 with a Gaussian kernel of median width (Gretton et al. 2012), pairs of windows of the same person left out, so
  that people who resemble themselves are no gap; its p-value comes from shuffling people between the sides
- CORAL: squared distance of the covariances, over 4 d^2 (Sun & Saenko 2016)
- site probe and subject probe (`evaluation.domain.probes`)
All on vectors scaled to unit variance, each dimension. At most MAX_WINDOWS windows a side are used, evenly over people.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.domain.probes import Probe, probe
from evaluation.schemas.embeddings import Embeddings

MAX_WINDOWS = 500
MAX_SUBJECTS = 20
"""People of a site in the subject probe."""
N_PERMUTATIONS = 999
FEW_PEOPLE = "fewer than two subjects on a side"


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Distance between two sides; what is undefined is nan, and `reason` states why."""

    name: str
    """The site, against all others."""
    n_windows: int
    n_subjects: int
    a_distance: float
    """0: not separable by a linear classifier; 2: separated without a mistake."""
    mmd2: float
    """Around 0 without a gap, may be negative."""
    mmd_p: float
    coral: float
    subject_probe: Probe
    """Who is it, within the site; windows held out one by one."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class DomainGap:
    """Distances between sites in embeddings."""

    model: str
    gaps: tuple[Gap, ...]
    site_probe: Probe
    site_probe_erased: Probe
    label_probe: Probe
    """What the windows' label can be read by, people held out; empty labels left out."""
    label_probe_erased: Probe


def evenly(subjects: np.ndarray, most: int, *, seed: int) -> np.ndarray:
    """Return at most `most` rows, ascending, as equal in number a subject as they can be; drawn by seed."""
    if len(subjects) <= most:
        return np.arange(len(subjects))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(subjects))
    codes = np.unique(subjects, return_inverse=True)[1][order]
    by_subject = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[by_subject], codes)
    rank = np.empty(len(order), dtype=np.int64)
    rank[by_subject] = np.arange(len(order))
    turn = rank - starts  # a subject's first windows come before anyone's second
    return np.sort(order[np.argsort(turn, kind="stable")[:most]])


def standardised(values: np.ndarray) -> np.ndarray:
    """Return vectors with mean 0 and deviation 1 in each dimension that varies, float64, shape (n, n_dims)."""
    x = np.asarray(values, dtype=np.float64)
    scale = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(scale > 1e-12, scale, 1.0)


def a_distance(first: np.ndarray, second: np.ndarray, people: np.ndarray, *, seed: int) -> float:
    """Return the proxy A-distance in [0, 2] of two sides; `people` names the subject of each row, first side first."""
    side = np.repeat([0, 1], [len(first), len(second)])
    result = probe(np.vstack([first, second]), side, people, seed=seed)
    return float("nan") if result.reason else max(0.0, 2 * (2 * result.accuracy - 1))


def coral(first: np.ndarray, second: np.ndarray) -> float:
    """Return the CORAL distance of two sides; nan with fewer than two windows on one."""
    if min(len(first), len(second)) < 2:
        return float("nan")
    apart = np.cov(first, rowvar=False) - np.cov(second, rowvar=False)
    return float((np.atleast_2d(apart) ** 2).sum() / (4 * first.shape[1] ** 2))


def mmd(first: np.ndarray, second: np.ndarray, people: np.ndarray, *, seed: int) -> tuple[float, float]:
    """Return (MMD^2, p-value) of two sides; nan with fewer than two people on one.

    Sums of the kernel between people are all that is needed: each shuffle of people is then a product of small
    matrices. `people` names the subject of each row, first side first; nobody is on both sides.
    """
    x = np.vstack([first, second])
    names, codes = np.unique(people, return_inverse=True)
    side = np.zeros(len(names))
    side[codes[: len(first)]] = 1.0
    if min(side.sum(), len(side) - side.sum()) < 2:
        return float("nan"), float("nan")
    square = (x**2).sum(axis=1)
    apart = np.maximum(square[:, None] + square[None, :] - 2 * x @ x.T, 0.0)
    width = np.median(apart[~np.eye(len(x), dtype=bool)])
    member = np.eye(len(names))[codes]
    kernel = member.T @ np.exp(-apart / max(width, 1e-12)) @ member
    count = np.outer(member.sum(axis=0), member.sum(axis=0))
    np.fill_diagonal(kernel, 0.0)
    np.fill_diagonal(count, 0.0)
    rng = np.random.default_rng(seed)
    sides = np.stack([side, *(rng.permutation(side) for _ in range(N_PERMUTATIONS))])
    values = _mmd2(sides, kernel, count)
    return float(values[0]), float((values >= values[0] - 1e-12).mean())


def _mmd2(sides: np.ndarray, kernel: np.ndarray, count: np.ndarray) -> np.ndarray:
    def mean(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return ((left @ kernel) * right).sum(axis=1) / ((left @ count) * right).sum(axis=1)

    return mean(sides, sides) + mean(1 - sides, 1 - sides) - 2 * mean(sides, 1 - sides)


def domain_gap(embeddings: Embeddings, *, seed: int = 0) -> DomainGap:
    """Return every measure of the gap between the sites of an embeddings file."""
    frame, values = embeddings.frame, standardised(embeddings.values)
    sites, subjects = (frame[name].to_numpy(dtype=str) for name in ("site_id", "subject_id"))
    labels = frame["label"].to_numpy(dtype=str)
    names = np.unique(sites)
    chosen = np.concatenate(
        [np.flatnonzero(sites == site)[evenly(subjects[sites == site], MAX_WINDOWS, seed=seed)] for site in names]
    )
    some_x, some_sites, some_people = values[chosen], sites[chosen], subjects[chosen]
    labelled = chosen[labels[chosen] != ""]
    return DomainGap(
        model=embeddings.model,
        gaps=tuple(_gap(values, sites, subjects, str(site), seed=seed) for site in names),
        site_probe=probe(some_x, some_sites, some_people, seed=seed),
        site_probe_erased=probe(some_x, some_sites, some_people, seed=seed, erase=some_sites),
        label_probe=probe(values[labelled], labels[labelled], subjects[labelled], seed=seed),
        label_probe_erased=probe(
            values[labelled], labels[labelled], subjects[labelled], seed=seed, erase=sites[labelled]
        ),
    )


def _gap(values: np.ndarray, sites: np.ndarray, subjects: np.ndarray, site: str, *, seed: int) -> Gap:
    inside = np.flatnonzero(sites == site)
    outside = np.flatnonzero((sites != site) & ~np.isin(subjects, subjects[inside]))
    first = inside[evenly(subjects[inside], MAX_WINDOWS, seed=seed)]
    second = outside[evenly(subjects[outside], MAX_WINDOWS, seed=seed)]
    people = np.concatenate([subjects[first], subjects[second]])
    nan = float("nan")
    measured = {"a_distance": nan, "mmd2": nan, "mmd_p": nan, "coral": nan}
    reason = ""
    if min(len(np.unique(subjects[first])), len(np.unique(subjects[second]))) < 2:
        reason = FEW_PEOPLE
    else:
        x, y = values[first], values[second]
        mmd2, p = mmd(x, y, people, seed=seed)
        measured = {"a_distance": a_distance(x, y, people, seed=seed), "mmd2": mmd2, "mmd_p": p, "coral": coral(x, y)}
    return Gap(
        name=site, n_windows=len(inside), n_subjects=len(np.unique(subjects[inside])), reason=reason,
        subject_probe=_subject_probe(values[inside], subjects[inside], seed=seed), **measured,
    )  # fmt: skip


def _subject_probe(values: np.ndarray, subjects: np.ndarray, *, seed: int) -> Probe:
    people = np.random.default_rng(seed).permutation(np.unique(subjects))[:MAX_SUBJECTS]
    chosen = np.flatnonzero(np.isin(subjects, people))
    chosen = chosen[evenly(subjects[chosen], MAX_WINDOWS, seed=seed)]
    return probe(values[chosen], subjects[chosen], None, seed=seed)
