"""Descriptions of hidden stretches: what is hidden, what is described, and that there is something to learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.masking import MaskPlan
from model.pretraining.pretraining import PretrainModel
from model.pretraining.token_masks import BlockPlan, described_start, draw_tokens
from signals.modality import ECG_12, EEG_1020
from signals.patterns.features import pattern_features, stretch_features, stretch_names
from signals.window import ABSENT, MEASURED
from training.objectives.preparation import Preparation
from training.objectives.stretches.describing import Describing

PLAN = BlockPlan(channels_chance=0.0, stretch_chance=0.0, gaps_share=0.2, described_tokens=14)
DESCRIBING = Describing.of(EEG_1020, PLAN)
PREPARE = Preparation(sfreq=256.0, masks=MaskPlan(), seed=(0,), blocks=PLAN, describing=DESCRIBING)


def montage(n: int) -> Montage:
    return Montage.of(EEG_1020, torch.full((n, 19), MEASURED))


def raw(n: int, seconds: int = 40) -> dict[str, Tensor]:
    """Windows with a rhythm of their own, at one side."""
    made = []
    for window in range(n):
        rng = np.random.default_rng(window)
        wave = np.sin(2 * np.pi * (1 + window) * np.arange(seconds * 256) / 256)
        made.append(rng.normal(size=(19, 1)) * 30 * wave + 5 * rng.normal(size=(19, seconds * 256)))
    return {
        "x_BCT": torch.tensor(np.array(made), dtype=torch.float32), "sample_B": torch.arange(n),
        "inverse_scale_BC": torch.linspace(0.02, 0.1, 19).expand(n, -1), **montage(n).tensors(),
    }  # fmt: skip


def test_a_stretch_has_the_features_of_a_whole_window() -> None:
    x = np.random.default_rng(0).normal(size=(19, 256 * 30)) * 20
    whole = {name: value for name, value in pattern_features(x, 256.0).items() if name.startswith("whole_")}
    assert whole == {f"whole_{name}": value for name, value in stretch_features(x, 256.0).items()}
    assert tuple(stretch_features(x[:, : 256 * 12], 256.0)) == stretch_names()
    with pytest.raises(ValueError, match="needs 19 channels and 10 s"):
        stretch_features(x[:, : 256 * 9], 256.0)


def test_half_of_the_windows_lose_all_channels_for_the_stretch_that_is_named() -> None:
    where, draws = montage(400), Draws(0, torch.arange(400))
    start = described_start(draws, where, 40 * 256, PLAN)
    hidden = draw_tokens(draws, where, 40, PLAN)
    described = start >= 0
    assert 0.3 < described.float().mean() < 0.5  # half of the four fifths that lose no spans instead
    assert (start[described] + 14 <= 40).all()
    assert start[described].min() == 0
    assert start[described].max() == 26
    for row in torch.nonzero(described)[:, 0].tolist():
        assert hidden[row, :, start[row] : start[row] + 14].all()
    # What is hidden besides stays below the plan's share, and some of the window is visible.
    assert hidden.float().mean((1, 2)).max() <= 0.6
    again = described_start(Draws(0, torch.tensor([7])), montage(1), 40 * 256, PLAN)
    assert again == start[7]


def test_short_windows_and_those_with_too_few_channels_have_none() -> None:
    draws = Draws(0, torch.arange(50))
    assert (described_start(draws, montage(50), 34 * 256, PLAN) == -1).all()
    assert (described_start(draws, montage(50), 35 * 256, PLAN) >= 0).any()
    few = Montage.of(EEG_1020, torch.full((50, 19), ABSENT))
    assert (described_start(draws, few, 40 * 256, PLAN) == -1).all()
    assert (described_start(draws, montage(50), 40 * 256, BlockPlan()) == -1).all()


def test_a_description_is_that_of_the_truth_in_microvolts_and_does_not_reach_what_is_seen() -> None:
    given = raw(12)
    made = PREPARE(given)
    rows = torch.nonzero(made["stretch_B"] >= 0)[:, 0].tolist()
    assert rows
    for row in rows:
        first = int(made["stretch_B"][row]) * 256
        part = given["x_BCT"][row, :, first : first + 14 * 256].numpy()
        expected = np.array(list(stretch_features(part, 256.0).values()))
        np.testing.assert_allclose(made["description_BF"][row], expected, rtol=1e-5)
    without = made["stretch_B"] < 0
    assert made["description_BF"][without].isnan().all()
    # Other samples in the stretch: another description, and the same to see.
    other = {**given, "x_BCT": given["x_BCT"].clone()}
    row, first = rows[0], int(made["stretch_B"][rows[0]]) * 256
    other["x_BCT"][row, :, first : first + 14 * 256] = torch.randn(19, 14 * 256)
    changed = PREPARE(other)
    assert torch.equal(changed["filled_BCT"][row], made["filled_BCT"][row])
    assert not torch.equal(changed["description_BF"][row], made["description_BF"][row])


def test_windows_that_cannot_be_described_have_no_description() -> None:
    given = raw(12)
    given["ch_state_BC"] = given["ch_state_BC"].clone()
    given["ch_state_BC"][:, 3] = ABSENT
    made = PREPARE(given)
    assert (made["stretch_B"] >= 0).any()
    assert made["description_BF"].isnan().all()
    assert Describing.of(ECG_12, PLAN).rows == ()


def test_the_rest_is_the_longer_side_of_the_stretch() -> None:
    given, start = raw(2), torch.tensor([3, 20])
    rests = DESCRIBING.rests(given["x_BCT"], given["ch_state_BC"], start)
    for row, part in ((0, slice(17 * 256, None)), (1, slice(0, 20 * 256))):
        expected = list(stretch_features(given["x_BCT"][row, :, part].numpy(), 256.0).values())
        np.testing.assert_allclose(rests[row], expected, rtol=1e-5)


def test_an_encoder_learns_to_describe_what_is_hidden() -> None:
    torch.manual_seed(0)
    prepare = replace(PREPARE, blocks=replace(PLAN, gaps_share=0.0, described_chance=1.0))
    config = EncoderConfig(dim=32, depth=1, n_heads=4, stem_dim=16)
    model = PretrainModel(Encoder(config), {"knowledge": 1.0}, mask_token=True, options={"knowledge": {"tokens": 14}})
    batch = prepare(raw(6, seconds=35))
    head = model.heads["knowledge"]
    rest = DESCRIBING.rests(raw(6, seconds=35)["x_BCT"], batch["ch_state_BC"], batch["stretch_B"])
    head.fit(batch["description_BF"], rest)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = model(batch)["knowledge"] / model.counts(batch)["knowledge"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
