"""Keys of a whole step: the same step however it is cut, nobody's own among the negatives, and something to learn."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.montage import Montage
from model.pretraining.masking import MaskPlan
from model.pretraining.pretraining import PretrainModel
from model.pretraining.token_masks import BlockPlan
from signals.modality import EEG_1020
from signals.window import ABSENT, MEASURED
from tests.training.ranks import in_ranks
from training.corpus.steps import StepBatches
from training.objectives.preparation import Preparation
from training.objectives.recording_contrast import Keys, key_view, with_keys, without_keys
from training.parallel.distributed import Processes, Single
from training.trainer.start import give_teacher
from training.trainer.train import Trainer

ALONE = Single(rank=0, world_size=1, device=torch.device("cpu"))
CONFIG = EncoderConfig(dim=32, depth=1, n_heads=4, stem_dim=16)
PREPARE = Preparation(sfreq=256.0, masks=MaskPlan(), seed=(0,), blocks=BlockPlan(gaps_share=0.0))


def raw(recordings: Sequence[int], stretch: int, subjects: Sequence[int]) -> dict[str, Tensor]:
    """Stretches of 2 s of recordings that each have a rhythm and a map over the head of their own."""
    made = []
    for recording in recordings:
        own, noise = np.random.default_rng((recording, 1)), np.random.default_rng((recording, 2, stretch))
        wave = np.sin(2 * np.pi * (5 + 2 * recording) * np.arange(512) / 256 + 6 * noise.random())
        made.append(own.normal(size=(19, 1)) * wave + 0.3 * noise.normal(size=(19, 512)))
    x = torch.tensor(np.array(made), dtype=torch.float32)
    x = x - x.mean(1, keepdim=True)
    pairs = torch.tensor(recordings)
    return {
        "x_BCT": x, "inverse_scale_BC": torch.ones(len(made), 19), "sample_B": 100 * pairs + stretch,
        "pair_B": pairs, "subject_B": torch.tensor(subjects),
        **Montage.of(EEG_1020, torch.full((len(made), 19), MEASURED)).tensors(),
    }  # fmt: skip


def step_of(recordings: Sequence[int], n_parts: int, stretch: int = 0, same: int = 1) -> StepBatches:
    """Return a step of windows and partners in so many micro-batches; `same` recordings in a row are one person's."""
    parts = [part.tolist() for part in np.array_split(np.array(recordings), n_parts)]
    people = [[recording // same for recording in part] for part in parts]
    both = list(zip(parts, people, strict=True))
    partners = [key_view(PREPARE)(raw(part, stretch + 1, who)) for part, who in both]
    windows = [PREPARE(raw(part, stretch, who)) for part, who in both]
    return StepBatches(
        micro_batches=windows, eeg_hours=0.0, partners=StepBatches(micro_batches=partners, eeg_hours=0.0)
    )


def trainer_of(processes: Processes, rate: float = 0.0) -> Trainer:
    torch.manual_seed(0)
    model = PretrainModel(Encoder(CONFIG), {"recording_contrast": 1.0}, mask_token=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trainer = Trainer(module=model, optimizer=optimizer, scheduler=scheduler, processes=processes, seed=0,
                      clip_norm=1e9, ema_decay=0.9)  # fmt: skip
    give_teacher(trainer)
    return trainer


def own_part(step: StepBatches, processes: Processes) -> StepBatches:
    mine = slice(processes.rank, None, processes.world_size)
    assert step.partners is not None
    partners = replace(step.partners, micro_batches=step.partners.micro_batches[mine])
    return replace(step, micro_batches=step.micro_batches[mine], partners=partners)


def taken(processes: Processes, n_parts: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    trainer = trainer_of(processes)
    step = with_keys(own_part(step_of(range(8), n_parts, same=2), processes), trainer.module, processes)
    values = trainer.take_step(step.micro_batches)
    assert values is not None
    gradients = {name: p.grad.clone() for name, p in trainer.module.named_parameters() if p.grad is not None}
    return {**values, **step.measures}, gradients


@pytest.mark.parametrize(("world_size", "cuts"), [(1, (2, 3, 8)), (2, (1, 2, 5))])
def test_any_split_of_a_batch_gives_the_same_step(world_size: int, cuts: tuple[int, ...]) -> None:
    def steps(processes: Processes) -> list[tuple[dict[str, float], dict[str, Tensor]]]:
        return [taken(ALONE, 1), *(taken(processes, n_parts) for n_parts in cuts)]

    for (whole, whole_gradients), *cut in in_ranks(world_size, steps):
        # Four people of two recordings: eight keys, of which each window meets its own and six of others.
        assert (whole["recording_keys"], whole["recording_chance"]) == (8.0, pytest.approx(math.log(7)))
        for values, gradients in cut:
            for name in ("loss", "recording_contrast", "recording_top1", "recording_keys", "recording_chance"):
                assert values[name] == pytest.approx(whole[name], rel=1e-5)
            off = sum((gradients[name] - g).square().sum() for name, g in whole_gradients.items())
            assert (off / sum(g.square().sum() for g in whole_gradients.values())).sqrt() < 1e-4


def test_keys_of_the_same_subject_are_left_out_but_for_the_partner() -> None:
    keys = Keys(key_KD=torch.eye(4), pair_K=torch.tensor([7, 8, 9, 4]), subject_K=torch.tensor([1, 1, 2, 3]))
    batch = {"pair_B": torch.tensor([8, 9, 5]), "subject_B": torch.tensor([1, 2, 1])}
    offered = keys.offered_to(batch)
    # The second key is the first window's own; the first is of another recording of that person. The third window's
    # partner could not be read, and it is the same person's.
    assert offered["own_BK"].int().tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert offered["candidate_BK"].int().tolist() == [[0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]]
    # Keys of subject 1 have two others, 2 and 3 have three: candidates with the own one.
    assert keys.measures() == {"recording_keys": 4.0, "recording_chance": pytest.approx(np.log([3, 3, 4, 4]).mean())}
    nobody = replace(keys, subject_K=torch.ones(4, dtype=torch.int64))
    assert nobody.measures() == {"recording_keys": 0.0}


def test_only_the_student_gets_a_gradient() -> None:
    trainer = trainer_of(ALONE)
    model = trainer.module
    step = with_keys(step_of(range(4), 1), model, ALONE)
    assert not step.micro_batches[0]["key_BKD"].requires_grad
    before = {name: value.clone() for name, value in trainer.average.averages.items()} if trainer.average else {}
    model(step.micro_batches[0])["recording_contrast"].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.heads["recording_contrast"].parameters())
    assert all(p.grad is not None for p in model.encoder.blocks.parameters())
    assert trainer.average is not None
    assert all(not value.requires_grad and value.grad is None for value in trainer.average.averages.values())
    assert all(torch.equal(value, before[name]) for name, value in trainer.average.averages.items())


def test_keys_come_from_the_averaged_weights_and_move_with_them() -> None:
    trainer, batch = trainer_of(ALONE), step_of(range(2), 1).partners
    assert batch is not None
    model, whole = trainer.module, batch.micro_batches[0]
    first = model.keys(whole)
    nn.init.normal_(model.heads["recording_contrast"].project[-1].weight)
    assert torch.equal(model.keys(whole), first)
    assert trainer.average is not None
    trainer.average.update(model, 1)
    assert not torch.allclose(model.keys(whole), first)
    torch.testing.assert_close(model.keys(whole).norm(dim=1), torch.ones(2))


def test_recordings_are_recognised_in_stretches_that_were_not_trained_on() -> None:
    trainer = trainer_of(ALONE, rate=3e-3)
    for number in range(40):
        step = with_keys(step_of(range(8), 2, stretch=2 * number), trainer.module, ALONE)
        values = trainer.take_step(step.micro_batches)
    assert values is not None
    assert values["recording_contrast"] < 0.6 * math.log(8)
    with trainer.evaluated() as model, torch.no_grad():
        fresh = with_keys(step_of(range(8), 1, stretch=1000), model, ALONE)
        n_right = model(fresh.micro_batches[0])["recording_top1"].item()
    assert n_right >= 5  # of 8; one by chance, and 5 or more with a chance of 0.001


def test_a_step_without_partners_or_keys_counts_nothing() -> None:
    trainer = trainer_of(ALONE)
    step = replace(step_of(range(2), 1), partners=None)
    met = with_keys(step, trainer.module, ALONE)
    assert met.measures == {"recording_keys": 0.0}
    for batch in (met.micro_batches[0], without_keys(step.micro_batches[0], trainer.module.key_width)):
        assert trainer.module.counts(batch)["recording_contrast"] == 0
        assert trainer.module(batch)["recording_contrast"] == 0


def test_views_drop_channels_and_change_the_reference_by_sample_number_alone() -> None:
    view, whole = key_view(PREPARE), raw(range(40), 0, range(40))
    seen = view(whole)
    assert not seen["mask_BCT"].any()
    measured_BC = seen["ch_state_BC"] == MEASURED
    assert 0.7 < measured_BC.float().mean() < 0.9  # a fifth is dropped
    assert set(seen["ch_state_BC"].unique().tolist()) == {ABSENT, MEASURED}
    mean_B = ((seen["x_BCT"] * measured_BC[..., None]).sum(1).abs().amax(1)) > 1e-3
    assert 10 <= mean_B.sum() <= 30  # half of them are against a part's mean; 10 is three standard errors away
    # A change of reference moves all channels alike: differences between them stay.
    for row in range(40):
        kept = measured_BC[row]
        apart = seen["x_BCT"][row, kept] - whole["x_BCT"][row, kept]
        torch.testing.assert_close(apart, apart[:1].expand_as(apart), atol=1e-5, rtol=0)
    assert view.seed != PREPARE.seed  # or a window and its partner would lose the same channels
    assert key_view(replace(PREPARE, planting=object())).planting is None  # type: ignore[arg-type]
    alone = view({name: value[7:8] for name, value in whole.items()})
    assert torch.equal(alone["x_BCT"][0], seen["x_BCT"][7])
