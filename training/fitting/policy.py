"""One policy of augmentation: what each change of a window spoils, and so which labels keep it from being used.

A label speaks of its absent classes too: a window that is marked as no infarction must not be turned into one. So a
change is used for a task only if it spoils nothing that any class of the task is shown by (`Task.evidence`). Where a
label speaks of a stretch, changes in time leave that stretch alone (`training.objectives.augment`), and mixing takes
the target along with it.
"""

import logging
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from signals.tasks import Task
from training.recipes.finetuning import FinetuneAugment

logger = logging.getLogger(__name__)

Module = Literal["time", "frequency", "spatial", "mix", "image", "synthetic"]
LEVELS = (1, 2, 3)
"""Mild, middle, strong."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One way of changing windows."""

    name: str
    """Field of `FinetuneAugment`."""
    module: Module
    spoils: frozenset[str] = frozenset()
    """Kinds of evidence (`signals.tasks.EVIDENCE`) that do not survive it, where a label speaks of the whole window."""
    spares_span: bool = False
    """Whether a label of a stretch is left alone by it, so that nothing is spoilt."""
    levels: tuple[float, float, float]
    """Strength at each of LEVELS."""


def _change(
    name: str, module: Module, levels: tuple[float, float, float], *spoils: str, spares: bool = False
) -> Change:
    return Change(name=name, module=module, levels=levels, spoils=frozenset(spoils), spares_span=spares)


CHANGES: tuple[Change, ...] = (
    # What is missing at the edge is filled with its mirror image, which is a heart that beats backwards.
    _change("time_shift_s", "time", (0.5, 1.0, 2.0), "shape", "intervals", "rhythm", spares=True),
    _change("time_mask", "time", (0.2, 0.4, 0.6), "shape", "intervals", "rhythm", spares=True),
    _change("time_warp", "time", (0.02, 0.05, 0.1), "shape", "intervals", "rhythm", "rate"),
    _change("gain_sd", "frequency", (0.1, 0.2, 0.3), "voltage"),
    _change("equaliser_sd", "frequency", (0.1, 0.2, 0.4), "shape", "voltage"),
    _change("band_stop", "frequency", (0.2, 0.4, 0.6), "shape", "voltage"),
    _change("mirror", "spatial", (0.5, 0.5, 0.5)),
    _change("drop_channels", "spatial", (0.05, 0.1, 0.2)),
    _change("polarity", "spatial", (0.2, 0.5, 0.5), "shape"),
    _change("channel_shuffle", "spatial", (0.1, 0.2, 0.5), "shape", "voltage", "place"),
    # Two hearts at once have neither's rhythm; the target is mixed, which helps where size and shape are what counts.
    _change("mixup", "mix", (0.1, 0.2, 0.4), "intervals", "rhythm"),
    _change("cutmix", "mix", (0.1, 0.2, 0.5), "shape", "intervals", "rhythm", spares=True),
    _change("image", "image", (0.3, 0.6, 1.0)),
    _change("noise_sd", "synthetic", (0.05, 0.1, 0.2)),
)  # fmt: skip
"""Every change that exists; a field of `FinetuneAugment` each."""


def kept(augment: FinetuneAugment, task: Task) -> tuple[FinetuneAugment, tuple[str, ...]]:
    """Return the settings without what would spoil a task's labels, and the names of what was left out.

    Of a task that states no evidence nothing is left out: whoever sets a strength decides.
    """
    out = tuple(change.name for change in CHANGES if getattr(augment, change.name) > 0 and spoilt(change, task))
    zeros: dict[str, Any] = dict.fromkeys(out, 0.0)
    return replace(augment, **zeros), out


def spoilt(change: Change, task: Task) -> frozenset[str]:
    """Return what of a task's evidence a change spoils; empty where it keeps every label."""
    if change.spares_span and task.label_span_s is not None:
        return frozenset()
    return change.spoils & frozenset(kind for _, kinds in task.evidence for kind in kinds)


def at_level(level: int, task: Task) -> FinetuneAugment:
    """Return every change that keeps a task's labels, at a strength of LEVELS.

    Raises ValueError for an unknown level, and for a task that states no evidence, of which nothing can be decided.
    """
    if level not in LEVELS:
        raise ValueError(f"level={level} is none of {', '.join(map(str, LEVELS))}")
    if not task.evidence:
        raise ValueError(f"task {task.name!r} does not state what shows its classes: set strengths one by one")
    found = {change.name: change.levels[level - 1] for change in CHANGES if not spoilt(change, task)}
    span_s = task.label_span_s
    if span_s is None:
        found.pop("time_mask", None)  # a label of the whole window leaves no stretch to silence
    if "time_shift_s" in found:
        start_s, stop_s = span_s or (0.0, task.window_s)
        found["time_shift_s"] = min(found["time_shift_s"], (stop_s - start_s) / 4)
    silent: dict[str, Any] = {each.name: 0.0 for each in fields(FinetuneAugment) if each.name != "level"}
    return FinetuneAugment(**{**silent, **found})


def settled(augment: FinetuneAugment, task: Task) -> FinetuneAugment:
    """Return the settings that training uses for a task: those of their level, or those given, without what spoils.

    What is left out of given ones is logged.
    """
    if augment.level:
        return at_level(augment.level, task)
    chosen, out = kept(augment, task)
    if out:
        logger.info("augmentation of task %s leaves out %s: labels would not survive", task.name, ", ".join(out))
    return chosen
