"""Measures of embeddings against scikit-learn and by hand; the map is the same every time."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from evaluation.domain.gap import standardised
from evaluation.domain.geometry import geometry, knn_accuracy, linear_cka, separability, silhouette
from evaluation.schemas.embeddings import Embeddings


def test_neighbours_are_those_of_other_people() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(10), 6)
    names = people % 2  # a person has one class: counting own windows would be a leak
    x = rng.normal(size=(10, 5))[people] * 5 + 0.1 * rng.normal(size=(60, 5))
    assert knn_accuracy(x, names, people, k=5) < 0.8
    right = []
    for i in range(60):
        others = np.flatnonzero(people != people[i])
        near = NearestNeighbors(n_neighbors=5).fit(x[others]).kneighbors(x[i : i + 1])[1][0]
        right.append(np.bincount(names[others][near], minlength=2).argmax() == names[i])
    expected = np.mean([np.mean(np.array(right)[names == k]) for k in range(2)])
    assert knn_accuracy(x, names, people, k=5) == pytest.approx(expected)


def test_separability_by_hand() -> None:
    # Means -1 and 1, two points each at +-0.5 of them: between 4 * 1, within 4 * 0.25.
    x = np.array([[-1.5], [-0.5], [0.5], [1.5]])
    assert separability(x, np.array(["a", "a", "b", "b"])) == pytest.approx(4.0)
    assert np.isnan(separability(x, np.array(["a"] * 4)))
    assert np.isnan(silhouette(x, np.array(["a"] * 4)))


def test_the_map_is_the_principal_plane_and_repeats() -> None:
    rng = np.random.default_rng(1)
    label = np.arange(60) % 2
    x = rng.normal(size=(60, 5)).astype(np.float32)
    x[:, 1] += 3.0 * label
    frame = pd.DataFrame(
        {"window_key": [f"w{i}" for i in range(60)], "recording_id": "r", "site_id": "s",
         "subject_id": (np.arange(60) // 10).astype(str), "label": np.array(["rest", "task"])[label]}
    )  # fmt: skip
    made = Embeddings(frame=frame, values=x, meta={"model": "m", "encoder": "features"})
    first, second = geometry(made, seed=3), geometry(made, seed=3)
    assert first.map == second.map
    assert np.isnan(first.silhouette_site)  # one site
    plane = PCA(2).fit(standardised(made.values))
    theirs = np.abs(plane.transform(standardised(made.values)))
    np.testing.assert_allclose(np.abs(first.map.pca), theirs, atol=1e-3)
    assert first.map.explained == pytest.approx(plane.explained_variance_ratio_.sum())
    assert len(first.map.tsne) == len(first.map.labels) == first.n_windows
    assert first.silhouette_label > 0
    assert 1 < first.effective_dims <= first.n_dims


def hsic(a: np.ndarray, b: np.ndarray) -> float:
    """Trace of the centred Gram matrices' product, straight from its definition."""
    centre = np.eye(len(a)) - 1 / len(a)
    return float(np.trace(a @ a.T @ centre @ b @ b.T @ centre))


def test_cka_is_the_normalised_alignment_of_gram_matrices() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 7)), rng.normal(size=(30, 4)) + 3
    b[:, 0] += a[:, 1]
    wanted = hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))
    assert linear_cka(a, b) == pytest.approx(wanted)
    turned = a @ np.linalg.qr(rng.normal(size=(7, 7)))[0] * 5 + 2
    assert linear_cka(a, turned) == pytest.approx(1.0)
    assert np.isnan(linear_cka(a, np.ones((30, 2))))
    with pytest.raises(ValueError, match="30 and 29 rows"):
        linear_cka(a, b[:29])
