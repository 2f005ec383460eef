"""Opening a pretrained model from its last stage to its first, one more every few epochs (Howard & Ruder 2018)."""

from collections.abc import Sequence

from torch import nn

from model.classifier import Classifier
from model.saved import TaskModel


def stages_of(model: TaskModel) -> list[list[nn.Module]]:
    """Return the stages of a model below its head, from input to output; raises ValueError where it has none."""
    if isinstance(model, Classifier):
        encoder = model.encoder
        meeting = [encoder.relations, encoder.mixing] if encoder.config.graph else []
        first = [*meeting, encoder.stem, encoder.channel_embedding]
        return [first, *([block] for block in encoder.blocks), [encoder.norm]]
    if not hasattr(model.network, "stages"):
        raise ValueError(f"network {model.config.network!r} has no stages to open one by one: leave out unfreeze_every")
    stages: list[list[nn.Module]] = model.network.stages()
    return stages


class Unfreezing:
    """Which stages are shut; the head never is."""

    def __init__(self, stages: Sequence[Sequence[nn.Module]], *, every: int) -> None:
        """Open one stage more every so many epochs; all from the beginning where `every` is 0."""
        self._stages, self._every = stages, every

    def n_open(self, epoch: int) -> int:
        """Return how many stages are open in an epoch, counted from 0."""
        return len(self._stages) if not self._every else min(epoch // self._every, len(self._stages))

    def apply(self, epoch: int) -> None:
        """Let the parameters of open stages be trained, and those only."""
        shut = len(self._stages) - self.n_open(epoch)
        for number, stage in enumerate(self._stages):
            for module in stage:
                module.requires_grad_(number >= shut)

    def quiet(self) -> None:
        """Put shut stages into evaluation: batch normalisation keeps the averages it came with."""
        for stage in self._stages:
            for module in stage:
                if not any(parameter.requires_grad for parameter in module.parameters()):
                    module.eval()
