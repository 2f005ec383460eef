"""A frozen HuBERT as a baseline: its tokens, pooled as an encoder's are, and a linear probe of them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from model.layers.pooling import pooled_statistics
from model.pretraining.hubert import Hubert, load_hubert
from signals.shards.normalise import Normaliser
from signals.window import ABSENT
from studies.baselines import classical
from studies.engine.bench import Bench, Fitted, Params
from training.corpus.labelled import Labelled


@torch.no_grad()
def pooled_hubert(data: Labelled, network: Hubert) -> np.ndarray:
    """Return what a frozen network's tokens are like in each labelled window, float32, shape (n, n_dims).

    `model.layers.pooling.pooled_statistics`, as of the encoder (`training.corpus.frozen.pooled`).
    """
    normaliser, position_C3 = Normaliser(kind="window"), torch.tensor(data.shards.manifest.modality.positions)
    network.eval()
    rows = []
    for number in data.windows:
        made = data.shards.batch([int(number)], normaliser)
        present_BC = torch.from_numpy(made.ch_state_BC != ABSENT)
        x_BCT = torch.where(present_BC[..., None], torch.from_numpy(made.x_BCT), 0.0)
        rows.append(pooled_statistics(network.tokens(x_BCT), present_BC, position_C3))
    return torch.cat(rows).numpy()


@dataclass(frozen=True)
class HubertProbe:
    """Logistic regression on pooled tokens of the network of a folder, or of one of its shape with random weights."""

    folder: Path
    is_random: bool = False
    kept: dict[int, tuple[np.ndarray, int]] = field(default_factory=dict)
    """By seed: pooled tokens of one data set, and the number of weights."""

    def __call__(self, bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
        """Fit the regression to rows of the bench's windows."""
        key = seed if self.is_random else 0
        if key not in self.kept:
            network = self._network(key)
            self.kept[key] = pooled_hubert(bench.data, network), sum(p.numel() for p in network.parameters())
        x, n_frozen = self.kept[key]
        model, n_classes = classical.fit_logistic(x, bench.data, rows, **params), len(bench.data.task.classes)
        n_learnt = classical.n_learnt(model)
        return Fitted(
            predict=lambda test: classical.probabilities(model, x[test], n_classes),
            n_parameters=n_frozen + n_learnt, n_learnt=n_learnt,
        )  # fmt: skip

    def _network(self, seed: int) -> Hubert:
        network = load_hubert(self.folder)
        if not self.is_random:
            return network
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Hubert(network.shape)
