"""Every method of explanation on one of the planted models, as functions of a window and a class."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import nn

from explain.asking import occlusion, shapley
from explain.asking.ask import scores
from explain.asking.parts import BANDS
from explain.explanation import Explanation
from explain.gates.card import CAMS, MAPS
from model.explaining import cams, gradients
from model.explaining.layers import activation_map, stretched
from signals.modality import EEG_1020
from studies.explaining.models import Trained

Explain = Callable[[Trained, np.ndarray, int, np.ndarray], Explanation]
"""Model, window (n_chans, n_times), class, backgrounds (n, n_chans, n_times)."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method and for which models it exists."""

    name: str
    explain: Explain
    kind: str = MAPS
    needs_network: bool = True
    models: tuple[str, ...] = ()
    """Names of the models that it can be used on; empty for all."""
    heuristic: bool = False

    def fits(self, trained: Trained) -> bool:
        """Return whether the method can be used on a model."""
        return (trained.network is not None or not self.needs_network) and (
            not self.models or trained.name in self.models
        )


def _occlusion(trained: Trained, x: np.ndarray, target: int, backgrounds: np.ndarray) -> Explanation:
    return occlusion.occlusion(trained.ask, x, target, sfreq=trained.design.sfreq, backgrounds=backgrounds[:1])


def _shapley(trained: Trained, x: np.ndarray, target: int, backgrounds: np.ndarray) -> Explanation:
    return shapley.shapley(
        trained.ask, x, target, sfreq=trained.design.sfreq, background=backgrounds[0], ch_names=EEG_1020.ch_names,
        n_pairs=3,
    )  # fmt: skip


def _integrated(trained: Trained, x: np.ndarray, target: int, backgrounds: np.ndarray) -> Explanation:
    return gradients.integrated_gradients(
        _network(trained), x, target, sfreq=trained.design.sfreq, backgrounds=backgrounds
    )


def _cross_domain(trained: Trained, x: np.ndarray, target: int, backgrounds: np.ndarray) -> Explanation:
    sfreq = trained.design.sfreq
    edges = [0.0, *(high for _, high in BANDS.values())]
    bands = [*itertools.pairwise(edges), (edges[-1], sfreq)]  # all of the signal, so that sums hold
    return gradients.integrated_gradients(
        _network(trained), x, target, sfreq=sfreq, backgrounds=backgrounds, bands=bands
    )


def _deeplift(trained: Trained, x: np.ndarray, target: int, backgrounds: np.ndarray) -> Explanation:
    return gradients.deeplift(_network(trained), x, target, sfreq=trained.design.sfreq, backgrounds=backgrounds)


def _cam(plus: bool) -> Explain:
    def explain(trained: Trained, x: np.ndarray, target: int, backgrounds: np.ndarray) -> Explanation:
        return activation_map(_network(trained), x, target, sfreq=trained.design.sfreq, plus=plus)

    return explain


def _rollout(trained: Trained, x: np.ndarray, target: int, backgrounds: np.ndarray) -> Explanation:
    reached = cams.rollout(cams.attentions_of(_network(trained), x)).mean(axis=0)
    score = float(scores(trained.ask, [x], target)[0])
    return stretched(
        reached[None], x, sfreq=trained.design.sfreq, target=target, score=score, method=cams.ROLLOUT,
        has_channels=False,
    )  # fmt: skip


def _network(trained: Trained) -> nn.Module:
    assert trained.network is not None
    return trained.network


METHODS: tuple[Method, ...] = (
    Method(name=occlusion.METHOD, explain=_occlusion, needs_network=False),
    Method(name=shapley.METHOD, explain=_shapley, needs_network=False),
    Method(name=gradients.IG, explain=_integrated),
    Method(name=gradients.BANDS_IG, explain=_cross_domain),
    Method(name=gradients.DEEPLIFT, explain=_deeplift),
    Method(name=cams.GRAD_CAM, explain=_cam(False), kind=CAMS),
    Method(name=cams.GRAD_CAM_PP, explain=_cam(True), kind=CAMS),
    Method(name=cams.ROLLOUT, explain=_rollout, kind=CAMS, models=("resnet_gru",), heuristic=True),
)
