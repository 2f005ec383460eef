"""Fits that start from a whole fitted model, its head included: another task of the same classes, or other sites."""

from typing import Any

from model.saved import TaskModel, model_name
from model.supervised.supervised import Supervised


def take_over(model: TaskModel, start: TaskModel) -> None:
    """Give a new model the weights of a fitted one; raises ValueError, saying what differs, where they do not fit."""
    names = [model_name(one) for one in (model, start)]
    if names[0] != names[1]:
        raise ValueError(f"--start-from holds a model {names[1]!r}, the recipe trains {names[0]!r}")
    ours, theirs = _sees(model), _sees(start)
    for what, value in ours.items():
        if theirs[what] != value:
            raise ValueError(f"--start-from was fitted to another {what}, {theirs[what]}; here it is {value}")
    mine, given = model.state_dict(), start.state_dict()
    other = sorted(name for name in {*mine, *given} if name not in mine or name not in given
                   or mine[name].shape != given[name].shape)  # fmt: skip
    if other:
        raise ValueError(f"--start-from holds a model of another shape: {other[0]} and {len(other) - 1} more differ")
    model.load_state_dict(given)


def _sees(model: TaskModel) -> dict[str, Any]:
    """Return what a model answers, and what it is shown."""
    shown = {
        "list of classes": list(model.config.classes),
        "list of channels": list(model.modality.ch_names),
        "rate": model.modality.sfreq,
    }
    return {**shown, "view": model.config.view} if isinstance(model, Supervised) else shown
