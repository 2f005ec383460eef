"""Geometry of embeddings: whether classes cluster, neighbours of other people agree, and a map to look at."""

from dataclasses import dataclass, field

import numpy as np

from evaluation.domain.gap import evenly, standardised
from evaluation.schemas.embeddings import Embeddings

N_NEIGHBOURS = 15
MAX_POINTS = 800
"""Windows that are drawn and compared, evenly over people."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Measures and maps of one embeddings file; what is undefined is nan."""

    model: str
    n_windows: int
    n_dims: int
    effective_dims: float
    """Participation ratio of the covariance: (sum of eigenvalues)^2 over their sum of squares."""
    silhouette_label: float
    """Mean silhouette (Rousseeuw 1987) in [-1, 1] of classes; beside it that of sites, which ought to be lower."""
    silhouette_site: float
    separability: float
    """Variance between class means over that within classes, all dimensions together; 0: no difference."""
    knn_label: float
    """Balanced accuracy of the vote of 15 nearest windows of other people."""
    knn_site: float
    """The same for the site."""
    map: "Map"


@dataclass(frozen=True, kw_only=True)
class Map:
    """Two dimensions of every drawn window."""

    pca: tuple[tuple[float, float], ...] = field(repr=False)
    tsne: tuple[tuple[float, float], ...] = field(repr=False)
    """Neighbourhoods only: its distances and sizes mean nothing (van der Maaten & Hinton 2008). Empty below 10."""
    labels: tuple[str, ...] = field(repr=False)
    sites: tuple[str, ...] = field(repr=False)
    explained: float
    """Share of the variance that the two dimensions of `pca` hold."""


def geometry(embeddings: Embeddings, *, seed: int = 0) -> Geometry:
    """Return measures and maps, on at most `MAX_POINTS` windows."""
    subjects = embeddings.frame["subject_id"].to_numpy(dtype=str)
    chosen = evenly(subjects, MAX_POINTS, seed=seed)
    x, people = standardised(embeddings.values)[chosen], subjects[chosen]
    labels, sites = (embeddings.frame[name].to_numpy(dtype=str)[chosen] for name in ("label", "site_id"))
    labelled = labels != ""
    sizes = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    return Geometry(
        model=embeddings.model,
        n_windows=len(x),
        n_dims=x.shape[1],
        effective_dims=float(sizes.sum() ** 2 / (sizes**2).sum()) if sizes.sum() > 0 else float("nan"),
        silhouette_label=silhouette(x[labelled], labels[labelled]),
        silhouette_site=silhouette(x, sites),
        separability=separability(x[labelled], labels[labelled]),
        knn_label=knn_accuracy(x[labelled], labels[labelled], people[labelled]),
        knn_site=knn_accuracy(x, sites, people),
        map=_map(x, labels, sites, seed=seed),
    )


def silhouette(x: np.ndarray, names: np.ndarray) -> float:
    """Return the mean silhouette of named groups; nan for fewer than two groups, or one per window."""
    from sklearn.metrics import silhouette_score

    n_groups = len(np.unique(names))
    return float(silhouette_score(x, names)) if 2 <= n_groups < len(x) else float("nan")


def separability(x: np.ndarray, names: np.ndarray) -> float:
    """Return the trace of the scatter between groups over that within them (Fisher 1936); nan for one group."""
    groups, codes = np.unique(names, return_inverse=True)
    if len(groups) < 2:
        return float("nan")
    counts = np.bincount(codes)
    means = np.stack([x[codes == k].mean(axis=0) for k in range(len(groups))])
    between = (counts[:, None] * (means - x.mean(axis=0)) ** 2).sum()
    within = ((x - means[codes]) ** 2).sum()
    return float(between / within) if within > 0 else float("nan")


def knn_accuracy(x: np.ndarray, names: np.ndarray, people: np.ndarray, *, k: int = N_NEIGHBOURS) -> float:
    """Return the balanced accuracy of the vote of each window's nearest windows of other people; ties share.

    nan for fewer than two groups, or where someone has no k windows of other people.
    """
    groups, codes = np.unique(names, return_inverse=True)
    if len(groups) < 2 or len(x) == 0:
        return float("nan")
    square = (x**2).sum(axis=1)
    apart = square[:, None] + square[None, :] - 2 * x @ x.T
    own = people[:, None] == people[None, :]
    if (~own).sum(axis=1).min() < k:
        return float("nan")
    apart[own] = np.inf
    near = np.argpartition(apart, k - 1, axis=1)[:, :k]
    votes = np.stack([(codes[near] == j).sum(axis=1) for j in range(len(groups))], axis=1)
    top = votes == votes.max(axis=1, keepdims=True)
    right = (top / top.sum(axis=1, keepdims=True))[np.arange(len(x)), codes]
    return float(np.mean([right[codes == j].mean() for j in range(len(groups))]))


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Return the linear centred kernel alignment of two representations of the same n rows, (n, p) and (n, q).

    1 where one is the other turned and scaled, near 0 where they have nothing in common (Kornblith et al. 2019,
    equation 5); with few rows it lies well above 0 by chance. nan where one is constant. Raises ValueError for
    different numbers of rows.
    """
    if len(a) != len(b):
        raise ValueError(f"representations of {len(a)} and {len(b)} rows cannot be compared")
    a, b = (np.asarray(x, dtype=np.float64) - np.mean(x, axis=0, dtype=np.float64) for x in (a, b))
    size = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / size) if size > 0 else float("nan")


def _map(x: np.ndarray, labels: np.ndarray, sites: np.ndarray, *, seed: int) -> Map:
    from sklearn.manifold import TSNE

    centred = x - x.mean(axis=0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    flip = np.sign(vt[np.arange(len(vt)), np.abs(vt).argmax(axis=1)])  # a sign of its own would differ by machine
    pca = (u * s * flip)[:, :2] if u.shape[1] > 1 else np.column_stack([u * s, np.zeros(len(u))])
    tsne = np.zeros((0, 2))
    if len(x) >= 10 and s.max(initial=0.0) > 0:
        # The first 50 components: the rest is noise for a map, and time.
        start = (u * s * flip)[:, :50]
        perplexity = min(30.0, (len(x) - 1) / 3)
        tsne = TSNE(init="pca", random_state=seed, perplexity=perplexity, n_jobs=1).fit_transform(start)
    total = float((s**2).sum())
    return Map(
        pca=_points(pca), tsne=_points(tsne), labels=tuple(labels.tolist()), sites=tuple(sites.tolist()),
        explained=float((s[:2] ** 2).sum() / total) if total > 0 else float("nan"),
    )  # fmt: skip


def _points(values: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((round(float(a), 3), round(float(b), 3)) for a, b in values)
