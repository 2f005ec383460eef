import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn import functional

from signals.bundles.calibration import shifted_each
from training.fitting.loss import effective_odds, statement_losses, vote_losses
from training.objectives.losses import StatementLoss, VoteLoss
from training.objectives.rarity import LOSSES, effective_weights, margins, odds_shift
from training.recipes.finetuning import FinetuneObjective

LOGITS = torch.tensor([[0.3, -2.0, 4.0], [-1.0, 0.5, 0.0]])
TARGET = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])


def test_effective_numbers_lie_between_all_alike_and_inverse_frequency():
    counts = np.array([10.0, 1000.0, 0.0])
    assert effective_weights(counts, beta=0.0).tolist() == [1.0, 1.0, 0.0]
    # beta -> 1: (1 - beta) / (1 - beta^n) -> 1 / n, so that the ratio is that of the counts
    near = effective_weights(counts, beta=1 - 1e-9)
    assert near[0] / near[1] == pytest.approx(100.0, rel=1e-4)
    # 0.99: effective numbers (1 - 0.99^10) / 0.01 = 9.5618 and (1 - 0.99^1000) / 0.01 = 99.9957
    found = effective_weights(counts, beta=0.99)
    assert found[0] / found[1] == pytest.approx(99.9957 / 9.5618, rel=1e-4)
    assert found.sum() == pytest.approx(2.0)
    with pytest.raises(ValueError, match=r"beta=1\.0"):
        effective_weights(counts, beta=1.0)
    assert effective_odds(np.array([[5.0, 0.0], [5.0, 9.0]])).tolist() == [1.0, 1.0]


def test_margins_shrink_with_the_fourth_root():
    assert margins(np.array([16.0, 1.0, 81.0, 0.0]), largest=3.0).tolist() == pytest.approx([1.5, 3.0, 1.0, 0.0])


def test_margins_are_taken_off_the_true_side_only():
    margin = torch.tensor([[1.0, 0.5, 0.0], [0.2, 0.1, 0.3]])
    shift = torch.where(TARGET > 0, -margin[0], margin[1])
    wanted = functional.binary_cross_entropy_with_logits(LOGITS + shift, TARGET)
    assert StatementLoss(kind="ldam", margin_2K=margin).mean(LOGITS, TARGET).item() == pytest.approx(wanted.item())
    hard = torch.tensor([0, 2])
    moved = LOGITS.clone()
    moved[0, 0] -= 1.0
    moved[1, 2] -= 0.25
    loss = VoteLoss(kind="ldam", margin_K=torch.tensor([1.0, 7.0, 0.25]))
    wanted = functional.cross_entropy(moved, hard)
    assert loss.mean(LOGITS, torch.eye(3)[hard]).item() == pytest.approx(wanted.item())


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("late", [False, True])
def test_every_kind_gives_the_same_mean_however_a_batch_is_split(kind, late):
    targets = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1], [0, 0, 1]], dtype=np.float32)
    objective = FinetuneObjective(loss=kind, label_smoothing=0.1)
    both = statement_losses(targets, objective), vote_losses(np.eye(3)[[0, 1, 2, 2]], objective, balanced=True)
    for losses, target in zip(both, (TARGET, torch.eye(3)[[0, 2]]), strict=True):
        loss = losses.at(99 if late else 0, 100)
        whole = loss.mean(LOGITS, target)
        parts = [(loss.total(LOGITS[[i]], target[[i]]), loss.count(target[[i]])) for i in (0, 1)]
        assert (sum(t for t, _ in parts) / sum(c for _, c in parts)).item() == pytest.approx(whole.item())
        logits = LOGITS.clone().requires_grad_(True)
        loss.total(logits, target).backward()
        assert torch.isfinite(logits.grad).all()


def test_weights_of_ldam_enter_late_and_the_others_hold_throughout():
    targets = np.zeros((801, 1), dtype=np.float32)
    targets[0] = 1
    losses = statement_losses(targets, FinetuneObjective(loss="ldam", reweight_from=0.8))
    assert losses.first_last_step(100) == 80
    assert losses.at(79, 100).positive_weight_K is None
    # effective numbers: 1 and (1 - 0.9999^800) / 0.0001 = 768.8
    assert losses.at(80, 100).positive_weight_K.tolist() == pytest.approx([768.8], rel=1e-3)
    # 1 positive and 800 negatives: margins 2 and 2 / 800^(1/4) = 0.376
    assert losses.first.margin_2K[:, 0].tolist() == pytest.approx([2.0, 2 / 800**0.25])
    assert statement_losses(targets, FinetuneObjective(loss="ldam", reweight_from=1.0)).first_last_step(10) == 9
    balanced = statement_losses(targets, FinetuneObjective(loss="class-balanced"))
    assert balanced.at(0, 100) is balanced.last
    assert balanced.last.positive_weight_K.tolist() == pytest.approx([768.8], rel=1e-3)


def test_the_prior_correction_takes_back_what_weights_did():
    prevalence, weight = 0.0125, 30.0

    def risk(logit):  # of a model that knows nothing but the prevalence, under the weighted loss itself
        logits, loss = torch.full((2, 1), float(logit)), StatementLoss(positive_weight_K=torch.tensor([weight]))
        target = torch.tensor([[1.0], [0.0]])
        return loss.total(logits, target, torch.tensor([prevalence, 1 - prevalence])).item()

    found = minimize_scalar(risk, bounds=(-10, 10), method="bounded", options={"xatol": 1e-9}).x
    raised = 1 / (1 + np.exp(-found))
    assert raised > 10 * prevalence
    corrected = shifted_each(np.array([[raised]]), odds_shift(np.array([weight])))
    assert corrected[0, 0] == pytest.approx(prevalence, rel=1e-2)
    with pytest.raises(ValueError, match="must be positive"):
        odds_shift(np.array([0.0]))
    order = shifted_each(np.array([[0.2], [0.9], [1.0], [0.0]]), np.array([3.0]))[:, 0]
    assert np.isfinite(order).all()
    assert (np.argsort(order) == [3, 0, 1, 2]).all()
