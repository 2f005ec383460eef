"""Intervals cover what they state, for few sites and few subjects, whatever the generator."""

import pytest

from studies.planted.coverage import SITES, SUBJECTS, covered_over_sites, covered_over_subjects, furthest


@pytest.mark.parametrize("kind", SITES)
def test_intervals_over_four_sites_cover_the_mean_and_a_new_hospital(kind: str) -> None:
    # 1,500 studies: a share of 0.95 has a standard error of 0.0056.
    mean, new = covered_over_sites(kind, n_studies=1500, seed=0)
    assert 0.93 <= mean <= 0.98
    assert 0.93 <= new <= 0.98


@pytest.mark.parametrize("kind", SUBJECTS)
def test_intervals_over_eight_subjects_cover_the_mean(kind: str) -> None:
    assert 0.93 <= covered_over_subjects(kind, n_studies=1200, seed=0) <= 0.98


def test_the_worst_generator_is_the_one_furthest_away() -> None:
    assert furthest({"a": 0.94, "b": 0.97, "c": 0.955}) == 0.97
    assert furthest({"a": 0.92, "b": 0.97}) == 0.92
