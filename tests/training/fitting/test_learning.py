import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model.montage import Montage
from model.supervised.supervised import new_network
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from signals.window import ABSENT, MEASURED
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled
from training.corpus.order import MicroBatch
from training.fitting.fit import Fitting, fit, listening, start_encoder
from training.fitting.learning import TaskObjective, firm_rows, second_stage
from training.fitting.loss import balance, task_loss
from training.fitting.spectra import Spectrograms, own_spectrogram, surrounded
from training.fitting.task_batches import TaskBatches
from training.objectives.losses import VoteLoss
from training.parallel.distributed import Single
from training.recipes.finetuning import (
    RECIPES,
    ClassWeights,
    FinetuneObjective,
    FinetuneOptim,
    FinetuneRecipe,
    FinetuneSchedule,
)
from training.recipes.sections import changed
from training.trainer.unfreezing import Unfreezing, stages_of

ALONE = Single(rank=0, world_size=1, device=torch.device("cpu"))


@pytest.fixture
def data(make_toy_shards: Callable[..., Path]) -> Labelled:
    return labelled(Corpus.open(make_toy_shards(n_sites=1, n_subjects=4, n_windows=3, window_s=50.0)), SIX_CLASS)


def network(data: Labelled, name: str = "efficientnet_small"):
    modality = data.shards.manifest.modality
    return new_network(name, SIX_CLASS, modality, Normaliser(kind="window"), dropout=0.1, profile={}, provenance={})


def test_everything_at_once_still_trains(data: Labelled, tmp_path: Path) -> None:
    recipe = changed(
        RECIPES["efficientnet_small"](tiny=True),
        objective={"loss": "focal", "label_smoothing": 0.05, "class_weights": "always", "vote_weight": 0.5},
        augment={"mixup": 0.4, "cutmix": 0.5, "time_shift_s": 2.0, "time_mask": 0.5, "band_stop": 0.5},
        schedule={"second_stage_votes": 10, "unfreeze_every": 1, "epochs": 2},
        optim={"precision": "bf16"},
        regularise={"ema_decay": 0.5},
    )
    model = Fitting(data, None, seed=0, processes=ALONE).fit(
        np.arange(12), recipe, metrics=tmp_path / "m.jsonl", name="all"
    )
    assert model is not None
    assert (tmp_path / "m.jsonl").exists()
    assert (tmp_path / "m-firm.jsonl").exists()
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    looks = [line for line in lines if "valid_loss" in line]
    assert len(looks) == 2  # one per epoch
    assert all(0 <= line["valid_balanced_accuracy"] <= 1 for line in looks)
    assert "Loss of validation windows" in (tmp_path / "m.html").read_text()
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_deferred_weights_begin_late_and_choose_among_the_epochs_after_them(data: Labelled, tmp_path: Path) -> None:
    recipe = changed(
        RECIPES["efficientnet_small"](tiny=True),
        objective={"loss": "ldam", "reweight_from": 0.5}, schedule={"epochs": 4, "patience": 1},
    )  # fmt: skip
    model = Fitting(data, None, seed=0, processes=ALONE).fit(
        np.arange(12), recipe, metrics=tmp_path / "m.jsonl", name="late"
    )
    assert model is not None
    looks = [line for line in map(json.loads, (tmp_path / "m.jsonl").read_text().splitlines()) if "valid_loss" in line]
    assert len(looks) >= 3  # patience 1 counts from the third epoch on


def test_the_second_stage_takes_windows_of_many_votes(data: Labelled) -> None:
    rows = (np.arange(8), np.arange(8, 12))
    train, valid = firm_rows(data, rows, n_votes=10)
    assert (len(train), len(valid)) == (8, 4)  # the toy windows have 10 votes each
    with pytest.raises(ValueError, match="leaves 0 windows to train on and 0 .* at most 10 votes"):
        firm_rows(data, rows, n_votes=11)
    schedule = FinetuneSchedule(second_stage_votes=10, second_stage_epochs=3, unfreeze_every=2)
    second = second_stage(FinetuneRecipe(schedule=schedule, optim=FinetuneOptim(learning_rate=1e-2)))
    after = second.schedule
    assert (after.epochs, after.unfreeze_every, after.second_stage_votes) == (3, 0, 0)
    assert second.optim.learning_rate == pytest.approx(3e-3)


def weighing(classes: ClassWeights) -> FinetuneRecipe:
    return FinetuneRecipe(objective=FinetuneObjective(class_weights=classes))


def test_classes_weigh_alike_only_where_requested(data: Labelled) -> None:
    train = np.arange(12)
    assert task_loss(data, train, FinetuneRecipe()).last.class_weight_K is None  # votes
    weighted = task_loss(data, train, weighing("always")).last.class_weight_K
    counts = data.targets[train].sum(axis=0)
    np.testing.assert_allclose(weighted * counts, counts.sum() / 6, rtol=1e-5)
    hard = replace(data, has_votes=False)
    assert task_loss(hard, train, FinetuneRecipe()).last.class_weight_K is not None
    assert task_loss(hard, train, weighing("never")).last.class_weight_K is None
    assert balance(replace(data, targets=np.eye(6)[[0, 0, 1]]), np.arange(3)).tolist() == [0.75, 1.5, 0, 0, 0, 0]


def test_stages_open_from_the_last_and_shut_ones_keep_their_averages(data: Labelled) -> None:
    model = network(data)
    unfreezing = Unfreezing(stages_of(model), every=2)
    loss = TaskObjective(model, VoteLoss(), unfreezing)
    n_stages = len(stages_of(model))
    assert [unfreezing.n_open(epoch) for epoch in (0, 1, 2, 5, 100)] == [0, 0, 1, 2, n_stages]
    unfreezing.apply(0)
    loss.train()
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"network.classes.weight", "network.classes.bias"}
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(m.training for m in norms)
    unfreezing.apply(2)
    loss.train()
    assert [m.training for m in norms].count(True) == 1  # the top's
    unfreezing.apply(100)
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="'eegnet' has no stages"):
        stages_of(network(data, "eegnet"))


def test_batches_depend_on_samples_alone_and_carry_spectrograms(data: Labelled) -> None:
    recipe = changed(
        RECIPES["efficientnet_small"](), augment={"mixup": 0.2, "gain_sd": 0.1}, objective={"vote_weight": 1.0}
    )
    batches = TaskBatches(data, recipe, network(data), frozen=None, spectra=None)
    micro = MicroBatch(windows=(3, 5, 7), samples=(11, 12, 13), n_times=12800)
    one, two = batches.tensors(micro), batches.tensors(micro)
    assert set(one) == {"x_BCT", "ch_state_BC", "spectrogram_BRFS", "target_BK", "weight_B"}
    for name, values in one.items():
        torch.testing.assert_close(values, two[name], equal_nan=True)
    other = batches.tensors(MicroBatch(windows=(3, 5, 7), samples=(14, 15, 16), n_times=12800))
    assert not torch.equal(one["x_BCT"], other["x_BCT"])


def test_an_encoder_begins_to_listen_behind_a_closed_gate(data: Labelled, tmp_path: Path) -> None:
    encoder, about = start_encoder(None, seed=0)
    hears = listening(encoder)
    assert listening(hears) is hears
    modality = data.shards.manifest.modality
    x, state = torch.randn(2, 19, 2560), torch.full((2, 19), MEASURED)
    montage = Montage.of(modality, state)
    spectrogram = torch.randn(2, 4, 100, 25)
    with torch.no_grad():
        before = encoder.eval()(x, montage)["tokens_BCND"]
        after = hears.eval()(x, montage, spectrogram_BRFS=spectrogram)["tokens_BCND"]
    assert torch.equal(before, after)
    recipe = RECIPES["fused"](tiny=True)
    model = fit(data, np.arange(12), recipe, encoder=encoder, pretraining=about, processes=ALONE,
                metrics=tmp_path / "m.jsonl", name="fused")  # fmt: skip
    assert model is not None
    assert model.encoder.spectrogram.cross.gate.abs().max() > 0
    assert torch.equal(model.encoder.blocks[0].mlp[0].weight, encoder.blocks[0].mlp[0].weight)


def test_spectrograms_of_windows_and_of_ten_minutes(data: Labelled) -> None:
    spectra = Spectrograms(data.shards)
    assert spectra.batch([0, 3]).shape == (2, 4, 100, 25)
    window = data.shards.window(0)
    names = data.shards.manifest.modality.ch_names
    state = window.ch_state.copy()
    state[names.index("T3")] = ABSENT
    lacking = own_spectrogram(replace(window, ch_state=state), names)
    # T3 lies in the left lateral chain only
    assert np.isnan(lacking).all(axis=(1, 2)).tolist() == [True, False, False, False]
    whole = surrounded(own_spectrogram(window, names))
    assert whole.shape == (4, 100, 300)
    assert np.flatnonzero(np.isfinite(whole[0, 0])).tolist() == list(range(137, 162))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": {"name": "vgg"}}, "unknown model 'vgg'; models are encoder, eegnet"),
        ({"model": {"name": "eegnet"}, "regularise": {"freeze": ("stem",)}}, "has no such groups"),
        ({"model": {"name": "eegnet", "spectrogram": True}}, "has no place for them"),
        ({"schedule": {"unfreeze_every": 1}, "regularise": {"freeze": ("stem",)}}, "keeps them shut"),
        ({"model": {"weights": "x"}}, "is for networks"),
        ({"objective": {"loss": "l2"}}, "loss='l2'"),
        ({"augment": {"cutmix": 1.5}}, "cutmix=1.5 must lie between 0 and 1"),
        ({"augment": {"mixup": -1.0}}, "mixup=-1.0 must not be below 0"),
        ({"schedule": {"second_stage_epochs": 0}}, "second_stage_epochs=0"),
    ],
)
def test_contradictions_are_refused(wrong: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(FinetuneRecipe(), **wrong)
