"""A bank as a run uses it: what lays its patterns over windows, and the segments that score what was learnt."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from signals.patterns.bank import PATTERNS_FILE, SEGMENTS_FILE, Bank, HeldOut, read_arrays
from signals.shards.normalise import Normalisation
from training.objectives.planting.planter import BankTensors, Chances, Planter
from training.objectives.planting.targets import Planting, Truth, TruthPlan


@dataclass(frozen=True, kw_only=True)
class Laying:
    """How a run lays patterns over windows."""

    chances: Chances
    plan: TruthPlan
    normalisation: Normalisation
    crop_s: float


@dataclass(frozen=True, kw_only=True)
class PlantedBank:
    """An open bank."""

    bank: Bank = field(repr=False)
    held_out: HeldOut = field(repr=False)
    planting: Planting = field(repr=False)
    digest: str
    """Of its patterns and its segments."""


def open_bank(folder: Path | None, laying: Laying | None, device: torch.device) -> PlantedBank | None:
    """Open a bank on the device of the batches, or none where nothing is laid.

    Raises FileNotFoundError and ValueError as `read_arrays` does, and ValueError for a bank that is missing, that
    nothing is learnt from, or whose patterns are shorter than the windows.
    """
    if laying is None:
        if folder is not None:
            raise ValueError("this recipe lays no patterns: drop --bank, or give a weight of truth")
        return None
    if folder is None:
        raise ValueError("this recipe learns from planted truth: give --bank, as cerebeam bank makes it")
    bank, digest = read_arrays(folder / PATTERNS_FILE, Bank)
    held_out, other_digest = read_arrays(folder / SEGMENTS_FILE, HeldOut)
    if laying.crop_s > (length_s := bank.n_times / bank.sfreq):
        raise ValueError(f"crop_s={laying.crop_s:g} is longer than the bank's patterns of {length_s:g} s")
    tensors = BankTensors(bank, device)
    planting = Planting(Planter(tensors, laying.chances), Truth(tensors, laying.plan), laying.normalisation)
    return PlantedBank(bank=bank, held_out=held_out, planting=planting, digest=f"{digest}+{other_digest}")
