"""Measures of the gap between sites against loops, known distances, and a truth without a gap."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist, pdist

from evaluation.domain.gap import FEW_PEOPLE, a_distance, coral, domain_gap, evenly, mmd, standardised
from evaluation.schemas.embeddings import Embeddings


def sides(n_people: int, n_windows: int, *, own: float, shift: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Two sides of people with a signature of size `own` each, `shift` apart in the first dimension."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(2 * n_people), n_windows)
    x = own * rng.normal(size=(2 * n_people, 4))[people] + rng.normal(size=(len(people), 4))
    x[people >= n_people, 0] += shift
    half = n_people * n_windows
    return x[:half], x[half:], people.astype(str)


def test_mmd_equals_a_loop_over_pairs_of_different_people() -> None:
    first, second, people = sides(3, 4, own=1.0, shift=1.0)
    x = np.vstack([first, second])
    width = np.median(np.concatenate([pdist(x, "sqeuclidean")] * 2))
    kernel = np.exp(-cdist(x, x, "sqeuclidean") / width)
    groups: dict[str, list[float]] = {"aa": [], "bb": [], "ab": []}
    for i in range(24):
        for j in range(24):
            if people[i] != people[j]:
                groups["".join(sorted("ab"[k >= 12] for k in (i, j)))].append(kernel[i, j])
    expected = np.mean(groups["aa"]) + np.mean(groups["bb"]) - 2 * np.mean(groups["ab"])
    assert mmd(first, second, people, seed=0)[0] == pytest.approx(expected, abs=1e-12)


def test_people_who_resemble_themselves_are_no_gap() -> None:
    # 40 studies without a gap: p-values must be uniform, so about 4 lie below 0.1 (binomial: 9 or fewer in 98.5%).
    found = [mmd(*sides(6, 10, own=2.0, shift=0.0, seed=s), seed=0) for s in range(40)]
    assert sum(p <= 0.1 for _, p in found) <= 9
    values = np.array([value for value, _ in found])
    assert abs(values.mean()) < 3 * values.std(ddof=1) / np.sqrt(40)
    assert mmd(*sides(8, 10, own=0.5, shift=3.0), seed=0)[1] <= 0.01


def test_a_distance_runs_from_0_to_2() -> None:
    first, second, people = sides(8, 20, own=0.2, shift=0.0)
    assert a_distance(first, second, people, seed=0) < 0.6
    assert a_distance(*sides(8, 20, own=0.2, shift=30.0), seed=0) == pytest.approx(2.0)


def test_coral_of_known_covariances() -> None:
    # Covariances I and 4 I in 3 dimensions differ by 3 on the diagonal: 3 * 9 / (4 * 9) = 0.75.
    x = np.vstack([np.eye(3), -np.eye(3)]) * np.sqrt(5 / 2)  # unbiased covariance I
    assert coral(x, 2 * x) == pytest.approx(0.75)
    assert coral(x, x + 7) == pytest.approx(0.0)


def test_evenly_takes_as_many_of_each() -> None:
    subjects = np.repeat(["a", "b", "c"], [50, 3, 20])
    taken = subjects[evenly(subjects, 21, seed=0)]
    assert {s: int((taken == s).sum()) for s in "abc"} == {"a": 9, "b": 3, "c": 9}
    np.testing.assert_array_equal(evenly(subjects, 100, seed=0), np.arange(73))


def make_embeddings(shift: float, *, n_people: int = 8, n_windows: int = 12) -> Embeddings:
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(3 * n_people), n_windows)
    site, label = people // n_people, np.arange(len(people)) % 2
    x = 0.5 * rng.normal(size=(3 * n_people, 6))[people] + rng.normal(size=(len(people), 6))
    x[:, 0] += shift * (site == 2)
    x[:, 1] += 3.0 * label
    frame = pd.DataFrame(
        {"window_key": [f"w{i}" for i in range(len(x))], "recording_id": people.astype(str),
         "subject_id": people.astype(str), "site_id": np.array(["a", "b", "odd"])[site],
         "label": np.array(["rest", "task"])[label]}
    )  # fmt: skip
    return Embeddings(frame=frame, values=x.astype(np.float32), meta={"model": "m", "encoder": "features"})


def test_the_odd_site_stands_out_and_erasing_it_leaves_the_label() -> None:
    # 48 people: what fewer leave to a probe by accident differs from one processor to the next.
    found = domain_gap(make_embeddings(6.0, n_people=16))
    gaps = {gap.name: gap for gap in found.gaps}
    for measure in ("a_distance", "mmd2"):
        assert getattr(gaps["odd"], measure) > max(getattr(gaps[s], measure) for s in "ab")
    assert gaps["odd"].mmd_p <= 0.01
    assert found.site_probe.chance == pytest.approx(1 / 3)
    assert found.site_probe.accuracy > 0.55
    assert found.site_probe_erased.accuracy < 0.45
    assert found.label_probe.accuracy > 0.85
    assert found.label_probe_erased.accuracy > 0.85
    assert gaps["a"].subject_probe.accuracy > 1.5 * gaps["a"].subject_probe.chance


def test_a_site_with_one_subject_has_no_gap_but_a_reason() -> None:
    whole = make_embeddings(6.0)
    kept = (whole.frame["site_id"] != "odd") | (whole.frame["subject_id"] == "16")
    less = Embeddings(frame=whole.frame[kept].reset_index(drop=True), values=whole.values[kept], meta=whole.meta)
    gap = {gap.name: gap for gap in domain_gap(less).gaps}["odd"]
    assert np.isnan([gap.a_distance, gap.mmd2, gap.coral]).all()
    assert gap.reason == FEW_PEOPLE
    assert domain_gap(less).site_probe.reason


def test_standardised_has_unit_variance_and_leaves_constants() -> None:
    x = standardised(np.column_stack([np.arange(5.0), np.ones(5)]))
    np.testing.assert_allclose(x.std(axis=0), [1.0, 0.0])
