"""An exponential moving average of the weights: often the better model at the end of a run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.parallel.sharding import like


class WeightAverage:
    """average <- decay * average + (1 - decay) * weights after each step, over floating-point parameters.

    Early on the decay is (1 + step) / (10 + step) where that is smaller, so that the random start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay={decay} must lie between 0 and 1")
        self.decay = decay
        self.averages = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after step number `step`, counted from 1."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, parameter in module.named_parameters():
            if name in self.averages:
                self.averages[name].lerp_(parameter, weight)

    def restart(self, module: nn.Module) -> None:
        """Begin again from the module's present weights."""
        for name, parameter in module.named_parameters():
            if name in self.averages:
                self.averages[name].copy_(parameter.detach())

    @torch.no_grad()
    def keep(self, module: nn.Module) -> None:
        """Give the module the averages for good: it is not trained on."""
        for name, parameter in module.named_parameters():
            if name in self.averages:
                parameter.copy_(self.averages[name])

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Lend the module the averages inside; its own weights come back afterwards."""
        parameters = {name: p for name, p in module.named_parameters() if name in self.averages}
        own = {name: p.detach().clone() for name, p in parameters.items()}
        self.keep(module)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(own[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages by parameter name."""
        return dict(self.averages)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from saved averages; raises ValueError if they are of other parameters."""
        if set(state) != set(self.averages):
            raise ValueError(f"the saved average is of other parameters: {sorted(set(state) ^ set(self.averages))[:3]}")
        for name, average in self.averages.items():
            average.copy_(like(state[name], average))
