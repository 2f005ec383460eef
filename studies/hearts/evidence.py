"""Is a raised ST level in two leads found? Evidence is planted, and methods of the explanation room look for it.

A window shows a raised level between the QRS complexes and T waves of one stretch, in two neighbouring chest leads and
nowhere else. Methods are measured where the model is sure of it, and where taking the level away changes its answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from evaluation.measures.metrics import auroc
from explain.asking import occlusion, shapley
from explain.asking.ask import answers
from explain.explanation import Explanation
from explain.gates.card import GATES
from explain.gates.stability import spearman
from explain.gates.truth import Hits, Truth, hits
from model.explaining import gradients
from model.explaining.gradients import ask_of
from model.supervised.supervised import new_network
from signals.modality import ECG_12
from signals.shards.normalise import Normaliser
from signals.tasks import Task
from studies.hearts.rare import states
from synthetic.heart.leads import NoiseLevels, generate
from synthetic.heart.stacks import SCALE_MV, SFREQ
from training.fitting.arrays import fit_arrays
from training.fitting.learning import TaskObjective
from training.objectives.losses import VoteLoss
from training.recipes.finetuning import FinetuneOptim, FinetuneRecipe

WINDOW_S, STRETCH_S, RAISED_MV = 6.0, 3.0, 0.3
QUIET = NoiseLevels(wander=0.05, muscle=0.01)
FIRST_CHEST = ECG_12.ch_names.index("V1")
TASK = Task(name="raised", classes=("none", "raised"), window_s=WINDOW_S)
SURE = 0.9
N_BACKGROUNDS = 2
GATED = ("time_hit", "channel_hit", "gain", "randomised")
"""Gates of `explain.gates.card` that hold for leads: there is no side of a head, and the level is of no one band."""


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much is drawn and trained."""

    people: int = 160
    steps: int = 160
    batch: int = 32
    cases: int = 10


SMALL = Amounts(people=12, steps=2, batch=8, cases=2)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A window with planted evidence."""

    x: np.ndarray = field(repr=False)
    without: np.ndarray = field(repr=False)
    truth: Truth


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One method's means over windows."""

    time_hit: float
    channel_hit: float
    pair_hit: float
    """Share of windows whose two strongest leads are the two that show it."""
    gain: float
    randomised: float
    """Mean |Spearman| with maps of random weights."""
    n_cases: int

    def failed(self) -> tuple[str, ...]:
        """Return the gates that were missed."""
        limits = {gate.name: gate for gate in GATES if gate.name in GATED}
        return tuple(name for name in GATED if limits[name].passed(getattr(self, name)) is False)


def planted(rng: np.random.Generator) -> Case:
    """Return a window of a new normal person with a raised level in a stretch of two neighbouring chest leads."""
    record = generate(rng, "normal", duration_s=WINDOW_S, sfreq=SFREQ, noise=QUIET)
    times = np.arange(record.x_mv.shape[1]) / SFREQ
    start_s = float(rng.uniform(0.2, WINDOW_S - STRETCH_S - 0.2))
    lead = FIRST_CHEST + int(rng.integers(5))
    raised = np.zeros(len(times))
    spans = [(wave.offset_s, wave.offset_s + 0.16) for wave in record.waves if wave.kind == "QRS"]
    inside = [(a, b) for a, b in spans if a >= start_s and b <= start_s + STRETCH_S]
    for a, b in inside:
        raised = np.maximum(raised, np.clip(np.minimum(times - a, b - times) / 0.02, 0, 1))
    without = record.x_mv / SCALE_MV
    without = (without - without.mean(axis=1, keepdims=True)).astype(np.float32)
    x, channels = without.copy(), np.zeros(len(without), dtype=bool)
    channels[[lead, lead + 1]] = True
    x[channels] += (RAISED_MV / SCALE_MV * raised).astype(np.float32)
    if not inside:
        return planted(rng)
    truth = Truth(start_s=inside[0][0], stop_s=inside[-1][1], channels=channels, rate_hz=1.0, is_left=False)
    return Case(x=x, without=without, truth=truth)


def train(amounts: Amounts, *, seed: int) -> tuple[nn.Module, float]:
    """Return a classifier of raised levels against none, and its AUROC on people that it was not trained on."""
    x, label = labelled(amounts.people, seed=[seed, 1])
    torch.manual_seed(seed)
    model = new_network(
        "multiscale", TASK, ECG_12, Normaliser(kind="window"), dropout=0.1, profile={}, provenance={}, widths=(12, 16)
    )
    recipe = FinetuneRecipe(
        seed=seed, optim=FinetuneOptim(batch=amounts.batch, micro_batch=amounts.batch, learning_rate=4e-3)
    )  # fmt: skip
    arrays = {
        "x_BCT": torch.from_numpy(x), "ch_state_BC": states(len(x)), "target_BK": torch.eye(2)[torch.from_numpy(label)]
    }  # fmt: skip
    fit_arrays(TaskObjective(model, VoteLoss()), arrays, recipe, n_steps=amounts.steps, label="evidence")
    network = model.network
    x, label = labelled(max(4, amounts.people // 4), seed=[seed, 2])
    logits = answers(ask_of(network), x)
    return network, float(auroc(logits[:, 1] - logits[:, 0], label == 1))


def labelled(n: int, *, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return windows of n people without and with the level, (2 n, 12, n_times), and which it is, 0 or 1."""
    rng = np.random.default_rng(seed)
    cases = [planted(rng) for _ in range(n)]
    x = np.stack([each for case in cases for each in (case.without, case.x)])
    return x, np.tile([0, 1], len(cases))


Explain = Callable[[nn.Module, np.ndarray, np.ndarray], Explanation]
"""Network, window, backgrounds."""


def methods() -> Mapping[str, Explain]:
    """Return the methods that are measured, by name."""
    return {
        occlusion.METHOD: lambda network, x, backgrounds: occlusion.occlusion(
            ask_of(network), x, 1, sfreq=SFREQ, backgrounds=backgrounds
        ),
        shapley.METHOD: lambda network, x, backgrounds: shapley.shapley(
            ask_of(network), x, 1, sfreq=SFREQ, background=backgrounds[0], ch_names=ECG_12.ch_names, n_pairs=2
        ),
        gradients.IG: lambda network, x, backgrounds: gradients.integrated_gradients(
            network, x, 1, sfreq=SFREQ, backgrounds=backgrounds
        ),
    }


def measure(
    network: nn.Module, amounts: Amounts, *, seed: int, ways: Mapping[str, Explain] | None = None
) -> Mapping[str, Figures]:
    """Return each method's figures on new people; windows of further people without the level are the background.

    ways: methods by name, by default `methods`.
    Not the person's own: that differs from the window in the evidence alone, so that any model's map would lie there.
    """
    rng = np.random.default_rng([seed, 3])
    cases = sure_cases(network, amounts.cases, rng)
    bank = np.stack([planted(rng).without for _ in range(N_BACKGROUNDS)])
    random = randomised(network, seed=seed)
    found = {}
    for name, explain in (ways or methods()).items():
        maps = [explain(network, case.x, bank) for case in cases]
        others = [explain(random, case.x, bank) for case in cases[: max(1, amounts.cases // 2)]]
        found[name] = _figures(cases, maps, others)
    return found


def sure_cases(network: nn.Module, n: int, rng: np.random.Generator) -> list[Case]:
    """Return windows whose level the model is sure of and whose answer turns without it; any where none is found."""
    drawn = [planted(rng) for _ in range(3 * n)]
    logits = [answers(ask_of(network), each) for each in ([c.x for c in drawn], [c.without for c in drawn])]
    prob = [1 / (1 + np.exp(-(each[:, 1] - each[:, 0]))) for each in logits]
    kept = [case for case, with_, none in zip(drawn, *prob, strict=True) if with_ >= SURE and none < 0.5]
    return (kept or drawn)[:n]


def randomised(network: nn.Module, *, seed: int) -> nn.Module:
    """Return the network with all of its matrices drawn anew, as large as before."""
    import copy

    changed, rng = copy.deepcopy(network), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (p for p in changed.parameters() if p.ndim > 1):
            weight.copy_(torch.randn(weight.shape, generator=rng) * weight.std())
    return changed


def _figures(cases: list[Case], maps: list[Explanation], others: list[Explanation]) -> Figures:
    each: list[Hits] = [
        hits(found, case.truth, case.x, sfreq=SFREQ, x_left=np.zeros(len(case.x)))
        for found, case in zip(maps, cases, strict=True)
    ]
    pairs = [
        set(np.argsort(-np.maximum(found.channels_steps, 0).sum(axis=1))[:2])
        == set(np.flatnonzero(case.truth.channels))
        for found, case in zip(maps, cases, strict=True)
    ]
    alike = [abs(spearman(a.channels_steps, b.channels_steps)) for a, b in zip(maps, others, strict=False)]
    return Figures(
        time_hit=float(np.mean([one.time for one in each])), channel_hit=float(np.mean([one.channel for one in each])),
        pair_hit=float(np.mean(pairs)), gain=float(np.mean([one.gain for one in each])),
        randomised=float(np.mean(alike)), n_cases=len(cases),
    )  # fmt: skip
