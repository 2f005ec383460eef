from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from model.pretraining.truth_heads import COURSE, COURSE_UNITS
from signals.patterns.bank import SEGMENTS_FILE, Bank, HeldOut, read_arrays
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from training.objectives.planting.evaluation import ALL, answers, scores_of
from training.objectives.planting.measures import area_of


class Oracle(nn.Module):
    """Predicts the truth of held-out segments: of the middle 20 s, in their order."""

    def __init__(self, held_out: HeldOut) -> None:
        super().__init__()
        self.held_out, self.place = held_out, nn.Parameter(torch.zeros(1))

    def predict(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        assert batch["x_BCT"].shape[1:] == (19, 20 * 256)
        assert not batch["mask_BCT"].any()
        numbers = range(int(self.place), int(self.place) + len(batch["x_BCT"]))
        self.place.data += len(numbers)
        logits = torch.full((len(numbers), 19, 80), -5.0)
        for row, number in enumerate(numbers):
            at = self.held_out.onsets(number) - 15  # 20 s in the middle of 50
            logits[row, 3, torch.tensor(at[(at >= 0) & (at < 20)] // 0.25).long()] = 5.0
        rate = torch.from_numpy(np.log2(self.held_out.rate_S2[numbers]).mean(1)).nan_to_num()
        values = torch.zeros(len(numbers), len(COURSE))
        values[:, COURSE.index("rate")] = rate / COURSE_UNITS[COURSE.index("rate")]
        share = torch.from_numpy(self.held_out.votes_SK[numbers])
        share = share / share.sum(1, keepdim=True)
        return {"discharge_logits_BCS": logits, "course_values_BV": values, "votes_logits_BK": share.clamp(1e-9).log()}


def test_whoever_knows_the_truth_has_the_best_scores(toy_bank: Path, toy_patterns: Bank) -> None:
    held_out, _ = read_arrays(toy_bank / SEGMENTS_FILE, HeldOut)
    found = answers(Oracle(held_out), held_out, Normaliser(kind="window"), crop_s=20.0, batch=5)
    scores = {(s.measure, s.family): s for s in scores_of(found, held_out, toy_patterns)}
    best = {"discharge_auroc": 1.0, "rate_error_octaves": 0.0, "votes_kl": 0.0, "balanced_accuracy": 1.0}
    for measure, value in best.items():
        score = scores[measure, ALL]
        assert score.value == pytest.approx(value, abs=1e-5)
        assert abs(score.trivial - value) > 0.1
    # Twelve segments; of the two Seizures discharges are not known, nor perhaps of Other.
    assert scores["discharge_auroc", ALL].n_segments == int((held_out.train_S >= 0).sum()) >= 8
    assert not (held_out.train_S[held_out.class_S == SIX_CLASS.classes.index("Seizure")] >= 0).any()
    assert scores["rate_error_octaves", ALL].n_segments == 8


def test_a_missing_head_is_nan_and_the_others_are_scored(toy_bank: Path, toy_patterns: Bank) -> None:
    held_out, _ = read_arrays(toy_bank / SEGMENTS_FILE, HeldOut)
    oracle = Oracle(held_out)
    whole = oracle.predict
    oracle.predict = lambda batch: {"votes_logits_BK": whole(batch)["votes_logits_BK"]}  # type: ignore[method-assign]
    found = answers(oracle, held_out, Normaliser(kind="window"), crop_s=20.0)
    values = {s.measure: s.value for s in scores_of(found, held_out, toy_patterns) if s.family == ALL}
    assert np.isnan([values["discharge_auroc"], values["rate_error_octaves"]]).all()
    assert values["votes_kl"] == pytest.approx(0, abs=1e-5)


def test_the_area_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    truth, score = (rng.random(300) < 0.2).astype(float), np.round(rng.normal(size=300), 1)  # with ties
    assert area_of(truth, score) == pytest.approx(roc_auc_score(truth, score))
    truth[:50] = np.nan
    assert area_of(truth, score) == pytest.approx(roc_auc_score(truth[50:], score[50:]))
    assert np.isnan(area_of(np.zeros(5), np.arange(5.0)))
