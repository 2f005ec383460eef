"""Paired differences of two models on held-out segments."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from signals.patterns.bank import SEGMENTS_FILE, Bank, HeldOut, read_arrays
from training.objectives.planting.comparison import compare
from training.objectives.planting.evaluation import read_answers, write_answers
from training.objectives.planting.measures import Answers


@pytest.fixture(scope="module")
def held_out(toy_bank: Path) -> HeldOut:
    return read_arrays(toy_bank / SEGMENTS_FILE, HeldOut)[0]


def predicted(held_out: HeldOut, seed: int, *, rate_error: float, sure: float) -> Answers:
    """Rates that miss by so many octaves on average, and votes between the truth and a uniform answer."""
    rng = np.random.default_rng(seed)
    n = len(held_out)
    is_discharge = np.tile([0.0, 1.0], (n, 10))
    share = held_out.votes_SK / held_out.votes_SK.sum(1, keepdims=True)
    rate = np.log2(held_out.rate_S2).mean(1) + rate_error * (1 + 0.1 * rng.random(n))
    return Answers(
        discharge_SN=rng.normal(size=(n, 20)) + is_discharge, is_discharge_SN=is_discharge,
        line_length_SN=rng.random((n, 20)), peak_SN=rng.random((n, 20)), rate_S=rate,
        share_SK=sure * share + (1 - sure) / share.shape[1],
    )  # fmt: skip


def test_a_difference_is_paired_and_averaged_over_seeds(held_out: HeldOut, toy_patterns: Bank) -> None:
    first = [predicted(held_out, seed, rate_error=0.2, sure=0.9) for seed in (0, 1)]
    second = [replace(one, rate_S=one.rate_S + 0.5) for one in first]
    found = {one.measure: one for one in compare(first, second, held_out, toy_patterns, n_boot=200)}
    rate = found["rate_error_octaves"]
    # Half an octave more on every segment: paired, the interval has no width, though that of either model has.
    assert rate.difference.value == pytest.approx(-0.5)
    assert (rate.difference.low, rate.difference.high) == (pytest.approx(-0.5), pytest.approx(-0.5))
    assert rate.first.high - rate.first.low > 1e-3
    assert 0.2 <= rate.first.value <= 0.22
    assert rate.second.value == pytest.approx(rate.first.value + 0.5)
    assert rate.n_segments == 8
    votes = found["votes_kl"]
    assert (votes.difference.value, votes.difference.seed_sd) == (0.0, 0.0)
    assert votes.first.value < votes.trivial
    assert found["discharge_auroc"].first.seed_sd > 0
    assert np.isnan(compare(first[:1], second[:1], held_out, toy_patterns, n_boot=20)[0].first.seed_sd)


def test_what_a_model_does_not_predict_is_not_defined(held_out: HeldOut, toy_patterns: Bank) -> None:
    one = predicted(held_out, 0, rate_error=0.2, sure=0.9)
    blind = replace(one, rate_S=np.full(len(held_out), np.nan))
    found = {each.measure: each for each in compare([one], [blind], held_out, toy_patterns, n_boot=20)}
    gap = found["rate_error_octaves"].difference
    assert np.isnan([gap.value, gap.low, gap.high]).all()
    assert np.isfinite(found["rate_error_octaves"].first.value)
    assert found["votes_kl"].difference.value == 0


def test_other_segments_and_other_numbers_of_seeds_are_refused(held_out: HeldOut, toy_patterns: Bank) -> None:
    one = predicted(held_out, 0, rate_error=0.2, sure=0.9)
    with pytest.raises(ValueError, match="1 seeds of one model and 0 of the other"):
        compare([one], [], held_out, toy_patterns)
    other = replace(one, is_discharge_SN=1 - one.is_discharge_SN)
    with pytest.raises(ValueError, match="of different segments"):
        compare([one], [other], held_out, toy_patterns)
    fewer = Answers(**{name: value[:5] for name, value in asdict(one).items()})
    with pytest.raises(ValueError, match="predictions of 5 segments, and the bank holds 12"):
        compare([fewer], [fewer], held_out, toy_patterns)


def test_predictions_come_back_from_their_file(held_out: HeldOut, tmp_path: Path) -> None:
    one = predicted(held_out, 0, rate_error=0.2, sure=0.9)
    write_answers(tmp_path, one)
    back = read_answers(tmp_path)
    assert all(np.array_equal(value, getattr(back, name), equal_nan=True) for name, value in asdict(one).items())
    (tmp_path / "truth_predictions.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="holds no predictions of planted truth"):
        read_answers(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_answers(tmp_path / "elsewhere")
