"""Drift: distances against closed forms and SciPy, planted changes found, samples of one distribution left alone."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats

from evaluation.drift.drift import FEWEST, PSI_FROM, Drift, SiteDrift, compare, smallest_p, threshold_of
from evaluation.drift.exposition import exposition
from evaluation.drift.facts import RecordingFacts, facts_of_row, read_facts, with_vectors
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


def week(*facts: tuple[float, float], site: str = "a") -> SiteDrift:
    """A site with a fact per (index, p-value)."""
    drifts = tuple(
        Drift(site_id=site, fact=f"f{k}", psi=psi_of, p_value=p, n_reference=9, n_current=8)
        for k, (psi_of, p) in enumerate(facts)
    )
    return SiteDrift(site_id=site, n_current=8, is_known=True, facts=drifts)


def test_an_alarm_goes_by_the_smallest_p_of_what_is_large():
    assert smallest_p([]) == 1.0
    assert smallest_p([week((0.2, 0.001), (0.3, 0.5)), week((0.25, 0.04), (9.0, 0.3))]) == 0.04
    assert smallest_p([week((0.2, 0.001))]) == 1.0  # certain, and small
    found = week((0.25, 0.0199), (0.25, 0.02), (0.2499, 0.001), (3.0, 0.0))
    assert [fact.fact for fact in found.drifted()] == ["f0", "f3"]
    assert [fact.fact for fact in found.drifted(0.01)] == ["f3"]


def test_a_threshold_leaves_the_share_of_clean_weeks_below_it():
    weeks = [[week((1.0, p))] for p in (0.5, 0.1, 0.4, 0.2, 0.3)]
    for share, threshold in ((0.0, 0.1), (0.19, 0.1), (0.2, 0.2), (0.79, 0.4), (0.8, 0.5), (1.0, 0.5)):
        assert threshold_of(weeks, false_alarms=share) == threshold


def test_a_sites_facts_are_the_distances_of_its_own_values():
    rng = np.random.default_rng(8)
    reference = [*recordings(rng, 30), *recordings(rng, 9, site="b", gain=9.0, seed_name="b")]
    current = recordings(rng, 12, gain=1.3, mains="60", seed_name="n")
    current = [one if k else RecordingFacts(recording_id="n0", site_id="a", numbers={"quality": 0.5}, words={})
               for k, one in enumerate(current)]  # fmt: skip
    (site,) = compare(reference, current)
    assert (site.site_id, site.n_current, site.is_known, site.reason) == ("a", 12, True, "")
    facts = {fact.fact: fact for fact in site.facts}
    names = [*(f"embedding_{k}" for k in (1, 2, 3)), "embedding_distance"]  # 15 recordings fit three components
    assert sorted(facts) == sorted(["log10_amplitude_uv", "n_channels", "quality", "mains_hz", "rate_hz", *names])
    own = reference[:30]
    for name in ("log10_amplitude_uv", "quality"):
        x, y = ([one.numbers[name] for one in side if name in one.numbers] for side in (own, current))
        expected = of_numbers(x, y)
        assert facts[name].psi == expected.psi
        assert facts[name].p_value == min(1.0, expected.p_value * 9)
        assert (facts[name].n_reference, facts[name].n_current) == (30, len(y))
    assert len(y) == 12
    words = of_words(["50"] * 30, ["60"] * 11)
    assert (facts["mains_hz"].psi, facts["mains_hz"].p_value) == (words.psi, words.p_value * 9)
    assert [f.fact for f in site.facts] == [
        f.fact for f in sorted(site.facts, key=lambda f: (f.p_value, -f.psi, f.fact))
    ]
    assert site.facts[0].fact == "mains_hz"


def test_components_are_those_of_one_half_and_the_other_half_is_compared():
    rng = np.random.default_rng(9)
    reference = recordings(rng, 40)
    current = recordings(rng, 10, shift=0.4, seed_name="n")
    (site,) = compare(reference, current)
    facts = {fact.fact: fact for fact in site.facts}
    ordered = sorted(reference, key=lambda one: one.recording_id)
    basis = np.stack([one.vector for one in ordered[::2]])
    centre, spread = basis.mean(axis=0), basis.std(axis=0)
    _, sizes, axes = np.linalg.svd((basis - centre) / spread, full_matrices=False)
    at = [
        (np.stack([one.vector for one in side]) - centre) / spread @ axes[:4].T / (sizes[:4] / np.sqrt(20))
        for side in (ordered[1::2], current)
    ]
    for k in range(4):
        expected = of_numbers(at[0][:, k], at[1][:, k])
        drift = facts[f"embedding_{k + 1}"]
        assert (drift.n_reference, drift.n_current) == (20, 10)
        assert drift.p_value == pytest.approx(min(1.0, expected.p_value * len(facts)))
    far = of_numbers(*(np.sqrt((each**2).mean(axis=1)) for each in at))
    assert facts["embedding_distance"].p_value == pytest.approx(min(1.0, far.p_value * len(facts)))
    assert facts["embedding_distance"].psi == pytest.approx(far.psi)
    # Of sixteen vectors either half are eight, the fewest that are fitted and compared; of fifteen seven are left.
    for n, is_compared in ((16, True), (15, False), (14, False)):
        few = [*recordings(rng, n), *with_vectors(recordings(rng, 16, seed_name="z"), {})]
        assert ("embedding_1" in {fact.fact for fact in compare(few, current)[0].facts}) is is_compared


def test_eight_recordings_on_both_sides_are_enough():
    rng = np.random.default_rng(10)
    eight, seven = recordings(rng, 8), recordings(rng, 7)
    assert compare(eight, recordings(rng, 8, seed_name="n"))[0].facts
    assert compare(eight, recordings(rng, 7, seed_name="n"))[0].reason.startswith("7 recordings against 8")
    (site,) = compare([*seven, *recordings(rng, 8, site="b", seed_name="b")], recordings(rng, 8, seed_name="n"))
    assert not site.is_known
    assert max(fact.n_reference for fact in site.facts) == 15  # all of the reference
    assert compare(seven, eight)[0].reason.startswith("8 recordings against 7")


def test_metrics_are_these_lines():
    sites = [
        week((0.5, 0.001), (0.1, 0.25), site='a"\\'),
        SiteDrift(site_id="b", n_current=3, is_known=False, facts=(), reason="few"),
    ]
    assert exposition(sites, at=1234.6).splitlines() == [
        "# HELP cerebeam_drift_psi Population stability index of a fact against the training corpus",
        "# TYPE cerebeam_drift_psi gauge",
        'cerebeam_drift_psi{site="a\\"\\\\",fact="f0"} 0.5',
        'cerebeam_drift_psi{site="a\\"\\\\",fact="f1"} 0.1',
        "# HELP cerebeam_drift_p_value p-value of the two-sample test, times the number of facts",
        "# TYPE cerebeam_drift_p_value gauge",
        'cerebeam_drift_p_value{site="a\\"\\\\",fact="f0"} 0.001',
        'cerebeam_drift_p_value{site="a\\"\\\\",fact="f1"} 0.25',
        "# HELP cerebeam_drift_found 1 where the fact has drifted",
        "# TYPE cerebeam_drift_found gauge",
        'cerebeam_drift_found{site="a\\"\\\\",fact="f0"} 1',
        'cerebeam_drift_found{site="a\\"\\\\",fact="f1"} 0',
        "# HELP cerebeam_drift_recordings Recordings of a site that were compared",
        "# TYPE cerebeam_drift_recordings gauge",
        'cerebeam_drift_recordings{site="a\\"\\\\"} 8',
        'cerebeam_drift_recordings{site="b"} 3',
        "# HELP cerebeam_drift_compared_seconds When drift was looked for",
        "# TYPE cerebeam_drift_compared_seconds gauge",
        "cerebeam_drift_compared_seconds 1235",
    ]


def test_facts_of_windows_are_medians_of_each_recording(tmp_path):
    (tmp_path / "site=s").mkdir()
    row = {"recording_id": "r", "site_id": "s", "n_channels": 2, "native_sfreq": 99.5, "source_reference": "A1",
           "mains_hz": 50.0}  # fmt: skip
    rows = [row, row | {"recording_id": "q"}, row | {"recording_id": "none"}]
    (tmp_path / "recordings.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match="neither a finished shard set nor"):
        read_facts(tmp_path)
    (tmp_path / "_COMPLETED").touch()
    for part, quality in enumerate(([0.1, 0.2, 0.9], [0.4])):
        index = {"recording_id": ["r", "r", "q"][: len(quality)], "quality": quality, "snr_db": np.nan,
                 "artifact_ratio": 0.25, "other": 7.0}  # fmt: skip
        pd.DataFrame(index).to_parquet(tmp_path / "site=s" / f"{part}.index.parquet")
    one, two, three = read_facts(tmp_path)
    known = {"n_channels": 2.0, "n_bad_channels": 0.0}
    assert one.numbers == known | {"quality": 0.2, "artifact_ratio": 0.25}
    assert two.numbers == known | {"quality": 0.9, "artifact_ratio": 0.25}
    assert three.numbers == known
    assert one.words == {"mains_hz": "50", "rate_hz": "99.5", "recorded_against": "A1"}
    vector = np.arange(3.0)
    assert [v.vector is vector for v in with_vectors([one, two], {"r": vector})] == [True, False]


def test_samples_of_one_value_and_none_are_no_drift():
    with pytest.raises(ValueError, match="samples of 0 and 1 numbers"):
        of_numbers([], [1.0])
    with pytest.raises(ValueError, match="samples of 1 and 0 numbers"):
        of_numbers([1.0], [])
    assert of_numbers([2.0, 2.0], [2.0]) == of_numbers([2.0], [2.0])
    one = of_numbers([1.0, 2.0, 3.0], [9.0])
    assert one.p_value == 1.0
    assert one.psi > 0
    # Quantiles 2, 4, 6, 8 of 1..10 make five bins of two; the other sample has its ten values in the last: shares with
    # half a count more are 2.5 / 12.5 each, and 0.5 / 12.5 four times, 10.5 / 12.5.
    q, p = np.array([0.5] * 4 + [10.5]) / 12.5, 0.2
    found = of_numbers(np.arange(1.0, 11.0), [50.0] * 10)
    assert found.psi == pytest.approx(float(((q - p) * np.log(q / p)).sum()))
    # A value that fills a fifth of the reference is a bin of its own, so that what lies just below it is apart.
    held = [1.0, 2.0, 3.0, *[5.0] * 7]
    assert of_numbers(held, [4.9] * 10).psi > 1.0
