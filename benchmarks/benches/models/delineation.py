"""Onsets and offsets of waves: a U-Net trained here on generated leads, then on half of the marked people; NeuroKit2.

Everyone is scored on people that no network was trained on. NeuroKit2 runs where CEREBEAM_NEUROKIT names a folder that
holds it (`pip install --target FOLDER --no-deps neurokit2`: installed as others are, its package of tests would hide
this project's), on the same leads, between the same marks.
"""

import importlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import figure
from evaluation.measures.boundaries import BOUNDARIES, CSE_MS, EC57_MS, boundary_scores, macro_f1
from model.delineation.network import Delineator
from model.delineation.waves import Found, delineate
from studies.delineating.examples import Lead, arrays, boundaries, generated, judged, marked
from studies.delineating.fit import DelineatorRecipe, fit

NEUROKIT = "CEREBEAM_NEUROKIT"
WITHOUT_P = ("fibrillation", "flutter")
Finder = Callable[[Lead], list[Found]]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much is generated and trained."""

    people: int = 48
    steps: int = 350
    test_people: int = 24
    leads: tuple[str, ...] = ("I", "II", "V1", "V5")
    """Of the marked people; training takes all."""


def finder(model: Delineator) -> Finder:
    """Return what finds a lead's waves with a network."""
    return lambda lead: delineate(model, lead.x_mv[None], lead.sfreq)[0]


def neurokit() -> Finder | None:
    """Return NeuroKit2's wavelet delineation of a lead; None where it is not named."""
    if not (folder := os.environ.get(NEUROKIT, "")):
        return None
    sys.path.append(folder)
    nk = importlib.import_module("neurokit2")

    def find(lead: Lead) -> list[Found]:
        rate = round(lead.sfreq)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clean = nk.ecg_clean(lead.x_mv, sampling_rate=rate)
            try:
                peaks = nk.ecg_peaks(clean, sampling_rate=rate)[1]["ECG_R_Peaks"]
                waves = nk.ecg_delineate(clean, peaks, sampling_rate=rate, method="dwt")[1]
            except (IndexError, ValueError, ZeroDivisionError):
                return []  # it fails on leads without beats it knows
        found = []
        for kind, name in (("P", "P"), ("QRS", "R"), ("T", "T")):
            for first, last in zip(waves[f"ECG_{name}_Onsets"], waves[f"ECG_{name}_Offsets"], strict=True):
                if np.isfinite(first) and np.isfinite(last):
                    found.append(Found(kind, float(first) / rate, float(last) / rate))
        return found

    return find


def score(leads: Sequence[Lead], find: Finder, name: str, *, detail: bool = False) -> None:
    """Print macro F1 within 150 ms, 40 ms and CSE's tolerances, with `detail` each boundary and its error."""
    pairs = [(boundaries(judged(find(lead), lead)), boundaries(lead.waves)) for lead in leads]
    figure(name, macro_f1(wide := boundary_scores(pairs, EC57_MS)), "share")
    figure(f"{name}_40ms", macro_f1(boundary_scores(pairs, dict.fromkeys(BOUNDARIES, 40.0))), "share")
    figure(f"{name}_cse", macro_f1(boundary_scores(pairs, CSE_MS)), "share")
    for boundary, one in wide.items() if detail else ():
        part = f"{name}_{boundary.lower().replace(' ', '_')}"
        figure(part, one.f1, "share")
        figure(f"{part}_late_ms", float(np.mean(one.errors_ms)) if len(one.errors_ms) else float("nan"), "ms")
        figure(f"{part}_spread_ms", float(np.std(one.errors_ms)) if len(one.errors_ms) else float("nan"), "ms")


def false_p(leads: Sequence[Lead], find: Finder) -> float:
    """Return the P waves that are placed per QRS complex, in leads that have none."""
    found = [judged(find(lead), lead) for lead in leads]
    n_beats = sum(wave.kind == "QRS" for lead in leads for wave in lead.waves)
    return sum(wave.kind == "P" for waves in found for wave in waves) / max(n_beats, 1)


def halves(leads: Sequence[Lead]) -> tuple[list[Lead], list[Lead]]:
    """Return the leads of every second person, and those of the others."""
    first = set(sorted({lead.person for lead in leads})[::2])
    return [lead for lead in leads if lead.person in first], [lead for lead in leads if lead.person not in first]


def compare(leads: Sequence[Lead], finders: dict[str, Finder], suffix: str) -> None:
    """Print the scores and false P waves of every finder on the same leads."""
    silent = [lead for lead in leads if not any(wave.kind == "P" for wave in (*lead.waves, *lead.unseen))]
    for label, find in finders.items():
        started = time.process_time()
        score(leads, find, f"ecg_delineation_f1{suffix}{label}", detail=not label)
        figure(f"ecg_delineation_ms_per_lead{suffix}{label}", 1000 * (time.process_time() - started) / len(leads), "ms")
        if silent:
            figure(f"ecg_false_p_share{suffix}{label}", false_p(silent, find), "per beat")


def delineation(real: Path | None, budget: Budget = Budget()) -> None:
    """Train and print the figures of generated leads and, with `real`, of marked records."""
    peer = neurokit()
    peers = {} if peer is None else {"_neurokit": peer}
    made = list(generated(budget.people, seed=1))
    x, target = arrays(made)
    model = fit(x, target, DelineatorRecipe(steps=budget.steps))
    test = list(generated(budget.test_people, seed=2, leads=("II", "V2"), sfreq=500.0))
    compare(test, {"": finder(model), **peers}, "_synthetic")
    leads = [] if real is None else list(marked(real))
    if not leads:
        return
    train, held = halves(leads)
    held = [lead for lead in held if lead.name in {name.lower() for name in budget.leads}]
    compare(held, {"_untuned": finder(model)}, "")
    marked_x, marked_target = arrays(train)
    kept = slice(0, len(x), 2)  # generated hearts stay in, for rhythms that few records have
    tuned = fit(
        np.concatenate([marked_x, x[kept]]), np.concatenate([marked_target, target[kept]]),
        DelineatorRecipe(steps=budget.steps), model=model,
    )  # fmt: skip
    compare(held, {"": finder(tuned), **peers}, "")
