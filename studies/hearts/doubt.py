"""Whether doubt is worth anything: one network, dropout left on, ensembles, a temperature; at home and under shift.

Six conditions, one a person. Risk-coverage by the probability of the predicted class (`evaluation.measures.selective`),
paired over people: every way answers the same windows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from evaluation.measures.bootstrap import resamples
from evaluation.measures.calibration import fit_temperature
from evaluation.measures.intervals import Estimate, t_interval
from evaluation.measures.selective import mistakes, risk_curve
from model.supervised.supervised import Supervised, new_network
from signals.bundles.calibration import softmax, tempered
from signals.modality import ECG_12
from signals.shards.normalise import Normaliser
from signals.tasks import Task
from studies.hearts.rare import states
from synthetic.heart.files import SITES
from synthetic.heart.leads import NoiseLevels
from synthetic.heart.stacks import SCALE_MV, Stack, draw_stack
from training.fitting.arrays import fit_arrays
from training.fitting.inference import dropout_on
from training.fitting.learning import TaskObjective
from training.objectives.losses import VoteLoss
from training.recipes.finetuning import FinetuneOptim, FinetuneRecipe, FinetuneSchedule

CONDITIONS = ("normal", "infarction", "t inversion", "left bundle", "right bundle", "hypertrophy")
HOME = NoiseLevels(wander=0.8, muscle=0.3)
ABROAD = replace(SITES["lagos"][2], wander=1.6, muscle=0.6, mains_hz=30.0)
"""Another site: more wander and muscle, and mains where the 100 Hz of these windows fold 70 Hz to."""
ADDED_MV = 0.5
WINDOW_S = 2.56
TASK = Task(name="condition", classes=CONDITIONS, window_s=WINDOW_S)
WAYS = ("single", "temperature", "mc_dropout", "ensemble3", "ensemble", "families")
FAMILIES = ("multiscale", "eegnet", "resnet_gru")
SHIFTS = ("home", "site", "noise", "swap")
N_BOOT = 500


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much is drawn and trained."""

    train: int = 20
    """People a condition; another third of them fits the temperature."""
    test: int = 40
    steps: int = 120
    members: int = 5
    samples: int = 20
    """Draws with dropout left on."""
    batch: int = 48


SMALL = Amounts(train=6, test=4, steps=4, members=3, samples=3, batch=8)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How one way does under one shift."""

    accuracy: float
    aurc: float
    against_single: Estimate
    """AURC less that of the single network on the same people; below 0 is better."""


def shifted_stacks(amounts: Amounts, *, seed: int) -> Mapping[str, Stack]:
    """Return the same hearts as they are recorded under each of SHIFTS."""
    counts = [(name, amounts.test) for name in CONDITIONS]
    home = draw_stack(counts, seed=seed, duration_s=WINDOW_S, noise=HOME)
    added = np.random.default_rng(seed).normal(0, ADDED_MV / SCALE_MV, home.x.shape).astype(np.float32)
    return {
        "home": home,
        "site": draw_stack(counts, seed=seed, duration_s=WINDOW_S, noise=ABROAD),
        "noise": replace(home, x=home.x + added),
        "swap": replace(home, x=arms_exchanged(home.x)),
    }


def arms_exchanged(x: np.ndarray) -> np.ndarray:
    """Return twelve leads (..., 12, n_times) as recorded with the arm electrodes exchanged."""
    names = list(ECG_12.ch_names)
    order = np.arange(len(names))
    for a, b in (("II", "III"), ("aVR", "aVL")):
        order[[names.index(a), names.index(b)]] = names.index(b), names.index(a)
    moved = x[..., order, :].copy()
    moved[..., names.index("I"), :] *= -1
    return moved


def fit(stack: Stack, amounts: Amounts, *, network: str, seed: int) -> Supervised:
    """Return a network trained from a seed of its own."""
    recipe = FinetuneRecipe(
        seed=seed, optim=FinetuneOptim(batch=amounts.batch, micro_batch=amounts.batch, learning_rate=3e-3),
        schedule=FinetuneSchedule(warmup_steps=10),
    )  # fmt: skip
    torch.manual_seed(seed)
    options: dict[str, Any] = {"widths": (12, 16, 24)} if network != "eegnet" else {}
    model = new_network(
        network, TASK, ECG_12, Normaliser(kind="window"), dropout=0.3, profile={}, provenance={}, **options
    )
    target = torch.eye(len(CONDITIONS))[torch.from_numpy(stack.condition)]
    x_BCT = torch.from_numpy(stack.x)
    arrays = {"x_BCT": x_BCT, "ch_state_BC": states(len(x_BCT)), "target_BK": target}
    fit_arrays(TaskObjective(model, VoteLoss()), arrays, recipe, n_steps=amounts.steps, label=f"{network} {seed}")
    return model.eval()


@torch.no_grad()
def answers(model: Supervised, x: np.ndarray) -> np.ndarray:
    """Return probabilities, float64, shape (n, 6)."""
    return softmax(model(torch.from_numpy(x), states(len(x)))[0].double().numpy())


def dropped(model: Supervised, x: np.ndarray, *, n_samples: int, seed: int) -> np.ndarray:
    """Return the mean of probabilities with dropout left on, shape (n, 6)."""
    with dropout_on(model), torch.random.fork_rng():
        torch.manual_seed(seed)
        return np.asarray(np.mean([answers(model, x) for _ in range(n_samples)], axis=0))


def compare(amounts: Amounts, *, seed: int = 0) -> dict[tuple[str, str], Selection]:
    """Return how each of WAYS does under each of SHIFTS, by (shift, way)."""
    train, fitted = (
        draw_stack([(name, n) for name in CONDITIONS], seed=100 * seed + side, duration_s=WINDOW_S, noise=HOME)
        for side, n in ((1, amounts.train), (2, max(2, amounts.train // 3)))
    )
    members = [fit(train, amounts, network=FAMILIES[0], seed=10 * seed + k) for k in range(amounts.members)]
    families = [members[0], *(fit(train, amounts, network=name, seed=10 * seed) for name in FAMILIES[1:])]
    temperature = fit_temperature(answers(members[0], fitted.x), np.eye(len(CONDITIONS))[fitted.condition])
    found: dict[tuple[str, str], Selection] = {}
    for shift, stack in shifted_stacks(amounts, seed=100 * seed + 3).items():
        each = np.stack([answers(model, stack.x) for model in members])
        ways = {
            "single": each[0],
            "temperature": tempered(each[0], temperature),
            "mc_dropout": dropped(members[0], stack.x, n_samples=amounts.samples, seed=seed),
            "ensemble3": each[:3].mean(axis=0),
            "ensemble": each.mean(axis=0),
            "families": np.mean([answers(model, stack.x) for model in families], axis=0),
        }
        found |= {(shift, way): selection(prob, ways["single"], stack.condition) for way, prob in ways.items()}
    return found


def selection(prob: np.ndarray, single: np.ndarray, true_index: np.ndarray) -> Selection:
    """Return AURC and accuracy, and the paired difference to the single network over people, one window each."""
    ours, theirs = (mistakes(each, true_index) for each in (prob, single))
    value = float(risk_curve(*ours).mean() - risk_curve(*theirs).mean())
    n = len(true_index)
    drawn = np.concatenate(
        [
            [_resampled(ours, row) - _resampled(theirs, row) for row in weights]
            for weights in resamples(n, n_boot=N_BOOT, seed=0)
        ]
    )
    return Selection(
        accuracy=float(1 - ours[1].mean()), aurc=float(risk_curve(*ours).mean()),
        against_single=Estimate(value, *t_interval(value, drawn, n_units=n)),
    )  # fmt: skip


def _resampled(answer: tuple[np.ndarray, np.ndarray], weights: np.ndarray) -> float:
    rows = np.repeat(np.arange(len(weights)), weights.astype(int))
    confidence, wrong = answer
    return float(risk_curve(confidence[rows], wrong[rows]).mean())
