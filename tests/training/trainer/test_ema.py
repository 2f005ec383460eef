import pytest
import torch
from torch import nn

from training.trainer.ema import WeightAverage


def layer(value):
    module = nn.Linear(2, 1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    module.bias.requires_grad_(False)
    return module


def test_the_average_by_its_definition():
    module = layer(1.0)
    average, expected = WeightAverage(module, 0.9), 1.0
    for step, value in enumerate([2.0, 5.0, -3.0, 4.0] * 40, start=1):
        with torch.no_grad():
            module.weight.fill_(value)
        average.update(module, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert average.averages["weight"].flatten().tolist() == pytest.approx([expected] * 2, rel=1e-5)
    assert list(average.averages) == ["weight"]  # what is not trained has no average


def test_averages_are_lent_and_given_back():
    module = layer(1.0)
    average = WeightAverage(module, 0.5)
    with torch.no_grad():
        module.weight.fill_(7.0)
    seen = []

    def failing():
        with average.applied(module):
            seen.extend(module.weight.flatten().tolist())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        failing()
    assert seen == [1.0, 1.0]
    assert module.weight.flatten().tolist() == [7.0, 7.0]
    average.restart(module)
    assert average.averages["weight"].flatten().tolist() == [7.0, 7.0]
    with torch.no_grad():
        module.weight.fill_(0.0)
    assert average.averages["weight"].flatten().tolist() == [7.0, 7.0]  # a copy


def test_saved_averages_are_taken_up():
    first, second = WeightAverage(layer(3.0), 0.5), WeightAverage(layer(1.0), 0.5)
    second.load_state_dict(first.state_dict())
    assert second.averages["weight"].flatten().tolist() == [3.0, 3.0]
    with pytest.raises(ValueError, match=r"of other parameters: \['other', 'weight'\]"):
        second.load_state_dict({"other": torch.zeros(2)})


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_a_decay_that_cannot_be(decay):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        WeightAverage(layer(1.0), decay)
