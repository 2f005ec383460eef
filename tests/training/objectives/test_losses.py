import numpy as np
import pytest
import torch
from scipy.stats import entropy

from training.objectives.losses import VoteLoss, vote_weights

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.3]])
TARGET = torch.tensor([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])


def test_kl_is_scipy_s_but_for_the_votes_own_entropy():
    prob = LOGITS.softmax(-1).double().numpy()
    target = TARGET.double().numpy()
    expected = np.mean([entropy(t, p) + entropy(t) for t, p in zip(target, prob, strict=True)])
    assert VoteLoss().mean(LOGITS, TARGET).item() == pytest.approx(expected, rel=1e-5)


def test_classes_and_windows_weigh_what_they_are_given():
    hard = torch.eye(3)[[0, 1]]
    log_prob = LOGITS.log_softmax(-1)
    weights = torch.tensor([3.0, 1.0, 1.0])
    expected = torch.nn.functional.cross_entropy(LOGITS, torch.tensor([0, 1]), weight=weights)
    torch.testing.assert_close(VoteLoss(class_weight_K=weights).mean(LOGITS, hard), expected)
    alone = VoteLoss().total(LOGITS, hard, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(alone, -log_prob[0, 0])


def test_focal_loss_looks_away_from_what_is_known():
    hard = torch.eye(3)[[0, 1]]
    prob = LOGITS.softmax(-1)[[0, 1], [0, 1]]
    expected = (-((1 - prob) ** 2) * prob.log()).mean()  # Lin et al. 2017, eq. 4
    torch.testing.assert_close(VoteLoss(kind="focal", focal_gamma=2.0).mean(LOGITS, hard), expected)
    torch.testing.assert_close(
        VoteLoss(kind="focal", focal_gamma=0.0).mean(LOGITS, TARGET), VoteLoss().mean(LOGITS, TARGET)
    )


def test_smoothing_is_torch_s():
    hard = torch.eye(3)[[0, 1]]
    expected = torch.nn.functional.cross_entropy(LOGITS, torch.tensor([0, 1]), label_smoothing=0.1)
    torch.testing.assert_close(VoteLoss(label_smoothing=0.1).mean(LOGITS, hard), expected)


def test_windows_without_votes_count_one():
    weights = vote_weights(torch.tensor([0.0, 4.0, 9.0]), power=0.5)
    assert weights.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("kind", ["kl", "focal"])
def test_any_split_gives_the_same_mean(kind):
    loss = VoteLoss(kind=kind, label_smoothing=0.1, class_weight_K=torch.tensor([3.0, 1.0, 0.5]))
    weight = torch.tensor([2.0, 0.5])
    totals = [loss.total(LOGITS[[row]], TARGET[[row]], weight[[row]]) for row in (0, 1)]
    counts = [loss.count(TARGET[[row]], weight[[row]]) for row in (0, 1)]
    whole = loss.total(LOGITS, TARGET, weight) / loss.count(TARGET, weight)
    torch.testing.assert_close(sum(totals) / sum(counts), whole)
