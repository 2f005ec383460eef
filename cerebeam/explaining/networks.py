"""Maps that need a network's gradients, for `cerebeam explain --model`; loads torch."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cerebeam.explaining.explanation import ExplainError
from explain.asking.parts import BANDS
from explain.explanation import Explanation
from model.explaining.gradients import IG, integrated_gradients
from model.explaining.layers import activation_map
from model.saved import load_task_model
from model.supervised.supervised import Supervised


class OfState(nn.Module):
    """A task model for windows of one state of channels."""

    def __init__(self, model: nn.Module, ch_state: np.ndarray) -> None:
        super().__init__()
        self.model, self.state_C = model, torch.from_numpy(ch_state)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return the logits."""
        logits_BK: Tensor = self.model(x_BCT, self.state_C.expand(len(x_BCT), -1))[0]
        return logits_BK


def network_explanations(
    folder: Path, x: np.ndarray, ch_state: np.ndarray, target: int, *, sfreq: float, backgrounds: np.ndarray
) -> Iterator[Explanation]:
    """Yield integrated gradients, the same by band, Grad-CAM and Grad-CAM++ of a saved task model.

    Raises ExplainError for a folder that holds none, and for a model that reads more than samples.
    """
    try:
        model = load_task_model(folder)
    except (ValueError, FileNotFoundError) as error:
        raise ExplainError(str(error)) from None
    if isinstance(model, Supervised) and model.fields:
        raise ExplainError(f"{folder} reads {', '.join(model.fields)} too: what is explained are networks on samples")
    network = OfState(model, ch_state).eval()
    edges = [0.0, *(high for _, high in BANDS.values()), sfreq]
    bands = [*itertools.pairwise(edges)]
    by_band = integrated_gradients(network, x, target, sfreq=sfreq, backgrounds=backgrounds, bands=bands)
    # All bands together are the signal, so their sum is the ordinary map: the gradients are taken once.
    yield replace(by_band, method=IG, values=by_band.values.sum(axis=2, keepdims=True), bands=())
    yield by_band
    for plus in (False, True):
        yield activation_map(network, x, target, sfreq=sfreq, plus=plus)
