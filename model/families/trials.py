"""Every family of models once forward and backward on noise: does each still run, and does each part of it learn?

Families come from the registries, so that a network that is added there is tried too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from model.classifier import new_classifier
from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.heads import HEADS
from model.montage import Montage
from model.pretraining.autoencoder import Autoencoder, AutoencoderConfig
from model.pretraining.draws import Draws
from model.pretraining.masking import MaskPlan, draw_masks, hide
from model.pretraining.pretraining import PretrainModel
from model.sources.multimodal import create_multimodal_ecg_model
from model.stacking import Stacker
from model.supervised.networks import NetworkShape
from model.supervised.supervised import METADATA_NETWORKS, NETWORKS, SPECTROGRAM_NETWORKS
from signals.electrodes import CHAINS
from signals.modality import ECG_12, EEG_1020, Modality
from signals.shards.normalise import Normaliser
from signals.spectrograms import REGIONAL_FREQS
from signals.tasks import TASKS, Task
from signals.window import MEASURED

BATCH, N_SECONDS, N_STEPS = 4, 4, 32
SMALL: dict[str, dict[str, Any]] = {
    "resnet_gru": {"widths": (8, 12, 12)},
    "multiscale": {"widths": (9, 12, 16)},
    "xresnet1d101": {"layers": (1, 1), "inner": 8},
    "inception1d": {"depth": 3, "width": 6},
    "efficientnet_b3": {"width": 0.25, "depth": 0.25, "image_size": (64, 32)},
    "efficientnet_small": {"width": 0.25, "depth": 0.25},
    "efficientnet_scalogram": {"width": 0.25, "depth": 0.25},
    "multimodal": {"fields": ("age", "sex"), "dim": 16, "n_heads": 2, "widths": (9, 12, 12)},
}
"""Options that cut networks down to what a second runs; others are small as they are."""
ENCODER = EncoderConfig(dim=32, depth=1, n_heads=4, stem_dim=16)
Step = Callable[[], Tensor]
"""One forward pass to a loss."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of one family."""

    family: str
    n_parameters: int = 0
    forward_ms: float = 0.0
    backward_ms: float = 0.0
    problem: str = ""
    """What went wrong, in one line; empty where all went well."""


def try_family(family: str, build: Callable[[], tuple[nn.Module, Step]], *, seed: int = 0) -> Trial:
    """Return the trial of a family: built, once forward, once backward; a problem is stated, not raised."""
    torch.manual_seed(seed)
    try:
        module, step = build()
        started = time.perf_counter()
        loss = step()
        between = time.perf_counter()
        loss.backward()
        ended = time.perf_counter()
        learns = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        return Trial(
            family=family, n_parameters=sum(p.numel() for _, p in learns), forward_ms=1e3 * (between - started),
            backward_ms=1e3 * (ended - between), problem=_problem(loss, learns),
        )  # fmt: skip
    except Exception as error:
        return Trial(
            family=family, problem=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        )


def _problem(loss: Tensor, learns: list[tuple[str, nn.Parameter]]) -> str:
    if not torch.isfinite(loss):
        return f"the loss is {float(loss.detach())}"
    if wrong := [name for name, p in learns if p.grad is not None and not torch.isfinite(p.grad).all()]:
        return f"the gradient of {wrong[0]} is not finite"
    if not any(p.grad is not None and p.grad.abs().sum() > 0 for _, p in learns):
        return "no parameter has a gradient"
    return ""


def families() -> dict[str, Callable[[], tuple[nn.Module, Step]]]:
    """Return how each family is built and run, by name."""
    found: dict[str, Callable[[], tuple[nn.Module, Step]]] = {
        f"network {name}": partial(_network, name) for name in NETWORKS
    }
    found |= {
        "encoder eeg": partial(_classifier, TASKS["eyes"], EEG_1020),
        "encoder ecg": partial(_classifier, TASKS["ecg-superclass"], ECG_12),
    }
    found |= {f"head {name}": partial(_pretraining, name) for name in HEADS if name != "classifier"}
    return found | {"autoencoder": _autoencoder, "stacker": _stacker, "multimodal": _multimodal}


def _network(name: str) -> tuple[nn.Module, Step]:
    shape = NetworkShape(n_chans=12, sfreq=256.0, n_classes=6)
    module = NETWORKS[name](shape, dropout=0.1, **SMALL.get(name, {}))
    if name in SPECTROGRAM_NETWORKS:
        x = torch.randn(BATCH, len(CHAINS), len(REGIONAL_FREQS), N_STEPS)
    else:
        x = torch.randn(BATCH, 12, 256 * N_SECONDS)
    more = (torch.ones(BATCH, 2),) if name in METADATA_NETWORKS else ()
    return module, lambda: nn.functional.cross_entropy(module(x, *more)[0], torch.arange(BATCH) % 6)


def _classifier(task: Task, modality: Modality) -> tuple[nn.Module, Step]:
    encoder = Encoder(EncoderConfig(**{**ENCODER.fields(), "sfreq": modality.sfreq}))
    module = new_classifier(encoder, task, modality, Normaliser(kind="window"), dropout=0.1, profile={}, provenance={})
    x = torch.randn(BATCH, modality.n_chans, encoder.config.token_times * N_SECONDS)
    state = torch.full(x.shape[:2], MEASURED)
    return module, lambda: module(x, state)[0].square().mean()


def _pretraining(name: str) -> tuple[nn.Module, Step]:
    state = torch.full((BATCH, EEG_1020.n_chans), MEASURED)
    x = torch.randn(BATCH, EEG_1020.n_chans, 256 * N_SECONDS)
    plan = MaskPlan(schedule_weights=(0.5, 0.0, 0.5))
    masks = draw_masks(Draws(0, torch.arange(BATCH)), state, x.shape[-1], sfreq=256.0, plan=plan)
    truth, seen = hide(x, masks, state)
    batch = {
        **Montage.of(EEG_1020, state).tensors(), "x_BCT": truth, "mask_BCT": masks, "filled_BCT": seen,
        "sleep_target_B": torch.arange(BATCH) % 5,
    }  # fmt: skip
    module = PretrainModel(Encoder(ENCODER), {name: 1.0})
    return module, lambda: module(batch)[name] / module.counts(batch)[name].clamp(min=1e-12)


def _autoencoder() -> tuple[nn.Module, Step]:
    module = Autoencoder(AutoencoderConfig(width=8, depth=1), EEG_1020)
    x = torch.randn(BATCH, EEG_1020.n_chans, 256 * N_SECONDS)
    seen = (torch.arange(EEG_1020.n_chans) % 3 > 0).float().expand(BATCH, -1)
    counts = torch.ones(BATCH, EEG_1020.n_chans, N_SECONDS)
    return module, lambda: module.total(x, seen, x, counts) / module.count(seen, counts)


def _stacker() -> tuple[nn.Module, Step]:
    module = Stacker(("a", "b"), 6)
    prob = torch.rand(BATCH, 2, 6).softmax(-1)
    return module, lambda: nn.functional.nll_loss(module(prob)[0], torch.arange(BATCH) % 6)


def _multimodal() -> tuple[nn.Module, Step]:
    module = create_multimodal_ecg_model(6, dim=16, n_heads=2, signal_widths=(9, 12, 12))
    given = {
        "images": torch.rand(BATCH, 3, 64, 96), "signals": torch.randn(BATCH, 12, 100 * N_SECONDS),
        "numerical_metadata": torch.full((BATCH, 3), 70.0), "categorical_metadata": torch.ones(BATCH, 1).long(),
    }  # fmt: skip

    def step() -> Tensor:
        answer = module(**given)
        return (
            answer.logits_BK.square().mean() + answer.severity_BS.square().mean() + answer.confidence_B.square().mean()
        )

    return module, step
