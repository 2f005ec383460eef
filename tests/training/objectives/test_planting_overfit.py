"""A few planted windows, learnt by heart: what heads predict then is what the bank laid where."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.encoder_config import EncoderConfig
from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.masking import MaskPlan
from model.pretraining.pretraining import PretrainModel
from model.pretraining.trunks import TRUNKS, Trunk
from model.pretraining.truth_heads import COURSE, COURSE_UNITS, TRUTH_HEADS
from signals.modality import EEG_1020
from signals.patterns.bank import LEFT, RIGHT
from tests.training.objectives.test_planting import windows
from training.objectives.planting.measures import area_of
from training.objectives.planting.planted_bank import Laying, PlantedBank, open_bank
from training.objectives.planting.planter import Chances, Planted
from training.objectives.planting.targets import TruthPlan
from training.objectives.preparation import Preparation

SECONDS, SEED, STEPS = 6, (0, 1), 40
SAMPLES = [6, 16, 22, 31, 4, 7]
"""Whose drawn patterns differ in every target: GPD, LPD right, LPD left, GPD on suppression, GRDA, LRDA right."""
CONFIG = EncoderConfig(dim=32, depth=1, n_heads=2, stem_dim=16)


class Silent(nn.Module):
    """A trunk without anything to read: what heads learn on it is one answer for all windows."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, x_BCT: Tensor, montage: Montage, **unused: Any) -> dict[str, Tensor]:
        return {"tokens_BCND": x_BCT.new_zeros(*x_BCT.shape[:2], SECONDS, self.config.dim)}


@pytest.fixture(scope="module")
def opened(toy_bank: Path) -> PlantedBank:
    laying = Laying(chances=Chances(background=0.0), plan=TruthPlan(), normalisation="window", crop_s=SECONDS)
    found = open_bank(toy_bank, laying, torch.device("cpu"))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def batch(opened: PlantedBank) -> dict[str, Tensor]:
    preparation = Preparation(sfreq=256.0, masks=MaskPlan(), seed=SEED, hides=False, planting=opened.planting)
    return preparation(windows(SAMPLES, n_times=SECONDS * 256))


@pytest.fixture(scope="module")
def planted(opened: PlantedBank) -> Planted:
    """What was laid, by the planter itself."""
    raw = windows(SAMPLES, n_times=SECONDS * 256)
    draws, montage = Draws(SEED, raw["sample_B"]), Montage.from_batch(raw)
    return opened.planting.planter(draws, raw["x_BCT"], montage, sfreq=256.0)[1]


def overfitted(
    trunk: Callable[[EncoderConfig], nn.Module], batch: dict[str, Tensor]
) -> tuple[PretrainModel, dict[str, list[float]]]:
    """Return a model after some steps on one batch, and each head's loss on the way."""
    torch.manual_seed(0)
    model = PretrainModel(trunk(CONFIG), dict.fromkeys(TRUTH_HEADS, 1.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses: dict[str, list[float]] = {name: [] for name in TRUTH_HEADS}
    for _ in range(STEPS):
        totals, counts = model(batch), model.counts(batch)
        means = {name: totals[name] / counts[name] for name in TRUTH_HEADS}
        for name, value in means.items():
            losses[name].append(float(value.detach()))
        optimizer.zero_grad()
        torch.stack(list(means.values())).sum().backward()
        optimizer.step()
    return model, losses


@pytest.fixture(scope="module")
def without_reading(batch: dict[str, Tensor]) -> dict[str, float]:
    """Each head's loss where it has nothing to read."""
    return {name: values[-1] for name, values in overfitted(Silent, batch)[1].items()}


def expected_slots(opened: PlantedBank, planted: Planted) -> np.ndarray:
    """In which quarters of a second a pattern's discharges peak, from the bank's own list, shape (B, S)."""
    out = np.zeros((len(SAMPLES), SECONDS * 4))
    for row, (entry, start) in enumerate(zip(planted.entry_B.tolist(), planted.start_s_B.tolist(), strict=True)):
        at = np.rint((opened.bank.onsets(entry).astype(float) - start) * 256) // 64
        out[row, at[(at >= 0) & (at < SECONDS * 4)].astype(int)] = 1
    return out


@pytest.mark.parametrize("name", TRUNKS)
def test_every_head_learns_the_truth_of_a_few_windows_by_heart(
    name: Trunk, opened: PlantedBank, batch: dict[str, Tensor], planted: Planted, without_reading: dict[str, float]
) -> None:
    model, losses = overfitted(TRUNKS[name], batch)
    least = dict.fromkeys(TRUTH_HEADS, 0.0)
    least["votes"] = float(-torch.xlogy(batch["votes_BK"], batch["votes_BK"]).sum(1).mean())  # the votes' own entropy
    for head in TRUTH_HEADS:
        assert losses[head][-1] - least[head] < 0.7 * (without_reading[head] - least[head]), head
        assert losses[head][-1] - least[head] < 0.7 * (losses[head][0] - least[head]), head
    with torch.no_grad():
        found = {key: value.numpy() for key, value in model.train().predict(batch).items()}
    check_times(found, opened, batch, planted)
    check_windows(found, opened, planted)


def check_times(found: dict[str, np.ndarray], opened: PlantedBank, batch: dict[str, Tensor], planted: Planted) -> None:
    """Discharges and phases are predicted where the bank has them, not a slot beside that."""
    slots = expected_slots(opened, planted)
    seen = batch["discharge_BCS"].numpy().any(-1)  # channels on which they can be seen
    rows = np.flatnonzero(seen.any(1))
    assert len(rows) >= 4
    logits = np.stack([found["discharge_logits_BCS"][b, seen[b]].mean(0) for b in rows])
    area = area_of(slots[rows].ravel(), logits.ravel())
    beside = [area_of(np.roll(slots[rows], by, 1).ravel(), logits.ravel()) for by in (-1, 1)]
    assert area > 0.9
    assert max(beside) < area - 0.2
    weight = batch["phase_weight_BCS"].numpy()
    agreement = []
    for b, channel, slot in zip(*np.nonzero(weight), strict=True):
        onsets = opened.bank.onsets(int(planted.entry_B[b])).astype(float) - float(planted.start_s_B[b])
        centre = (slot + 0.5) * 0.25
        before, after = onsets[onsets < centre].max(), onsets[onsets >= centre].min()
        cos, sin = found["phase_BCS2"][b, channel, slot]
        agreement.append(np.cos(np.arctan2(sin, cos) - 2 * np.pi * (centre - before) / (after - before)))
    assert np.mean(agreement) > 0.8


def check_windows(found: dict[str, np.ndarray], opened: PlantedBank, planted: Planted) -> None:
    """Class, rate, side and suppression are those of the patterns."""
    entry, x = planted.entry_B.numpy(), np.asarray(EEG_1020.positions)[:, 0]
    assert found["votes_logits_BK"].argmax(1).tolist() == opened.bank.class_E[entry].tolist()
    place = COURSE.index("rate")
    rate = np.log2(opened.bank.rate_E2[entry]).mean(1)
    np.testing.assert_allclose(found["course_values_BV"][:, place] * COURSE_UNITS[place], rate, atol=0.4)
    power = planted.pattern_BCT.square().sum(-1).numpy()
    left, right = power[:, x < -0.1].sum(1), power[:, x > 0.1].sum(1)
    sides = found["side_logits_BK"].argmax(1)
    one_sided = np.flatnonzero(opened.bank.side_E[entry] > 0)
    assert set(sides[one_sided]) == {LEFT, RIGHT}
    assert sides[one_sided].tolist() == np.where(right > left, RIGHT, LEFT)[one_sided].tolist()
    suppressed = (planted.envelope_BT < 0.5).float().mean(1).numpy() > 0.5
    assert suppressed.any()
    assert ((found["findings_logits_BF"][:, 1] > 0) == suppressed).all()
