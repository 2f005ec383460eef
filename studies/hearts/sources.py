"""What each source adds to a diagnosis: one model of image, leads, numbers and categories, with and without each.

Training leaves sources out at random, so that one model answers every subset; differences are paired over people.
Generated people: age and weight make hypertrophy and infarction likelier, which the leads do not show; the image is
drawn from the leads themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from evaluation.measures.bootstrap import resamples
from evaluation.measures.intervals import Estimate, t_interval
from evaluation.measures.metrics import auroc
from evaluation.measures.selective import risk_curve
from model.sources.heads import ConfidenceHead, SeverityHead
from model.sources.multimodal import SOURCES, Diagnosis, MultimodalClassifier, create_multimodal_ecg_model
from signals.bundles.calibration import activated
from signals.bundles.metadata import FIELDS
from synthetic.heart.leads import NoiseLevels
from synthetic.heart.pages import coarse_pages
from synthetic.heart.stacks import draw_stack
from training.fitting.arrays import fit_arrays
from training.objectives.augmenting.images import photographed
from training.recipes.finetuning import FinetuneOptim, FinetuneRecipe, FinetuneSchedule

DIAGNOSES = ("infarction", "t inversion", "left bundle", "right bundle", "hypertrophy")
NOISE = NoiseLevels(wander=0.4, muscle=0.12)
WINDOW_S = 2.56
LEFT_OUT = 0.25
"""Chance of each source to be left out of a window in training."""
REDUNDANT = 0.01
"""AUROC that a gain must reach to matter: a source whose interval stays within it is redundant beside the others."""
N_BOOT = 300


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much is drawn and trained."""

    train: int = 480
    fitted: int = 240
    """People who calibrate the confidence."""
    test: int = 480
    steps: int = 250
    batch: int = 32
    dim: int = 32


SMALL = Amounts(train=24, fitted=24, test=36, steps=3, batch=8, dim=16)


@dataclass(frozen=True, kw_only=True)
class People:
    """Sources and targets of generated people."""

    sources: Mapping[str, Tensor] = field(repr=False)
    target: np.ndarray = field(repr=False)
    """float32, shape (n, n_classes): the five diagnoses and normal."""
    severity: np.ndarray = field(repr=False)
    """Of infarctions 1 to 3, 0 of normal people, -1 where no label exists."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Sources and targets by name."""
        return {**self.sources, "target_BK": torch.from_numpy(self.target), "level_B": torch.from_numpy(self.severity)}


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Macro AUROC with a source less that without it, beside the same others."""

    source: str
    beside: tuple[str, ...]
    gain: Estimate

    @property
    def decision(self) -> str:
        """ "redundant" (both ends within REDUNDANT of 0, even where they leave 0 out), "adds", "harms", "undecided"."""
        if self.gain.low > -REDUNDANT and self.gain.high < REDUNDANT:
            return "redundant"
        if self.gain.low > 0:
            return "adds"
        return "harms" if self.gain.high < 0 else "undecided"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a model of several sources does on people that it was not trained on."""

    signal_auroc: Estimate
    multi_auroc: Estimate
    gains: tuple[Gain, ...]
    gates: Mapping[str, float]
    severity_error: float
    """Mean distance of the expected level from the true one, where there is one."""
    severity_trivial: float
    """The same of the training people's mean level."""
    confidence_error: float
    """Expected calibration error of P(correct), ten bins."""
    confidence_aurc: float
    probability_aurc: float
    """The same when ordered by the least decided diagnosis instead."""


def draw_people(n: int, *, seed: int) -> People:
    """Return people with metadata, of whom one in five is without each number; conditions follow age and weight."""
    rng = np.random.default_rng(seed)
    age, weight = rng.uniform(25, 90, n), rng.normal(78, 14, n)
    male = rng.random(n) < 0.5
    odds = np.stack(
        [0.045 * (age - 55) + 0.5 * male, np.zeros(n), 0.02 * (age - 55), np.zeros(n),
         0.05 * (weight - 78) + 0.02 * (age - 55), 0.6 - 0.03 * (age - 55)], axis=1,
    )  # fmt: skip
    condition = (odds + rng.gumbel(size=odds.shape)).argmax(axis=1)
    order = np.argsort(condition, kind="stable")
    names = (*DIAGNOSES, "normal")
    stack = draw_stack(
        [(name, int((condition == k).sum())) for k, name in enumerate(names)], seed=seed, duration_s=WINDOW_S,
        noise=NOISE,
    )  # fmt: skip
    target = np.eye(len(names), dtype=np.float32)[stack.condition]
    severity = np.where(stack.condition == len(names) - 1, 0, -1)
    is_mi = stack.condition == 0
    severity[is_mi] = 1 + np.digitize(np.linalg.norm(stack.st_mv[is_mi], axis=1), (0.27, 0.34))
    rows = [
        {"age": age[i], "weight_kg": weight[i], "height_cm": float(rng.normal(170, 9)),
         "sex": ("female", "male")[int(male[i])]}
        for i in order
    ]  # fmt: skip
    kept = [{key: value for key, value in row.items() if rng.random() > 0.2} for row in rows]
    numbers, levels = map(torch.from_numpy, FIELDS.arrays(kept))
    signals = torch.from_numpy(stack.x)
    values = (torch.from_numpy(coarse_pages(stack.x)), signals, numbers, levels)
    return People(sources=dict(zip(SOURCES, values, strict=True)), target=target, severity=severity)


class SourcesObjective(nn.Module):
    """Diagnoses, severity and confidence of a model, each a sum and a count."""

    def __init__(self, model: MultimodalClassifier) -> None:
        super().__init__()
        self.model = model
        self.weights = {"diagnosis": 1.0, "severity": 0.3, "confidence": 0.1}

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return totals over a batch of sources, "there_BS", "target_BK" and "level_B"."""
        answer: Diagnosis = self.model(**{name: batch[name] for name in SOURCES}, there=batch["there_BS"])
        loss = nn.functional.binary_cross_entropy_with_logits(answer.logits_BK, batch["target_BK"], reduction="sum")
        return {
            "diagnosis": loss,
            "severity": SeverityHead.total(answer.severity_BS, batch["level_B"]),
            "confidence": ConfidenceHead.total(answer.confidence_B, answer.logits_BK, batch["target_BK"]),
        }

    def counts(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return diagnoses, people with a severity, and people."""
        n = torch.tensor(float(len(batch["target_BK"])))
        known = (batch["level_B"] >= 0).sum().float()
        return {"diagnosis": n * batch["target_BK"].shape[1], "severity": known, "confidence": n}


def change(rng: np.random.Generator, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a batch whose pages a camera saw, and of whose sources some are left out, at least one kept."""
    there = rng.random((len(batch["target_BK"]), len(SOURCES))) > LEFT_OUT
    there[np.arange(len(there)), rng.integers(0, len(SOURCES), len(there))] = True
    pages = np.stack([photographed(page, rng, strength=0.3) for page in batch["images"].numpy()])
    return {**batch, "images": torch.from_numpy(pages), "there_BS": torch.from_numpy(there)}


def fit(people: People, amounts: Amounts, *, seed: int) -> MultimodalClassifier:
    """Return a model of several sources, trained."""
    torch.manual_seed(seed)
    model = create_multimodal_ecg_model(
        people.target.shape[1], dim=amounts.dim, n_heads=2, signal_widths=(12, 16, 24), n_severities=4
    )
    recipe = FinetuneRecipe(
        seed=seed, optim=FinetuneOptim(batch=amounts.batch, micro_batch=amounts.batch, learning_rate=3e-3),
        schedule=FinetuneSchedule(warmup_steps=15),
    )  # fmt: skip
    fit_arrays(SourcesObjective(model), people.tensors, recipe, n_steps=amounts.steps, label="sources", change=change)
    return model.eval()


@torch.no_grad()
def answer(model: MultimodalClassifier, people: People, used: tuple[str, ...], *, batch: int = 64) -> Diagnosis:
    """Return the answers when only some sources are used."""
    n = len(people.target)
    parts = []
    for at in range(0, n, batch):
        rows = {name: people.sources[name][at : at + batch] for name in used}
        parts.append(model(**rows))
    return Diagnosis(
        **{
            name: torch.cat([getattr(part, name) for part in parts])
            for name in ("logits_BK", "severity_BS", "confidence_B", "embedding_BD")
        }
    )


def study(amounts: Amounts, *, seed: int = 0) -> Found:
    """Return what one trained model does with every source, and what each adds."""
    train, fitted, test = (
        draw_people(n, seed=10 * seed + k) for k, n in enumerate((amounts.train, amounts.fitted, amounts.test))
    )
    model = fit(train, amounts, seed=seed)
    subsets = {SOURCES, ("signals",), ("images", "signals")}
    subsets |= {tuple(name for name in SOURCES if name != left) for left in SOURCES}
    prob = {used: activated(answer(model, test, used).logits_BK.double().numpy(), multilabel=True) for used in subsets}
    drawn = {used: _drawn(each, test.target) for used, each in prob.items()}
    pairs = [(SOURCES, left) for left in SOURCES] + [(("images", "signals"), "images")]
    whole, held = answer(model, test, SOURCES), answer(model, fitted, SOURCES)
    confidence, right = calibrated_confidence(held, fitted.target, whole), _right(whole, test.target)
    decided = whole.logits_BK.abs().min(dim=1).values.numpy()
    known = test.severity >= 0
    levels = SeverityHead.probabilities(whole.severity_BS).numpy() @ np.arange(4.0)
    usual = train.severity[train.severity >= 0].mean()
    return Found(
        signal_auroc=_auroc(("signals",), prob, drawn, test),
        multi_auroc=_auroc(SOURCES, prob, drawn, test),
        gains=tuple(_gain(used, left, prob, drawn, test) for used, left in pairs),
        gates=model.gates(),
        severity_error=float(np.abs(levels - test.severity)[known].mean()),
        severity_trivial=float(np.abs(usual - test.severity)[known].mean()),
        confidence_error=calibration_error(confidence, right),
        confidence_aurc=float(risk_curve(confidence, 1 - right).mean()),
        probability_aurc=float(risk_curve(decided, 1 - right).mean()),
    )


def calibrated_confidence(held: Diagnosis, target: np.ndarray, answered: Diagnosis) -> np.ndarray:
    """Return P(correct) of `answered`, shape (n,), from slopes that held-out people fitted (Platt 1999).

    Two slopes: the head's logit, and how decided the least decided diagnosis is. Where all held-out people are right,
    or none, their share is all that is known.
    """
    from sklearn.linear_model import LogisticRegression

    right = _right(held, target)
    if len(np.unique(right)) < 2:
        return np.full(len(answered.logits_BK), (right.sum() + 1) / (len(right) + 2))
    fitted = LogisticRegression(C=10.0).fit(_features(held), right)
    return np.asarray(fitted.predict_proba(_features(answered))[:, 1])


def _features(answer: Diagnosis) -> np.ndarray:
    return np.stack([answer.confidence_B.numpy(), answer.logits_BK.abs().min(dim=1).values.numpy()], axis=1)


def _right(answer: Diagnosis, target: np.ndarray) -> np.ndarray:
    return ((answer.logits_BK.numpy() > 0) == (target > 0.5)).all(axis=1).astype(np.float64)


def calibration_error(confidence: np.ndarray, right: np.ndarray, *, n_bins: int = 10) -> float:
    """Return the mean distance of confidence and share right, over bins of equal counts."""
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(n_bins, len(order)))
    gaps = [len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts]
    return float(sum(gaps) / len(order))


def macro_auroc(prob: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the mean AUROC over classes, shape (n_boot,), or () without weights."""
    each = [auroc(prob[:, k], target[:, k] > 0.5, weights) for k in range(prob.shape[1])]
    return np.asarray(np.nanmean(np.stack(each), axis=0))


def _drawn(prob: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.concatenate([macro_auroc(prob, target, rows) for rows in resamples(len(prob), n_boot=N_BOOT, seed=0)])


def _auroc(
    used: tuple[str, ...], prob: Mapping[tuple[str, ...], np.ndarray], drawn: Mapping[tuple[str, ...], np.ndarray],
    test: People,
) -> Estimate:  # fmt: skip
    value = float(macro_auroc(prob[used], test.target))
    return Estimate(value, *t_interval(value, drawn[used], n_units=len(test.target)))


def _gain(
    used: tuple[str, ...], left: str, prob: Mapping[tuple[str, ...], np.ndarray],
    drawn: Mapping[tuple[str, ...], np.ndarray], test: People,
) -> Gain:  # fmt: skip
    rest = tuple(name for name in used if name != left)
    value = float(macro_auroc(prob[used], test.target) - macro_auroc(prob[rest], test.target))
    gap = drawn[used] - drawn[rest]
    return Gain(source=left, beside=rest, gain=Estimate(value, *t_interval(value, gap, n_units=len(test.target))))
