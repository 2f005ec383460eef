import itertools
import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from explain.explanation import Explanation, in_steps
from explain.gates.card import GATES, NOT_VALIDATED, VALIDATED, ExplanationCard, Measured, missing_card
from explain.gates.faithfulness import FILLERS, Gap, filled, gaps, masks, same_spectrum, worst_by_class
from explain.gates.stability import agreement, spearman, with_noise
from explain.gates.truth import Truth, average_precision, hits, overlap, trivial_maps

SFREQ = 64.0
X_LEFT = np.array([-1.0, 1.0, -1.0, 1.0])
TRUTH = Truth(start_s=1.0, stop_s=2.0, channels=np.array([True, False, False, False]), rate_hz=10.0, is_left=True)
BANDS = ((0.0, 8.0), (8.0, 13.0), (13.0, 32.0))


def explained(values, **fields):
    values = np.asarray(values, dtype=float)
    given = {"bands": BANDS if values.shape[2] == 3 else (), "sums": False} | fields
    return Explanation(method="m", target=1, values=values, score=1.0, base=0.0, **given)


def perfect():
    values = np.zeros((4, 16, 3))
    values[0, 4:8, 1] = 1.0
    return explained(values)


def test_a_perfect_map_hits_everything_and_a_decoys_map_nothing():
    x = np.random.default_rng(0).normal(size=(4, 256))
    x[3, 150:200] *= 20
    good = hits(perfect(), TRUTH, x, sfreq=SFREQ, x_left=X_LEFT)
    assert (good.time, good.hemisphere, good.channel, good.band, good.iou) == (1, 1, 1, 1, 1)
    assert good.auprc == pytest.approx(64 / 4)  # 4 of 64 cells are evidence
    amplitude = np.stack([trivial_maps(x, SFREQ)[0]] * 3, axis=2)
    bad = hits(explained(amplitude), TRUTH, x, sfreq=SFREQ, x_left=X_LEFT)
    assert (bad.time, bad.hemisphere, bad.channel) == (0, 0, 0)
    assert bad.gain <= 0 < good.gain


def test_overlap_and_the_strongest_cell_are_those_of_quantus():
    # quantus 0.6.0 on the same arrays (abs=False, normalise=False): RelevanceRankAccuracy and TopKIntersection (k=24)
    # give 14/24 = 0.58333, PointingGame True; with p of n cells right, intersection over union is p / (2 - p).
    rng = np.random.default_rng(7)
    cells = np.zeros((19, 24), dtype=bool)
    cells[3:7, 8:14] = True
    scores = np.round(rng.random((19, 24)), 3) + 0.5 * cells
    right = 0.5833333333333334
    assert overlap(scores, cells) == pytest.approx(right / (2 - right))
    truth = Truth(start_s=2.0, stop_s=3.5, channels=cells.any(axis=1), rate_hz=10.0, is_left=True)
    np.testing.assert_array_equal(truth.cells(24), cells)
    found = hits(
        explained(scores[..., None]), truth, rng.normal(size=(19, 384)), sfreq=SFREQ, x_left=np.linspace(-1, 1, 19)
    )
    assert (found.time, found.iou) == (1, overlap(scores, cells))


@pytest.mark.parametrize(("step", "hit"), [(2, 0), (3, 1), (8, 1), (9, 0)])
def test_time_is_hit_to_a_quarter_of_a_second(step, hit):
    # Evidence from 1 to 2 s; a step's middle is 0.125 s after its start: 0.875 and 2.125 s count.
    values = np.zeros((4, 16, 1))
    values[0, step] = 1.0
    assert hits(explained(values), TRUTH, np.ones((4, 256)), sfreq=SFREQ, x_left=X_LEFT).time == hit


def test_what_a_method_does_not_tell_apart_is_undefined_not_wrong():
    values = np.zeros((4, 16, 1))
    values[:, 4:8] = 1.0
    found = hits(explained(values, has_channels=False), TRUTH, np.ones((4, 256)), sfreq=SFREQ, x_left=X_LEFT)
    assert math.isnan(found.channel)
    assert math.isnan(found.hemisphere)
    assert math.isnan(found.band)
    assert found.time == 1


def test_evidence_against_the_class_counts_for_nothing():
    values = np.zeros((4, 16, 1))
    values[0, 4:8], values[3, 12] = 1.0, -50.0
    found = hits(explained(values), TRUTH, np.ones((4, 256)), sfreq=SFREQ, x_left=X_LEFT)
    assert (found.time, found.channel, found.iou) == (1, 1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_scikit_learns_with_ties(seed):
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 4, 60).astype(float), rng.random(60) < 0.3
    assert average_precision(scores, positive) == pytest.approx(average_precision_score(positive, scores))


def test_overlap_of_half():
    positive = np.array([1, 1, 1, 1, 0, 0, 0, 0], dtype=bool)
    assert overlap(np.array([4, 3, 0, 0, 2, 1, 0, 0.0]), positive) == pytest.approx(2 / 6)


@pytest.mark.parametrize("seed", range(4))
def test_spearman_is_scipys(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 5, 40).astype(float), rng.normal(size=40)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman(a, np.zeros(40)) == 0.0


def test_agreement_of_opposite_maps_is_large_only_in_size():
    rng = np.random.default_rng(0)
    maps = [explained(rng.normal(size=(4, 16, 1))) for _ in range(3)]
    against = [explained(-each.values) for each in maps]
    assert agreement(maps, maps) == pytest.approx(1)
    assert agreement(maps, against) == pytest.approx(-1)
    assert agreement(maps, against, absolute=True) == pytest.approx(1)


def test_noise_lies_thirty_decibels_below():
    x = np.random.default_rng(0).normal(size=(19, 4000)) * 5
    added = with_noise(x, np.random.default_rng(1)) - x
    assert 10 * np.log10((x**2).mean() / (added**2).mean()) == pytest.approx(30, abs=0.2)


def test_fillers_leave_what_stays_and_change_what_goes():
    rng = np.random.default_rng(0)
    x, other = rng.normal(size=(4, 256)), rng.normal(size=(4, 256))
    removed = np.zeros(x.shape, bool)
    removed[1, 50:80] = True
    for filler in FILLERS:
        out = filled(x, removed, filler, background=other, rng=rng)
        np.testing.assert_array_equal(out[~removed], x[~removed])
        assert (out[removed] != x[removed]).all()
    line = filled(x, removed, "interpolation", background=other, rng=rng)[1, 49:81]
    np.testing.assert_allclose(np.diff(line), (x[1, 80] - x[1, 49]) / 31)
    with pytest.raises(ValueError, match="filler"):
        filled(x, removed, "zeros", background=other, rng=rng)
    same = same_spectrum(x, rng)
    np.testing.assert_allclose(np.abs(np.fft.rfft(same)), np.abs(np.fft.rfft(x)), atol=1e-9)


def test_masks_grow_along_the_order():
    order = np.random.default_rng(0).permutation(64)
    found = masks(order, (4, 16))
    deleted, kept = found[: len(found) // 2], found[len(found) // 2 :]
    assert all((a <= b).all() for a, b in itertools.pairwise(deleted))
    assert all((~a).ravel()[order[0]] for a in kept)
    assert all(a.ravel()[order[0]] for a in deleted)


def test_deletion_prefers_the_true_map_to_a_wrong_one_under_every_filler():
    x = 0.1 * np.random.default_rng(0).normal(size=(4, 256))
    x[0, 64:128] += 2 * np.sin(np.arange(64) * 0.98)  # some 10 Hz

    def ask(windows):
        power = 20 * ((windows[:, 0, 64:128] ** 2).mean(axis=1) - 1)
        return np.stack([-power, power], axis=1)

    given = {"sfreq": SFREQ, "background": 0.1 * np.random.default_rng(1).normal(size=(4, 256))}
    wrong = np.zeros((4, 16, 1))
    wrong[3, 12:] = 1.0
    true = gaps(ask, perfect(), x, rng=np.random.default_rng(2), **given)
    false = gaps(ask, explained(wrong), x, rng=np.random.default_rng(2), **given)
    assert [g.filler for g in true] == list(FILLERS)
    assert all(a.mean > 0.15 > b.mean for a, b in zip(true, false, strict=True))


def test_the_worst_class_and_filler_decides():
    good, bad = Gap(filler="noise", deletion=0.5, insertion=0.5), Gap(filler="noise", deletion=0.0, insertion=0.1)
    assert worst_by_class([(1, [good]), (2, [bad]), (2, [good])]) == pytest.approx((0.05 + 0.5) / 2)
    assert math.isnan(worst_by_class([]))


PASSING = {gate.name: gate.limit for gate in GATES}


def test_a_method_is_validated_only_if_every_gate_that_applies_holds():
    assert Measured(method="m", values=PASSING, n_cases=10).status == VALIDATED
    for gate in GATES:
        worse = gate.limit + (0.01 if gate.at_most else -0.01)
        kind = "cam" if gate.name == "iou_cam" else "map"
        found = Measured(method="m", kind=kind, values=PASSING | {gate.name: worse}, n_cases=10)
        assert (found.status, found.failed()) == (NOT_VALIDATED, (gate.name,)), gate.name


@pytest.mark.parametrize(
    "measured",
    [
        Measured(method="m", values=PASSING, n_cases=0),
        Measured(method="m", values=PASSING, n_cases=10, heuristic=True),
        Measured(method="m", values={}, n_cases=10),
        Measured(method="m", values=PASSING | {"seeds": float("nan")}, n_cases=10),
    ],
)
def test_what_was_not_measured_is_not_validated(measured):
    assert measured.status == NOT_VALIDATED


def test_a_card_survives_json_and_an_unknown_method_is_not_on_it():
    values = PASSING | {"band_hit": float("nan")}
    card = ExplanationCard(model="m", methods=(Measured(method="a", values=values, n_cases=3),), n_skipped=2)
    again = ExplanationCard.from_json(card.to_json())
    assert again.validated() == ("a",)
    assert math.isnan(again.methods[0].value("band_hit"))
    assert again.status("b") == NOT_VALIDATED
    assert missing_card("m").validated() == ()
    for text in ("", "[]", "{}", '{"methods": 3}', '{"methods": [{"method": 1, "values": {"a": "x"}}], "model": "m"}'):
        with pytest.raises(ValueError, match="no card"):
            ExplanationCard.from_json(text)


def test_steps_hold_every_sample_once():
    x = np.random.default_rng(0).normal(size=(3, 250))
    found = in_steps(x, SFREQ)
    assert found.shape == (3, 16)
    np.testing.assert_allclose(found.sum(axis=1), x.sum(axis=1))
