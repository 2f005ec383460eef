"""A reader's bundle of models that were fitted to nothing: what prepares, runs and prints it does not care."""

from pathlib import Path
from typing import Any

import numpy as np

from model.patterns.logistic import LogisticModel
from signals.bundles.bundle import FP32, graph_fields, mark, write_bundle
from signals.modality import EEG_1020
from signals.patterns.features import pattern_names
from signals.tasks import SIX_CLASS
from signals.windows.profiles import SIX_CLASS as PROFILE
from studies.reading.members import Fitted


def write_toy_reader(output: Path, *, abstain_below: float = 0.0) -> Path:
    """Write a bundle of two regressions with drawn weights on pattern features, and return its folder."""
    names = pattern_names()

    def regression(seed: int) -> LogisticModel:
        rng, n = np.random.default_rng(seed), len(names)
        return LogisticModel(
            names=names, classes=SIX_CLASS.classes, low=np.full(n, -3.0), high=np.full(n, 3.0),
            weight=rng.normal(0, 0.1, size=(n, 6)), offset=np.zeros(6),
        )  # fmt: skip

    def fill(folder: Path) -> dict[str, Any]:
        graphs = tuple(Fitted(f"regression-{seed}", regression(seed)).write(folder) for seed in (0, 1))
        return {
            "kind": "ensemble", "precision": FP32, "task": {"name": SIX_CLASS.name, "classes": SIX_CLASS.classes},
            "modality": EEG_1020.to_dict(), "profile": PROFILE.to_dict(), "graphs": graph_fields(graphs),
            "combiner": None, "parity": {}, "provenance": {"members": [{"trained_on": [mark("nobody")]}] * 2},
            "calibration": {
                "temperature": 1.0, "abstain_below": abstain_below, "split_digest": "d",
                "conformal": {"method": "class-conditional", "alpha": 0.1, "thresholds": [0.2] * 6},
            },
        }  # fmt: skip

    write_bundle(output, fill)
    return output
