"""Probes meet nobody twice."""

import numpy as np
import pytest

from evaluation.domain.probes import probe


def people_of(n_people: int, n_windows: int, *, dims: int = 40, shift: float = 0.0) -> tuple[np.ndarray, ...]:
    """People with a strong signature of their own; the second half of them at another site."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(n_people), n_windows)
    site = (people >= n_people // 2).astype(int)
    x = rng.normal(size=(n_people, dims))[people] * 3 + rng.normal(size=(len(people), dims))
    x[:, 0] += shift * site
    return x, site, people


def test_a_site_of_its_people_only_is_not_read_when_people_are_held_out() -> None:
    x, site, people = people_of(12, 30)
    assert probe(x, site, None, seed=0).accuracy > 0.95  # rows held out: it knows the people
    assert probe(x, site, people, seed=0).accuracy < 0.75


def test_a_real_gap_is_read_and_erased() -> None:
    x, site, people = people_of(40, 10, dims=5, shift=20.0)
    assert probe(x, site, people, seed=0).accuracy > 0.95
    assert probe(x, site, people, seed=0, erase=site).accuracy == pytest.approx(0.5, abs=0.2)


def test_undefined_has_its_reason() -> None:
    x, site, people = people_of(4, 5)
    assert probe(x, np.zeros(20), people, seed=0).reason == "there is one class only"
    alone = probe(x, (people == 0).astype(int), people, seed=0)
    assert np.isnan(alone.accuracy)
    assert "too few groups" in alone.reason
    assert probe(x, site, people, seed=0).chance == 0.5
