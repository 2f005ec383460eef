import pytest
from torch import nn

from training.trainer.unfreezing import Unfreezing


def stages():
    return [[nn.Linear(1, 1), nn.BatchNorm1d(1)], [nn.Linear(1, 1)], [nn.Linear(1, 1)]]


@pytest.mark.parametrize(
    ("every", "open_stages"),
    [(0, [3, 3, 3, 3]), (1, [0, 1, 2, 3, 3]), (2, [0, 0, 1, 1, 2, 2, 3, 3, 3])],
)
def test_one_stage_more_from_the_last_to_the_first(every, open_stages):
    given = stages()
    unfreezing = Unfreezing(given, every=every)
    for epoch, n_open in enumerate(open_stages):
        assert unfreezing.n_open(epoch) == n_open
        unfreezing.apply(epoch)
        trained = [all(p.requires_grad for module in stage for p in module.parameters()) for stage in given]
        assert trained == [number >= 3 - n_open for number in range(3)]


def test_shut_stages_keep_their_averages():
    given = stages()
    unfreezing = Unfreezing(given, every=1)
    unfreezing.apply(1)
    for stage in given:
        for module in stage:
            module.train()
    unfreezing.quiet()
    assert [[module.training for module in stage] for stage in given] == [[False, False], [False], [True]]
