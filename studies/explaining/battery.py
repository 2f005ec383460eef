"""Every gate of every method on one model of planted evidence: windows whose evidence is known, and a card at the end.

Counted are windows where the model is sure of the right class and removing the burst makes it answer "none": only there
is the burst what decided. The others are skipped, and how many there were stands on the card.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from explain.asking.ask import answers
from explain.explanation import Explanation
from explain.gates.card import CAMS, ExplanationCard, Measured
from explain.gates.faithfulness import gaps, worst_by_class
from explain.gates.stability import agreement, with_noise
from explain.gates.truth import Truth, hits
from signals.modality import EEG_1020
from studies.explaining.methods import METHODS, Method
from studies.explaining.models import Trained, with_random_weights
from synthetic.evidence.planted import PlantedWindow, backgrounds, draw_window

SURE = 0.9
"""Probability from which a model counts as sure."""
N_STAGES = 4
"""Groups of layers that are randomised one after the other."""
SUM_METHODS = ("integrated gradients", "cross-domain integrated gradients", "DeepLift", "grouped Shapley")
_X_LEFT = np.array([position[0] for position in EEG_1020.positions])


@dataclass(frozen=True, kw_only=True)
class Cases:
    """Windows on which methods are measured."""

    windows: tuple[PlantedWindow, ...] = field(repr=False)
    n_skipped: int
    bank: np.ndarray = field(repr=False)
    """Windows of further people without evidence, shape (n, n_chans, n_times): fillers and starting points."""


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How many windows each part takes."""

    cases: int = 24
    stability: int = 8
    faithfulness: int = 12
    backgrounds: int = 2

    @classmethod
    def of(cls, cases: int) -> "Amounts":
        """Return the usual proportions for a number of windows: a third for stability, half for faithfulness."""
        return cls(cases=cases, stability=-(-cases // 3), faithfulness=-(-cases // 2))


def draw_cases(trained: Trained, n: int, *, seed: int) -> Cases:
    """Return windows of new people that the model is sure of and that its answer depends on."""
    bank = backgrounds([seed, 8], 24, trained.design)
    others, rng = backgrounds([seed, 9], 8, trained.design), np.random.default_rng([seed, 10])
    kept: list[PlantedWindow] = []
    n_drawn = 0
    while len(kept) < n and n_drawn < 20 * n:
        some = [draw_window(rng, bank, trained.design, label=1 + k % 2) for k in range(8)]
        n_drawn += len(some)
        logits = answers(trained.ask, [w.data for w in some])
        without = answers(trained.ask, [w.without for w in some]).argmax(axis=1)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        prob = odds / odds.sum(axis=1, keepdims=True)
        kept += [w for w, p, other in zip(some, prob, without, strict=True) if p[w.label] >= SURE and other == 0]
    return Cases(windows=tuple(kept[:n]), n_skipped=n_drawn - len(kept), bank=others)


def truth_of(window: PlantedWindow) -> Truth:
    """Return where a window's evidence is; raises ValueError for a window without any."""
    burst = window.burst
    if burst is None:
        raise ValueError("a window of class none has no evidence")
    return Truth(
        start_s=burst.start_s, stop_s=burst.stop_s, channels=burst.channels, rate_hz=burst.rate_hz,
        is_left=burst.is_left,
    )  # fmt: skip


def measure(
    trained: Trained, second: Trained, shuffled: Trained, *, amounts: Amounts | None = None, seed: int = 100,
    methods: Sequence[Method] = METHODS,
) -> ExplanationCard:  # fmt: skip
    """Return the card of a model; `second` is trained with another seed, `shuffled` on shuffled labels."""
    amounts = amounts or Amounts()
    cases = draw_cases(trained, amounts.cases, seed=seed)
    found = [_measured(method, trained, second, shuffled, cases, amounts) for method in methods if method.fits(trained)]
    return ExplanationCard(model=trained.name, methods=tuple(found), n_skipped=cases.n_skipped)


def _measured(
    method: Method, trained: Trained, second: Trained, shuffled: Trained, cases: Cases, amounts: Amounts
) -> Measured:
    started = time.perf_counter()
    of = _Maps(method=method, cases=cases, n_backgrounds=amounts.backgrounds)
    maps = of.maps(trained, amounts.cases)
    values = dict(_places(method, trained, cases, maps))
    values |= _stability(of, trained, second, shuffled, maps[: amounts.stability])
    values["deletion"] = _faithfulness(trained, cases, maps[: amounts.faithfulness])
    if method.name in SUM_METHODS:
        values["sum_error"] = float(np.median([each.sum_error for each in maps])) if maps else float("nan")
    seconds = time.perf_counter() - started
    sys.stderr.write(f"{trained.name}, {method.name}: {len(maps)} windows, {seconds:.0f} s\n")
    return Measured(method=method.name, kind=method.kind, values=values, n_cases=len(maps), heuristic=method.heuristic)


@dataclass(frozen=True, kw_only=True)
class _Maps:
    """Maps of the same windows by any model."""

    method: Method
    cases: Cases
    n_backgrounds: int

    def maps(self, trained: Trained, n: int, *, noise_seed: int | None = None) -> list[Explanation]:
        """Return the maps of the first `n` windows, noisy ones where a seed of noise is given."""
        rng = None if noise_seed is None else np.random.default_rng(noise_seed)
        starts = self.cases.bank[: self.n_backgrounds]
        return [
            self.method.explain(trained, w.data if rng is None else with_noise(w.data, rng), w.label, starts)
            for w in self.cases.windows[:n]
        ]


def _places(
    method: Method, trained: Trained, cases: Cases, maps: Sequence[Explanation]
) -> Mapping[str, float]:  # fmt: skip
    rows = [
        asdict(hits(each, truth_of(w), w.data, sfreq=trained.design.sfreq, x_left=_X_LEFT))
        for each, w in zip(maps, cases.windows, strict=False)
    ]
    if not rows:
        return {}
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    renamed = {"time": "time_hit", "hemisphere": "hemisphere_hit", "channel": "channel_hit", "band": "band_hit"}
    if method.kind == CAMS:
        renamed["iou"] = "iou_cam"
    return {renamed.get(name, name): value for name, value in means.items()}


def _stability(
    of: _Maps, trained: Trained, second: Trained, shuffled: Trained, maps: Sequence[Explanation]
) -> Mapping[str, float]:
    n, stages = len(maps), N_STAGES if trained.network is not None else 1
    random = [
        agreement(
            maps, of.maps(with_random_weights(trained, stage=s, n_stages=stages, seed=s), n), absolute=True
        )
        for s in range(1, stages + 1)
    ]  # fmt: skip
    return {
        "randomised": float(np.mean(random)),
        "shuffled": agreement(maps, of.maps(shuffled, n), absolute=True),
        "seeds": agreement(maps, of.maps(second, n)),
        "noise": agreement(maps, of.maps(trained, n, noise_seed=11)),
    }


def _faithfulness(trained: Trained, cases: Cases, maps: Sequence[Explanation]) -> float:
    rng = np.random.default_rng(12)
    found = [
        (w.label, gaps(trained.ask, each, w.data, sfreq=trained.design.sfreq, background=cases.bank[-1], rng=rng))
        for each, w in zip(maps, cases.windows, strict=False)
    ]
    return worst_by_class(found)
