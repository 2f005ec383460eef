"""Descriptions of hidden stretches: what is hidden, what is described, and that there is something to learn."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.knowledge_head import KnowledgeHead
from model.pretraining.masking import MIN_GROUP, MaskPlan
from model.pretraining.pretraining import PretrainModel
from model.pretraining.token_masks import BlockPlan, described_start, draw_tokens
from signals.modality import ECG_12, EEG_1020
from signals.patterns.features import pattern_features, stretch_features, stretch_names
from signals.shards.normalise import Normaliser
from signals.window import ABSENT, INTERPOLATED, MEASURED
from training.corpus.corpus import Corpus
from training.corpus.order import MicroBatch
from training.corpus.source import Source
from training.objectives.latent_validation import validate_latents
from training.objectives.preparation import Preparation
from training.objectives.stretches.describing import Describing
from training.objectives.stretches.knowledge import fit_knowledge, knowledge_errors, validate_knowledge
from training.objectives.validation import Look
from training.parallel.distributed import Single

PLAN = BlockPlan(channels_chance=0.0, stretch_chance=0.0, gaps_share=0.2, described_tokens=14)
DESCRIBING = Describing.of(EEG_1020, PLAN)
CONFIG = EncoderConfig(dim=32, depth=1, n_heads=4, stem_dim=16)
ALONE = Single(rank=0, world_size=1, device=torch.device("cpu"))
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
    in_spans = draws.uniform("gaps")[:, 0] < PLAN.gaps_share
    assert 0.15 < in_spans.float().mean() < 0.25
    assert not (described & in_spans).any()  # those see the stretch
    # What is hidden besides stays below the plan's share, and some of the window is visible.
    assert hidden.float().mean((1, 2)).max() <= 0.6
    again = described_start(Draws(0, torch.tensor([7])), montage(1), 40 * 256, PLAN)
    assert again == start[7]


def test_short_windows_and_those_with_too_few_channels_have_none() -> None:
    draws = Draws(0, torch.arange(50))
    assert (described_start(draws, montage(50), 34 * 256, PLAN) == -1).all()
    assert (described_start(draws, montage(50), 35 * 256, PLAN) >= 0).any()
    for n_measured, has_any in ((MIN_GROUP - 1, False), (MIN_GROUP, True)):
        state = torch.full((50, 19), ABSENT)
        state[:, :n_measured] = MEASURED
        few = Montage.of(EEG_1020, state)
        assert (described_start(draws, few, 40 * 256, PLAN) >= 0).any() == has_any
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


def test_interpolated_electrodes_are_described_and_those_dropped_at_random_too() -> None:
    given = raw(12)
    described = PREPARE(given)["description_BF"]
    assert described.isfinite().all(1).any()
    held = {**given, "ch_state_BC": torch.where(torch.arange(19) == 5, INTERPOLATED, given["ch_state_BC"])}
    torch.testing.assert_close(PREPARE(held)["description_BF"], described, equal_nan=True, rtol=0, atol=0)
    dropping = replace(PREPARE, drop_channels=0.3)(given)
    assert (dropping["ch_state_BC"] == ABSENT).any()
    torch.testing.assert_close(dropping["description_BF"], described, equal_nan=True, rtol=0, atol=0)


def test_windows_that_cannot_be_described_have_no_description() -> None:
    given = raw(12)
    given["ch_state_BC"] = given["ch_state_BC"].clone()
    given["ch_state_BC"][:, 3] = ABSENT
    made = PREPARE(given)
    assert (made["stretch_B"] >= 0).any()
    assert made["description_BF"].isnan().all()
    assert Describing.of(ECG_12, PLAN).rows == ()


def test_the_rest_is_the_mean_of_the_sides_of_the_stretch_that_are_long_enough() -> None:
    given, start = raw(4), torch.tensor([3, 20, 13, 26])
    rests = DESCRIBING.rests(given["x_BCT"], given["ch_state_BC"], start)
    sides = ([(17, 40)], [(0, 20)], [(0, 13), (27, 40)], [(0, 26)])
    for row, parts in enumerate(sides):
        x = given["x_BCT"][row].numpy()
        each = [list(stretch_features(x[:, a * 256 : b * 256], 256.0).values()) for a, b in parts]
        np.testing.assert_allclose(rests[row], np.mean(each, axis=0), rtol=1e-5)


def test_every_window_of_a_look_is_described() -> None:
    given = raw(20, seconds=35)
    entry = SimpleNamespace(n_times=35 * 256, subject_id="a")
    source = SimpleNamespace(
        corpus=SimpleNamespace(entry=lambda number: entry), crop_times=35 * 256,
        raw=lambda micro: {name: value[list(micro.windows)] for name, value in given.items()},
    )  # fmt: skip
    model = PretrainModel(Encoder(CONFIG), {"knowledge": 1.0}, mask_token=True, options={"knowledge": {"tokens": 14}})
    fit_knowledge(model, [Look(source=source, preparation=PREPARE, windows=range(20))], PLAN)  # type: ignore[arg-type]
    everything = replace(PREPARE, blocks=replace(PLAN, gaps_share=0.0, described_chance=1.0))(given)
    described = everything["description_BF"]
    assert described.isfinite().all()
    torch.testing.assert_close(model.heads["knowledge"].mean_F, described.double().mean(0).float())


def test_windows_that_cannot_be_read_are_left_out(toy_shards: Path) -> None:
    class Unreadable(Source):
        def raw(self, micro: MicroBatch) -> dict[str, Tensor]:
            return super().raw(MicroBatch((), (), micro.n_times))

    corpus = Corpus.open(toy_shards)
    source = Unreadable(corpus=corpus, normaliser=Normaliser(kind="window"), crop_times=2560, seed=(0, 1))
    looks = [Look(source=source, preparation=PREPARE, windows=[0, 1])]
    model = PretrainModel(Encoder(CONFIG), {"knowledge": 1.0, "latents": 1.0}, mask_token=True)
    assert knowledge_errors(model, looks, PLAN, ALONE) == {}
    assert np.isnan(list(validate_knowledge(model, looks, PLAN, ALONE).values())).all()
    assert np.isnan(list(validate_latents(model, looks, PLAN, ALONE).values())).all()
    with pytest.raises(ValueError, match="0 windows to train on"):
        fit_knowledge(model, looks, PLAN)


def test_what_is_standardised_is_fitted_on_the_models_device() -> None:
    head = KnowledgeHead(CONFIG).to("meta")
    values = torch.randn(9, len(stretch_names()))
    head.fit(values, values)  # of tensors on two devices torch refuses to compute anything
    with pytest.raises(ValueError, match="7 windows to train on .* 8 needed: windows of 35 s .*--data.crop-s.* 19 "):
        head.fit(values[:7], values[:7])


def test_an_encoder_learns_to_describe_what_is_hidden() -> None:
    torch.manual_seed(0)
    prepare = replace(PREPARE, blocks=replace(PLAN, gaps_share=0.0, described_chance=1.0))
    model = PretrainModel(Encoder(CONFIG), {"knowledge": 1.0}, mask_token=True, options={"knowledge": {"tokens": 14}})
    batch = prepare(raw(8, seconds=35))
    head = model.heads["knowledge"]
    rest = DESCRIBING.rests(raw(8, seconds=35)["x_BCT"], batch["ch_state_BC"], batch["stretch_B"])
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
