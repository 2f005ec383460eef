"""LEACE by its defining properties: no linear trace is left, and no smaller change would do."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from evaluation.domain.erasure import fit_eraser


@pytest.fixture
def embedded() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    concept = rng.integers(0, 3, 600)
    mix = rng.normal(size=(8, 8))
    return rng.normal(size=(600, 8)) @ mix + rng.normal(size=(3, 8))[concept] * 3, concept


def test_no_covariance_with_the_concept_is_left(embedded: tuple[np.ndarray, np.ndarray]) -> None:
    x, concept = embedded
    erased = fit_eraser(x, concept)(x)
    means = np.stack([erased[concept == k].mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(means, np.tile(erased.mean(axis=0), (3, 1)), atol=1e-9)
    before, after = (LogisticRegression(max_iter=500).fit(v, concept).score(v, concept) for v in (x, erased))
    assert before > 0.9
    assert after <= np.bincount(concept).max() / 600 + 0.01  # the largest class


def test_change_has_the_rank_of_the_concept_and_repeats_to_nothing(embedded: tuple[np.ndarray, np.ndarray]) -> None:
    x, concept = embedded
    eraser = fit_eraser(x, concept)
    assert np.linalg.matrix_rank(eraser.change) == 2
    np.testing.assert_allclose(eraser(eraser(x)), eraser(x), atol=1e-8)
    np.testing.assert_allclose(eraser(x).mean(axis=0), x.mean(axis=0), atol=1e-9)


def test_change_is_smaller_than_that_of_projecting_class_means_out(embedded: tuple[np.ndarray, np.ndarray]) -> None:
    # Both leave no covariance with the concept; LEACE is the least change in mean squares (its theorem 4.3).
    x, concept = embedded
    gaps = np.stack([x[concept == k].mean(axis=0) - x.mean(axis=0) for k in range(2)])
    basis = np.linalg.svd(gaps, full_matrices=False)[2]
    projected = x - (x - x.mean(axis=0)) @ basis.T @ basis
    erased = fit_eraser(x, concept)(x)
    assert ((erased - x) ** 2).sum() < 0.999 * ((projected - x) ** 2).sum()


def test_uncorrelated_dimensions_lose_the_direction_of_the_means() -> None:
    # Two classes at (-1, 0) and (1, 0), whitened alike in both dimensions: the first dimension becomes constant.
    x = np.array([[-1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
    np.testing.assert_allclose(fit_eraser(x, np.array([0, 0, 1, 1]))(x), x * [0, 1], atol=1e-12)


def test_dimensions_that_do_not_vary_do_no_harm() -> None:
    x = np.column_stack([np.random.default_rng(0).normal(size=(50, 2)), np.ones(50)])
    assert np.isfinite(fit_eraser(x, np.arange(50) % 2)(x)).all()
    with pytest.raises(ValueError, match="at least 2 vectors"):
        fit_eraser(x[:1], np.zeros(1))
