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
