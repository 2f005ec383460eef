"""A bank as a run uses it: what lays its patterns over windows, and the segments that score what was learnt."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from signals.patterns.bank import PATTERNS_FILE, SEGMENTS_FILE, Bank, HeldOut, read_arrays
from signals.shards.normalise import Normalisation
from training.objectives.planting.planter import BankTensors, Chances, Planter
from training.objectives.planting.targets import Planting, Truth, TruthPlan


@dataclass(frozen=True, kw_only=True)
class PlantedBank:
    """An open bank."""

    bank: Bank = field(repr=False)
    held_out: HeldOut = field(repr=False)
    planting: Planting = field(repr=False)
    digest: str
    """Of its patterns and its segments."""


def open_bank(
    folder: Path, *, chances: Chances, plan: TruthPlan, normalisation: Normalisation, device: torch.device
) -> PlantedBank:
    """Open a bank on the device of the batches; raises FileNotFoundError and ValueError as `read_arrays` does."""
    bank, digest = read_arrays(folder / PATTERNS_FILE, Bank)
    held_out, other_digest = read_arrays(folder / SEGMENTS_FILE, HeldOut)
    tensors = BankTensors(bank, device)
    planting = Planting(Planter(tensors, chances), Truth(tensors, plan), normalisation)
    return PlantedBank(bank=bank, held_out=held_out, planting=planting, digest=f"{digest}+{other_digest}")
