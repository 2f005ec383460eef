"""Drift: distances against closed forms and SciPy, planted changes found, samples of one distribution left alone."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats

from evaluation.drift.drift import FEWEST, PSI_FROM, compare, smallest_p, threshold_of
from evaluation.drift.exposition import exposition
from evaluation.drift.facts import RecordingFacts, facts_of_row, read_facts
from evaluation.drift.statistics import of_numbers, of_words, psi


def recordings(rng, n, *, site="a", gain=1.0, mains="50", rate="200", n_channels=19.0, shift=0.0, seed_name="r"):
    return [
        RecordingFacts(
            recording_id=f"{seed_name}{k}", site_id=site,
            numbers={"log10_amplitude_uv": float(np.log10(20 * gain) + 0.15 * rng.normal()), "n_channels": n_channels,
                     "quality": float(rng.beta(8, 2))},
            words={"mains_hz": mains, "rate_hz": rate}, vector=rng.normal(size=12) + shift,
        )
        for k in range(n)
    ]  # fmt: skip


def test_the_index_is_its_definition():
    # Counts 10, 30 and 20, 20 with half a count more each: shares 10.5/41, 30.5/41 and 20.5/41 twice.
    p, q = np.array([10.5, 30.5]) / 41, np.array([20.5, 20.5]) / 41
    assert psi(np.array([10, 30]), np.array([20, 20])) == pytest.approx(sum((q - p) * np.log(q / p)))
    assert psi(np.array([7, 0, 3]), np.array([7, 0, 3])) == 0.0


@given(
    st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=40),
    st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=40),
)
@settings(max_examples=25, deadline=None)
def test_distances_of_numbers_are_those_of_ranks(x, y):
    there = of_numbers(x, y)
    assert there.psi >= 0
    assert 0 <= there.p_value <= 1
    # A doubled scale changes no rank, neither bins nor test.
    scaled = of_numbers([2 * v for v in x], [2 * v for v in y])
    assert (scaled.psi, scaled.p_value) == (there.psi, there.p_value)
    if len({*x, *y}) == 1 or min(len(x), len(y)) == 1:  # nothing differs, or one value decides nothing
        assert there.p_value == 1.0
    else:
        assert there.p_value == pytest.approx(stats.ks_2samp(x, y, method="asymp").pvalue)


def test_words_that_never_came_before_are_far():
    before, now = ["50"] * 40, ["60"] * 10
    assert of_words(before, now).psi > 2
    assert of_words(before, now).p_value == pytest.approx(
        stats.chi2_contingency([[40, 0], [0, 10]], correction=False).pvalue
    )
    assert of_words(before, ["50"] * 10) == of_words(["50"], ["50"])
    assert of_words(before, ["50"] * 10).psi == 0
    with pytest.raises(ValueError, match="0 words"):
        of_words(before, [])


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"gain": 2.0}, "log10_amplitude_uv"), ({"mains": "60"}, "mains_hz"), ({"rate": "256"}, "rate_hz"),
        ({"n_channels": 12.0}, "n_channels"), ({"shift": 1.5}, "embedding"),
    ],
)  # fmt: skip
def test_a_planted_change_is_found_and_named_first(change, fact):
    rng = np.random.default_rng(3)
    reference = recordings(rng, 120)
    (site,) = compare(reference, recordings(rng, 20, seed_name="new", **change))
    assert site.is_known
    found = [drift.fact for drift in site.drifted()]
    assert found
    assert found[0].startswith(fact)
    assert all(name.startswith(fact) for name in found)


def test_weeks_of_one_distribution_raise_few_alarms():
    rng = np.random.default_rng(4)
    reference = recordings(rng, 120)
    weeks = [compare(reference, recordings(rng, 20, seed_name=f"w{k}-")) for k in range(60)]
    alarms = sum(any(site.drifted() for site in week) for week in weeks)
    # At a rate of .02 more than 5 of 60 have a probability of 1 - binom.cdf(5, 60, .02) = .0013.
    assert alarms <= 5
    assert threshold_of(weeks, false_alarms=0.0) == min(smallest_p(week) for week in weeks)
    assert sum(smallest_p(week) < threshold_of(weeks, false_alarms=0.05) for week in weeks) <= 3


def test_a_reference_that_fitted_the_components_is_no_nearer_than_what_comes():
    """Many directions, few recordings: in-sample distances would call any clean week a drift."""
    rng = np.random.default_rng(5)

    def wide(n, name):
        return [
            RecordingFacts(recording_id=f"{name}{k}", site_id="a", numbers={}, words={}, vector=rng.normal(size=300))
            for k in range(n)
        ]

    reference = wide(80, "r")
    assert not any(site.drifted() for k in range(20) for site in compare(reference, wide(20, f"w{k}-")))


def test_sites_are_compared_with_themselves_and_few_recordings_with_nothing():
    rng = np.random.default_rng(6)
    reference = [*recordings(rng, 60), *recordings(rng, 60, site="b", gain=2.0, seed_name="b")]
    current = [
        *recordings(rng, 20, site="b", gain=2.0, seed_name="x"), *recordings(rng, FEWEST - 1, site="a", seed_name="y"),
        *recordings(rng, 20, site="new", gain=5.0, seed_name="z"),
    ]  # fmt: skip
    a, b, new = compare(reference, current)
    assert a.reason == "7 recordings against 60: at least 8 on both sides are needed"
    assert not a.facts
    assert not b.drifted()  # its own gain is what it always was
    assert not new.is_known
    assert new.drifted()
    assert all(fact.psi >= PSI_FROM for fact in new.drifted())


def test_metrics_are_prometheus_text(tmp_path):
    rng = np.random.default_rng(7)
    sites = compare(recordings(rng, 40, site='we"st'), recordings(rng, 20, site='we"st', mains="60", seed_name="n"))
    families = {family.name: family for family in text_string_to_metric_families(exposition(sites, at=5.0))}
    found = {s.labels["fact"]: s.value for s in families["cerebeam_drift_found"].samples}
    assert found["mains_hz"] == 1.0
    assert found["quality"] == 0.0
    assert {s.labels["site"] for s in families["cerebeam_drift_psi"].samples} == {'we"st'}
    assert [s.value for s in families["cerebeam_drift_compared_seconds"].samples] == [5.0]


def test_facts_of_a_row_and_folders_that_are_none(tmp_path):
    row = {"recording_id": "r", "site_id": "s", "n_channels": 19, "bad_channels": [["T3", "flat"]], "mains_hz": None,
           "native_sfreq": 256.0, "amplitude_uv": 100.0, "source_reference": ""}  # fmt: skip
    facts = facts_of_row(row)
    assert facts.numbers == {"n_channels": 19.0, "n_bad_channels": 1.0, "log10_amplitude_uv": 2.0}
    assert facts.words == {"mains_hz": "none", "rate_hz": "256", "recorded_against": "unknown"}
    assert math.isclose(facts_of_row(row | {"amplitude_uv": None}).numbers["n_channels"], 19)
    with pytest.raises(ValueError, match="neither a finished shard set nor"):
        read_facts(tmp_path)
    (tmp_path / "_COMPLETED").touch()
    (tmp_path / "recordings.jsonl").write_text(json.dumps(row) + "\n{")
    with pytest.raises(ValueError, match="is damaged"):
        read_facts(tmp_path)
    (tmp_path / "recordings.jsonl").write_text(json.dumps(row) + "\n")
    assert [one.recording_id for one in read_facts(tmp_path)] == ["r"]
