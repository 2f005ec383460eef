"""The objective of HuBERT's pretraining: the unit of each hidden frame; and units by mini-batch k-means.

Shapes: B batch, C channel, T sample, N frame, F feature.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.pretraining.draws import Draws
from model.pretraining.hubert import HubertPretraining, hidden_frames
from signals.shards.normalise import CLIP
from signals.window import ABSENT

KEPT_FRAMES = 50_000
"""Most frames that units are made of."""


class HiddenUnits(nn.Module):
    """Cross-entropy of the units of hidden frames of the leads that are there; a batch is `Source.raw`'s."""

    def __init__(self, model: HubertPretraining, *, start_share: float, span: int, seed: tuple[int, ...]) -> None:
        super().__init__()
        self.model, self.weights = model, {"units": 1.0}
        self.start_share, self.span, self.seed = start_share, span, seed

    def mask(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return which frames are hidden, bool, shape (B, C, N); what is drawn depends on the sample's number alone."""
        B, C, T = batch["x_BCT"].shape
        shape = self.model.encoder.shape
        n_frames = (T - shape.reach) // shape.hop + 1
        draws = Draws(self.seed, batch["sample_B"])
        mask_BCN = hidden_frames(draws, (B, C, n_frames), start_share=self.start_share, span=self.span)
        return mask_BCN & (batch["ch_state_BC"] != ABSENT)[..., None]

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum over hidden frames."""
        x_BCT, mask_BCN = scaled(batch), self.mask(batch)
        units = self.model.units(self.model.features(x_BCT))[mask_BCN]
        return {"units": F.cross_entropy(self.model.logits(x_BCT, mask_BCN), units, reduction="sum")}

    def counts(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the number of hidden frames."""
        return {"units": self.mask(batch).sum().float()}


def scaled(batch: Mapping[str, Tensor]) -> Tensor:
    """Return what the network sees of stored samples; absent leads are 0."""
    x_BCT = (batch["x_BCT"] * batch["inverse_scale_BC"][..., None]).clamp(-CLIP, CLIP)
    return torch.where((batch["ch_state_BC"] != ABSENT)[..., None], x_BCT, 0.0)


def fit_units(model: HubertPretraining, batches: Iterable[Mapping[str, Tensor]], *, seed: int) -> None:
    """Set a model's units from frames of leads that are there: k-means of features, each of spread 1.

    Raises ValueError for fewer frames than units.
    """
    from sklearn.cluster import MiniBatchKMeans

    there = [model.features(scaled(batch))[batch["ch_state_BC"] != ABSENT].flatten(0, -2) for batch in batches]
    frames = torch.cat(there).double().cpu().numpy()
    n_units = len(model.units.centre_KF)
    if len(frames) < n_units:
        raise ValueError(f"{len(frames)} frames cannot make n_units={n_units}: fewer units, or more windows")
    kept = np.random.default_rng(seed).permutation(len(frames))[:KEPT_FRAMES]
    mean, spread = frames[kept].mean(axis=0), frames[kept].std(axis=0) + 1e-6
    means = MiniBatchKMeans(n_units, random_state=seed, batch_size=2048, n_init=3, max_iter=50)
    centres = means.fit((frames[kept] - mean) / spread).cluster_centers_
    model.units.set(*(torch.from_numpy(part.astype(np.float32)) for part in (mean, spread, centres)))
