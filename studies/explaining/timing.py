"""What an explanation of a window of 50 s takes on this machine, for a small network of random weights."""

import time
from collections.abc import Callable

import numpy as np
import torch

from explain.asking.occlusion import occlusion
from model.explaining.gradients import ask_of, integrated_gradients
from model.supervised.networks import NetworkShape
from model.supervised.supervised import NETWORKS
from signals.modality import EEG_1020
from signals.tasks import SIX_CLASS


def explanation_times(*, repeats: int, seed: int = 0) -> dict[str, float]:
    """Return the 95th percentile of occlusion and of integrated gradients (32 steps), one background each, ms."""
    torch.manual_seed(seed)
    shape = NetworkShape(
        n_chans=EEG_1020.n_chans, sfreq=EEG_1020.sfreq, n_classes=len(SIX_CLASS.classes),
        span_s=SIX_CLASS.label_span_s, window_s=SIX_CLASS.window_s, ch_names=EEG_1020.ch_names,
    )  # fmt: skip
    network = NETWORKS["resnet_gru"](shape, dropout=0.0).eval()
    rng, n_times = np.random.default_rng(seed), round(SIX_CLASS.window_s * EEG_1020.sfreq)
    x, start = rng.normal(size=(2, EEG_1020.n_chans, n_times)).astype(np.float32)
    given = {"sfreq": EEG_1020.sfreq, "backgrounds": start[None]}
    programs: dict[str, Callable[[], object]] = {
        "explain_ms_occlusion": lambda: occlusion(ask_of(network), x, 0, batch_size=8, **given),
        "explain_ms_ig": lambda: integrated_gradients(network, x, 0, **given),
    }
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            started = time.perf_counter()
            program()
            taken[name].append(1000 * (time.perf_counter() - started))
    return {name: float(np.quantile(values, 0.95)) for name, values in taken.items()}
