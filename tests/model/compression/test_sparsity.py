import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as reference

from model.compression.sparsity import zero_share, zero_weights
from training.trainer.optim import make_optimizer


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 8, 5), nn.Flatten(), nn.Linear(8 * 12, 10), nn.ReLU(), nn.Linear(10, 2))


def test_masks_are_those_of_torch(network: nn.Module) -> None:
    ours, theirs = copy.deepcopy(network), copy.deepcopy(network)
    masks = zero_weights(ours, 0.4)
    layers = [(theirs[i], "weight") for i in (0, 2, 4)]
    reference.global_unstructured(layers, pruning_method=reference.L1Unstructured, amount=0.4)
    for i in (0, 2, 4):
        assert torch.equal(ours[i].weight, theirs[i].weight)
        assert torch.equal(masks[f"{i}.weight"], theirs[i].weight_mask.bool())
    by_matrix, theirs = copy.deepcopy(network), copy.deepcopy(network)
    zero_weights(by_matrix, 0.25, scope="matrix")
    for i in (0, 2, 4):
        reference.l1_unstructured(theirs[i], "weight", amount=0.25)
        assert torch.equal(by_matrix[i].weight, theirs[i].weight)
    n_zeros = sum(int((p == 0).sum()) for p in by_matrix.parameters())
    assert zero_share(by_matrix) == n_zeros / sum(p.numel() for p in network.parameters())


def test_zeros_stay_zero_in_training_and_the_rest_moves(network: nn.Module) -> None:
    masks = zero_weights(network, 0.5)
    before = copy.deepcopy(network.state_dict())
    optimizer = make_optimizer(network, learning_rate=1e-2, weight_decay=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(4, 3, 16)).square().sum().backward()
        optimizer.step()
    for name, mask in masks.items():
        weight = network.state_dict()[name]
        assert (weight[~mask] == 0).all()
        assert (weight[mask] != before[name][mask]).any()


def test_embeddings_and_vectors_are_left_alone() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(5, 4), "norm": nn.LayerNorm(4), "layer": nn.Linear(4, 4)})
    assert set(zero_weights(model, 0.5)) == {"layer.weight"}
    assert int((model["table"].weight == 0).sum()) == 0
    with pytest.raises(ValueError, match="share=1.5 must lie between 0 and 1"):
        zero_weights(model, 1.5)
