"""What losses for rare classes do to ranking and to calibration, one positive to 800: on generated infarctions.

Every model sees the same few positives. AUPRC, precision and calibration are those at the prevalence of training: tests
hold more positives than that, so that they can be measured, and negatives weigh as many as they stand for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from evaluation.measures.metrics import auprc, auroc
from evaluation.measures.multilabel import fit_shift
from model.supervised.supervised import Supervised, new_network
from signals.bundles.calibration import activated, shifted_each
from signals.modality import ECG_12
from signals.shards.normalise import Normaliser
from signals.tasks import Task
from signals.window import MEASURED
from synthetic.heart.leads import NoiseLevels
from synthetic.heart.stacks import Stack, draw_stack
from training.fitting.arrays import fit_arrays
from training.fitting.learning import TaskObjective
from training.fitting.loss import Losses, statement_losses
from training.objectives.losses import StatementLoss
from training.objectives.rarity import LOSSES, LossKind, odds_shift
from training.recipes.finetuning import FinetuneObjective, FinetuneOptim, FinetuneRecipe, FinetuneSchedule

WINDOW_S = 1.28
NEGATIVES = ("normal", "t inversion", "hypertrophy", "right bundle", "left bundle")
POSITIVE = "infarction"
NOISY = NoiseLevels(wander=0.5, mains=0.02, muscle=0.12)
"""What makes the task hard: wander moves the level that an infarction raises."""
TASK = Task(name="rare", classes=("MI",), window_s=WINDOW_S, multilabel=True)


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much is drawn and trained."""

    positives: int = 24
    ratio: int = 800
    """Negatives a positive in training."""
    tested: tuple[int, int] = (400, 4000)
    """Positives and negatives of the test."""
    steps: int = 400
    batch: int = 128
    seeds: int = 3


@dataclass(frozen=True, kw_only=True)
class RareScore:
    """One model at the prevalence of training."""

    auroc: float
    auprc: float
    mean_over_prevalence: float
    """Mean probability over the share that has the class; 1 for a model that is right on average."""
    log_loss: float
    """Nats a window."""
    corrected_over_prevalence: float
    """The same after the prior correction, which takes the weights' log odds back and knows nothing of margins."""
    corrected_log_loss: float
    fitted_log_loss: float
    """After a shift of the logit that other people fitted."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """People to learn from and people to test on."""

    train: Stack = field(repr=False)
    test: Stack = field(repr=False)
    fitted: Stack = field(repr=False)
    """People who fit the shift of the logit: as many of both as the test has, halved."""
    ratio: int

    def weight(self, stack: Stack) -> np.ndarray:
        """Return how many windows of the prevalence of training each window stands for, shape (n,), mean 1."""
        is_yes = stack.condition == 0
        weight = np.where(is_yes, 1 / is_yes.sum(), self.ratio / (~is_yes).sum())
        return np.asarray(weight / weight.mean())


def draw(amounts: Amounts, *, seed: int) -> Drawn:
    """Return new people, of whom one in `ratio + 1` has the class."""
    yes, no = amounts.tested
    sides = (amounts.positives, amounts.positives * amounts.ratio), (yes, no), (yes // 2, no // 2)
    train, test, fitted = (
        draw_stack(_counts(*side), seed=1000 * seed + number, duration_s=WINDOW_S, noise=NOISY)
        for number, side in enumerate(sides)
    )
    return Drawn(train=train, test=test, fitted=fitted, ratio=amounts.ratio)


def _counts(yes: int, no: int) -> list[tuple[str, int]]:
    return [(POSITIVE, yes), *((name, no // len(NEGATIVES)) for name in NEGATIVES)]


def fit(drawn: Drawn, kind: LossKind, amounts: Amounts, *, seed: int) -> tuple[Supervised, Losses]:
    """Return a small network that was trained with a loss, and the loss."""
    recipe = FinetuneRecipe(
        seed=seed, objective=FinetuneObjective(loss=kind, class_weights="never", reweight_from=0.7),
        optim=FinetuneOptim(batch=amounts.batch, micro_batch=amounts.batch, learning_rate=3e-3),
        schedule=FinetuneSchedule(warmup_steps=20),
    )  # fmt: skip
    torch.manual_seed(seed)
    model = new_network(
        "multiscale", TASK, ECG_12, Normaliser(kind="window"), dropout=0.1, profile={}, provenance={}, widths=(12, 16)
    )
    target = (drawn.train.condition == 0).astype(np.float32)[:, None]
    losses = statement_losses(target, recipe.objective)
    objective = TaskObjective(model, losses.first)

    def before_step(step: int) -> None:
        objective.loss = losses.at(step, amounts.steps)

    x_BCT = torch.from_numpy(drawn.train.x)
    arrays = {"x_BCT": x_BCT, "ch_state_BC": states(len(x_BCT)), "target_BK": torch.from_numpy(target)}
    fit_arrays(objective, arrays, recipe, n_steps=amounts.steps, label=kind, before_step=before_step)
    return model.eval(), losses


def states(n: int) -> torch.Tensor:
    """Return twelve measured leads for each window."""
    return torch.full((n, ECG_12.n_chans), MEASURED)


@torch.no_grad()
def probabilities(model: Supervised, x: np.ndarray, *, batch: int = 256) -> np.ndarray:
    """Return the probability of the class, shape (n, 1)."""
    parts = [
        model(torch.from_numpy(x[at : at + batch]), states(len(x[at : at + batch])))[0].double().numpy()
        for at in range(0, len(x), batch)
    ]
    return activated(np.concatenate(parts), multilabel=True)


def score(prob: np.ndarray, fitted: np.ndarray, losses: Losses, drawn: Drawn) -> RareScore:
    """Return how probabilities, shape (n, 1), do on the test at the prevalence of training.

    fitted: those of the people who fit the shift.
    """
    positive, weight = drawn.test.condition == 0, drawn.weight(drawn.test)
    weights_K = losses.last.positive_weight_K if isinstance(losses.last, StatementLoss) else None
    known = np.zeros(1) if weights_K is None else odds_shift(weights_K.numpy())
    found = fit_shift(fitted[:, 0], drawn.fitted.condition == 0, drawn.weight(drawn.fitted))
    after, prevalence = shifted_each(prob, known)[:, 0], float((weight * positive).mean())
    return RareScore(
        auroc=float(auroc(prob[:, 0], positive)),
        auprc=auprc(prob[:, 0], positive, weight),
        mean_over_prevalence=float((weight * prob[:, 0]).mean()) / prevalence,
        log_loss=_log_loss(prob[:, 0], positive, weight),
        corrected_over_prevalence=float((weight * after).mean()) / prevalence,
        corrected_log_loss=_log_loss(after, positive, weight),
        fitted_log_loss=_log_loss(shifted_each(prob, np.full(1, found))[:, 0], positive, weight),
    )


def _log_loss(prob: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> float:
    p = np.clip(prob, 1e-9, 1 - 1e-9)
    return -float((weight * np.where(positive, np.log(p), np.log(1 - p))).mean())


def compare(
    amounts: Amounts, kinds: Sequence[LossKind] = tuple(LOSSES), *, first_seed: int = 0
) -> Mapping[LossKind, list[RareScore]]:
    """Return the scores of each kind of loss, one for each draw of people, the same people for all kinds."""
    found: dict[LossKind, list[RareScore]] = {kind: [] for kind in kinds}
    for seed in range(first_seed, first_seed + amounts.seeds):
        drawn = draw(amounts, seed=seed)
        for kind in kinds:
            model, losses = fit(drawn, kind, amounts, seed=seed)
            prob, fitted = (probabilities(model, stack.x) for stack in (drawn.test, drawn.fitted))
            found[kind].append(score(prob, fitted, losses, drawn))
    return found


SMALL = replace(Amounts(), positives=4, ratio=50, tested=(20, 100), steps=10, batch=32, seeds=1)
"""What runs to its end in seconds and shows nothing."""
