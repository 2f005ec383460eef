import math

import pytest
import torch
from torch import nn

from training.trainer.optim import make_optimizer, make_scheduler


class Toy(nn.Module):
    """Parameters of each group: stem and trunk, head; matrices, vectors and embeddings."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.stem = nn.Linear(3, 2)
        self.encoder.channel_embedding = nn.Embedding(4, 2)
        self.head = nn.Linear(2, 5)
        self.frozen = nn.Linear(2, 2)
        self.frozen.requires_grad_(False)


def test_groups_of_decay_and_rate():
    from model.freezing import group_of

    model = Toy()
    optimizer = make_optimizer(model, learning_rate=0.1, weight_decay=0.01, encoder_lr_scale=0.5)
    found = {
        id(parameter): (group["weight_decay"], group["lr"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        if name.startswith("frozen"):
            assert id(parameter) not in found
            continue
        decayed = name in ("encoder.stem.weight", "head.weight")
        scale = 0.5 if group_of(name) in ("stem", "trunk") else 1.0
        assert found[id(parameter)] == (0.01 if decayed else 0.0, 0.1 * scale), name
    assert {lr for _, lr in found.values()} == {0.1, 0.05}
    assert all(group["betas"] == (0.9, 0.98) for group in optimizer.param_groups)


@pytest.mark.parametrize("final_share", [0.05, 0.2])
def test_warm_up_then_a_cosine(final_share):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = make_scheduler(optimizer, warmup_steps=4, steps=14, final_share=final_share)
    rates = []
    for _ in range(18):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    cosine = [final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * k / 10)) for k in range(11)]
    expected = [0.25, 0.5, 0.75, 1.0, *cosine, *([final_share] * 3)]
    assert rates == pytest.approx([2 * share for share in expected])


def test_without_warm_up_and_without_steps():
    for warmup_steps, steps, first in ((0, 5, 1.0), (0, 0, 1.0), (3, 3, 1 / 3)):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        make_scheduler(optimizer, warmup_steps=warmup_steps, steps=steps)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(first)
