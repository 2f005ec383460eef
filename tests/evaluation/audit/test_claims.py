from dataclasses import replace

import numpy as np

from evaluation.audit.claims import Claim, claim_findings, is_rejected

N = 40
SOUND = Claim(
    recordings=np.repeat(["a", "b", "c", "d"], 10), subjects=np.repeat(["A", "B", "C", "D"], 10),
    start_s=np.tile(np.arange(10) * 4.0, 4), window_s=4.0, is_test=np.repeat([False, False, True, True], 10),
    probabilities=np.random.default_rng(0).uniform(0.05, 0.95, N), accuracy=0.8, has_interval=True, threshold=0.5,
    threshold_origin="other folds", maps=np.random.default_rng(1).normal(size=(2, 19)), top_bands=("B1", "B2"),
)  # fmt: skip


def codes(**fields):
    return {finding.code for finding in claim_findings(replace(SOUND, **fields))}


def test_a_sound_claim_has_no_finding():
    assert codes() == set()
    assert not is_rejected(SOUND)


def test_each_fault_is_named_alone():
    assert codes(has_interval=False) == {"no_interval"}
    assert codes(threshold_origin="") == {"threshold_of_unknown_origin"}
    assert codes(probabilities=np.where(SOUND.probabilities > 0.5, 0.999, 0.001)) == {"saturated_probabilities"}
    assert codes(maps=np.stack([SOUND.maps[0], -SOUND.maps[0]])) == {"mirrored_maps"}
    assert codes(top_bands=("B4", "B4")) == {"same_top_band"}
    assert codes(subjects=np.repeat(["A", "B", "A", "D"], 10)) == {"subject_on_two_sides"}


def test_windows_leak_only_where_they_share_samples():
    one = {"recordings": np.repeat("a", N), "start_s": np.arange(N) * 4.0, "is_test": np.arange(N) % 2 == 0}
    assert "neighbouring_windows" not in codes(**one)  # they touch, and share no sample
    assert "neighbouring_windows" in codes(**{**one, "start_s": np.arange(N) * 3.9})
    assert "neighbouring_windows" in codes(**{**one, "start_s": np.arange(N)[::-1] * 2.0})
    assert is_rejected(replace(SOUND, **{**one, "start_s": np.arange(N) * 1.0}))


def test_some_doubt_is_not_saturation_and_a_constant_map_is_no_mirror():
    prob = np.where(np.arange(N) % 4 == 0, 0.4, 0.999)
    assert "saturated_probabilities" not in codes(probabilities=prob)
    assert codes(maps=np.zeros((2, 19))) == set()


def test_a_window_leaks_into_one_that_begins_before_it_too():
    # Seconds of the trained window, and of the tested one: 4 s each, so that 3 s of samples are in both.
    for trained, tested in ((10.0, 7.0), (7.0, 10.0)):
        one = {"recordings": np.repeat("a", N), "start_s": np.full(N, trained), "is_test": np.zeros(N, dtype=bool)}
        one["is_test"][-1], one["start_s"][-1] = True, tested
        assert "neighbouring_windows" in codes(**one)
        one["start_s"][-1] = 14.0 if tested > trained else 3.0
        assert "neighbouring_windows" not in codes(**one)


def test_findings_state_the_numbers_of_the_claim():
    shared = replace(
        SOUND, recordings=np.repeat("a", N), subjects=np.repeat("A", N), start_s=np.arange(N) * 3.0,
        is_test=np.arange(N) >= 30, has_interval=False, accuracy=0.9876, threshold=0.7, threshold_origin="the paper",
        maps=np.stack([np.arange(19.0), -2 * np.arange(19.0)]), top_bands=("B4", "B4", "B4"),
        probabilities=np.where(np.arange(N) == 35, 0.5, 0.995),
    )  # fmt: skip
    # Of the tested windows the first alone begins within 4 s of a trained one; nine of ten are nearer to 1 than .01.
    assert [(f.severity, f.code, f.message) for f in claim_findings(shared)] == [
        ("error", "neighbouring_windows",
         "1 of 10 test windows share samples with windows that were trained on: neighbouring windows leak the answer."),
        ("error", "subject_on_two_sides",
         "1 subjects are on both sides: the figures say nothing about other patients."),
        ("warning", "one_subject", "One patient was tested: no interval over patients can be given."),
        ("warning", "no_interval", "Accuracy 98.76% is stated without an interval."),
        ("warning", "threshold_of_unknown_origin", "The threshold 0.7 was chosen, and it is not stated on which data."),
        ("warning", "mirrored_maps",
         "The map of one class is the other with its sign turned (correlation 1.000): two logits of one difference, no "
         "evidence for either class by itself."),
        ("warning", "same_top_band", "The strongest band is B4 for every class: the map does not tell classes apart."),
    ]  # fmt: skip


def test_saturation_begins_at_nineteen_of_twenty_and_counts_both_ends():
    tested = np.flatnonzero(SOUND.is_test)  # twenty
    for n, flagged in ((18, False), (19, True), (20, True)):
        prob = np.full(N, 0.5)
        prob[tested[:n]] = np.where(np.arange(n) % 2, 0.0099, 0.9901)
        found = [f.message for f in claim_findings(replace(SOUND, probabilities=prob))]
        words = f"{n / 20:.0%} of probabilities are below 0.01 or above 0.99: no doubt is stated."
        assert found == ([words] if flagged else [])
    assert codes(probabilities=np.where(SOUND.is_test, 0.989, 0.999)) == set()  # those of training do not count


def test_maps_are_mirrored_from_a_correlation_of_98_percent_on():
    rng = np.random.default_rng(4)
    base, rest = rng.normal(size=(2, 400))
    base, rest = (each - each.mean() for each in (base, rest))
    rest -= (rest @ base) / (base @ base) * base
    rest *= np.linalg.norm(base) / np.linalg.norm(rest)
    for r, flagged in ((0.975, False), (0.985, True)):
        second = -(r * base + np.sqrt(1 - r**2) * rest)
        assert codes(maps=np.stack([base, second]).reshape(2, 20, 20)) == ({"mirrored_maps"} if flagged else set())
    assert codes(maps=np.stack([base, base])) == set()  # the same map is no mirror
    assert codes(maps=np.stack([base, np.ones(400)])) == set()
