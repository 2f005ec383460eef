"""Models that learn planted evidence, small enough for two cores: three networks, and a linear model of named features.

Each is trained until its AUROC on windows of other people reaches `WANTED`, or its time is up.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from explain.asking.ask import Ask
from model.classifier import new_classifier
from model.encoder import Encoder
from model.encoder_config import sized
from model.explaining.gradients import ask_of
from model.patterns.logistic import LogisticModel, logistic_of
from model.supervised.networks import NetworkShape
from model.supervised.supervised import NETWORKS
from signals.files import atomic_file
from signals.modality import EEG_1020
from signals.patterns.features import pattern_features
from signals.shards.normalise import Normaliser
from signals.tasks import Task
from signals.window import MEASURED
from synthetic.evidence.planted import CLASSES, Design, backgrounds, draw_batch

WANTED = 0.99
READER_DESIGN = Design(window_s=30.0, burst_s=8.0, decoy_s=5.0)
"""The reader looks at 30 s at least, and its features are means over stretches."""
_TRAIN_PEOPLE, _CHECK_PEOPLE, _N_CHECK = 120, 40, 160
NETWORK_NAMES = ("resnet_gru", "efficientnet_scalogram", "encoder")
READER = "pattern reader"
MODELS = (*NETWORK_NAMES, READER)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model of planted evidence, and how well it does on windows of people that it was not trained on."""

    name: str
    ask: Ask = field(repr=False)
    auroc: float
    design: Design
    network: nn.Module | None = field(default=None, repr=False)
    """None for the reader, which has no gradients."""
    reader: LogisticModel | None = field(default=None, repr=False)
    n_windows: int = 0
    """Windows that it learnt from."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long training may take."""

    seconds: float = 120.0
    """Of this process's processor time, so that a busy machine trains as long as a quiet one."""
    most_steps: int = 2000
    batch: int = 32
    shuffled: bool = False
    """Labels drawn at random, for the control that must learn nothing."""


class OfEncoder(nn.Module):
    """A classifier on an encoder, all channels measured."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return the logits."""
        state_BC = torch.full(x_BCT.shape[:2], MEASURED, dtype=torch.int64)
        logits_BK: Tensor = self.classifier(x_BCT, state_BC)[0]
        return logits_BK


def new_model(name: str, design: Design) -> nn.Module:
    """Return a small network with fresh weights."""
    shape = NetworkShape(
        n_chans=EEG_1020.n_chans, sfreq=design.sfreq, n_classes=len(CLASSES), window_s=design.window_s,
        ch_names=EEG_1020.ch_names,
    )  # fmt: skip
    if name == "resnet_gru":
        return NETWORKS[name](shape, dropout=0.1, widths=(16, 24, 32))
    if name == "efficientnet_scalogram":
        return NETWORKS[name](shape, dropout=0.1, width=0.25, depth=0.25)
    if name != "encoder":
        raise ValueError(f"name={name!r} is none of {', '.join(NETWORK_NAMES)}")
    task = Task(name="planted", classes=CLASSES, window_s=design.window_s)
    encoder = Encoder(sized("tiny", dim=32, depth=1, stem_dim=24, n_heads=2))
    return OfEncoder(
        new_classifier(encoder, task, EEG_1020, Normaliser(kind="window"), dropout=0.1, profile={}, provenance={})
    )


def train(name: str, *, seed: int, design: Design | None = None, budget: Budget | None = None) -> Trained:
    """Return a trained network; raises ValueError for an unknown name."""
    design, budget = design or Design(), budget or Budget()
    torch.manual_seed(seed)
    network = new_model(name, design)
    rng, bank = np.random.default_rng([seed, 1]), backgrounds([seed, 2], _TRAIN_PEOPLE, design)
    check = draw_batch(np.random.default_rng([7, 1]), backgrounds([7, 2], _CHECK_PEOPLE, design), _N_CHECK, design)
    _standardise(network, name, torch.from_numpy(draw_batch(rng, bank, 96, design)[0]))
    rate = 3e-3 if name != "encoder" else 1.5e-3
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    ends, area, step, good = time.process_time() + budget.seconds, 0.0, 0, 0
    while step < budget.most_steps and time.process_time() < ends and good < 2:
        step += 1
        x, labels = draw_batch(rng, bank, budget.batch, design)
        labels = rng.permutation(labels) if budget.shuffled else labels
        _step(network.train(), optimizer, x, labels)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, step / 30) * (1.0 if good == 0 else 0.2)
        if step % 40 == 0 and not budget.shuffled:
            area = auroc(ask_of(network.eval()), *check)
            good = good + 1 if area >= WANTED + 0.002 else 0
    network.eval()
    area = auroc(ask_of(network), *check)
    return Trained(
        name=name, ask=ask_of(network), auroc=area, design=design, network=network, n_windows=step * budget.batch
    )


def save(trained: Trained, path: Path) -> None:
    """Keep a network's weights and what is known of it, whole or not at all."""
    assert trained.network is not None
    with atomic_file(path) as file:
        torch.save(
            {"weights": trained.network.state_dict(), "auroc": trained.auroc, "n_windows": trained.n_windows}, file
        )


def load(name: str, path: Path, design: Design | None = None) -> Trained:
    """Return a network that `save` kept; raises as torch.load for a file that is none."""
    design = design or Design()
    kept, network = torch.load(path, weights_only=True), new_model(name, design)
    network.load_state_dict(kept["weights"])
    network.eval()
    return Trained(
        name=name, ask=ask_of(network), auroc=kept["auroc"], design=design, network=network,
        n_windows=kept["n_windows"],
    )  # fmt: skip


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, x: np.ndarray, labels: np.ndarray) -> None:
    out = network(torch.from_numpy(x))
    loss = nn.functional.cross_entropy(out if isinstance(out, Tensor) else out[0], torch.from_numpy(labels))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


@torch.no_grad()
def _standardise(network: nn.Module, name: str, x_BCT: Tensor) -> None:
    """Let a network take from windows what is usual, as training does."""
    if name == "efficientnet_scalogram":
        network.standardise(x_BCT)
    elif isinstance(network, OfEncoder):
        classifier, state_BC = network.classifier, torch.full(x_BCT.shape[:2], MEASURED, dtype=torch.int64)
        classifier.head.standardise(classifier.features(classifier.tokens(x_BCT, state_BC), state_BC))


def train_reader(*, seed: int, n_windows: int = 600, shuffled: bool = False) -> Trained:
    """Return a logistic regression on the features that a report would name (`signals.patterns.features`)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    design, rng = READER_DESIGN, np.random.default_rng([seed, 3])
    x, labels = draw_batch(rng, backgrounds([seed, 4], _TRAIN_PEOPLE, design), n_windows, design)
    labels = rng.permutation(labels) if shuffled else labels
    names, rows = feature_rows(x, design.sfreq)
    low, high = np.quantile(rows, [0.01, 0.99], axis=0)
    clipped = np.clip(rows, low, high)
    scaler = StandardScaler().fit(clipped)
    found = LogisticRegression(C=0.05, max_iter=2000).fit(scaler.transform(clipped), labels)
    reader = logistic_of(
        scaler.mean_, scaler.scale_, found.coef_, found.intercept_, limits=(low, high), names=names, classes=CLASSES
    )
    ask = ask_of_reader(reader, design.sfreq)
    check = draw_batch(np.random.default_rng([7, 3]), backgrounds([7, 4], _CHECK_PEOPLE, design), 150, design)
    return Trained(name=READER, ask=ask, auroc=auroc(ask, *check), design=design, reader=reader, n_windows=n_windows)


def feature_rows(x: np.ndarray, sfreq: float) -> tuple[tuple[str, ...], np.ndarray]:
    """Return names and values of windows' features, float64, shape (n, n_features)."""
    rows = [pattern_features(each, sfreq) for each in x]
    return tuple(rows[0]), np.array([list(row.values()) for row in rows])


def ask_of_reader(reader: LogisticModel, sfreq: float) -> Ask:
    """Return a reader as something to ask: logarithms of its probabilities, which are logits up to a constant."""

    def ask(windows: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(reader.predict(feature_rows(windows, sfreq)[1]), 1e-30))

    return ask


def with_random_weights(trained: Trained, *, stage: int, n_stages: int, seed: int) -> Trained:
    """Return the model with its last `stage` of `n_stages` groups of layers drawn anew, from output to input.

    A reader's weights are permuted over features instead.
    """
    import copy

    rng = np.random.default_rng([seed, 5])
    if trained.reader is not None:
        reader = replace(trained.reader, weight=rng.permutation(trained.reader.weight))
        return replace(trained, reader=reader, ask=ask_of_reader(reader, trained.design.sfreq))
    assert trained.network is not None
    network, torch_rng = copy.deepcopy(trained.network), torch.Generator().manual_seed(seed)
    learnt = [p for p in network.parameters() if p.ndim > 1]
    first = round(len(learnt) * (1 - stage / n_stages))
    with torch.no_grad():
        for weight in learnt[first:]:  # as large as before: only what was learnt is gone
            weight.copy_(torch.randn(weight.shape, generator=torch_rng) * weight.std())
    return replace(trained, network=network, ask=ask_of(network))


def auroc(ask: Callable[[np.ndarray], np.ndarray], x: np.ndarray, labels: np.ndarray) -> float:
    """Return the macro AUROC, one class against the others."""
    from sklearn.metrics import roc_auc_score

    logits = np.concatenate([ask(x[at : at + 32]) for at in range(0, len(x), 32)]).astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return float(roc_auc_score(labels, odds / odds.sum(axis=1, keepdims=True), multi_class="ovr"))
