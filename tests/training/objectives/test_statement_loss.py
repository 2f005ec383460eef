import pytest
import torch
from torch.nn import functional

from training.objectives.losses import StatementLoss

LOGITS = torch.tensor([[0.3, -2.0, 4.0], [-1.0, 0.5, 0.0]])
TARGET = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])


def test_it_is_the_binary_cross_entropy():
    loss, weight = StatementLoss(), torch.tensor([1.0, 2.0, 5.0])
    wanted = functional.binary_cross_entropy_with_logits(LOGITS, TARGET)
    assert loss.mean(LOGITS, TARGET).item() == pytest.approx(wanted.item())
    weighted = StatementLoss(positive_weight_K=weight)
    wanted = functional.binary_cross_entropy_with_logits(LOGITS, TARGET, pos_weight=weight)
    assert weighted.mean(LOGITS, TARGET).item() == pytest.approx(wanted.item())
    # A window without any class teaches as well: its row is no zero.
    assert loss.total(LOGITS[1:], TARGET[1:]) > 0


def test_any_split_of_a_batch_gives_the_same_sum_and_count():
    for loss in (StatementLoss(label_smoothing=0.1), StatementLoss(kind="focal")):
        whole = loss.total(LOGITS, TARGET), loss.count(TARGET)
        parts = [(loss.total(LOGITS[i : i + 1], TARGET[i : i + 1]), loss.count(TARGET[i : i + 1])) for i in (0, 1)]
        assert whole[0].item() == pytest.approx(sum(total.item() for total, _ in parts))
        assert whole[1].item() == sum(count.item() for _, count in parts)
    heavy = torch.tensor([3.0, 1.0])
    assert StatementLoss().count(TARGET, heavy).item() == 12


def test_focal_counts_what_is_known_less():
    plain, focal = StatementLoss().total(LOGITS, TARGET), StatementLoss(kind="focal").total(LOGITS, TARGET)
    assert 0 < focal < plain
    sure = torch.tensor([[8.0, -8.0, 8.0]])
    assert StatementLoss(kind="focal").total(sure, TARGET[:1]) < 1e-3 * StatementLoss().total(sure, TARGET[:1])
    nothing = StatementLoss(kind="focal", focal_gamma=0.0)
    assert nothing.total(LOGITS, TARGET).item() == pytest.approx(plain.item())
