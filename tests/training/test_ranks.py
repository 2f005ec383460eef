"""What several processes must agree on, at more than two of them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from evaluation.scenarios.reconstruction import check_reconstruction
from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.pretraining.pretraining import PretrainModel
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from tests.training.ranks import in_ranks
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled
from training.corpus.order import MicroBatch
from training.corpus.source import Source
from training.fitting.fit import Fitting
from training.objectives.preparation import Preparation
from training.objectives.reconstruction import evaluate_reconstruction
from training.parallel.distributed import Processes, Single, TorchGroup
from training.recipes.finetuning import RECIPES
from training.recipes.pretraining import eeg_tiny
from training.recipes.sections import changed
from training.trainer.train import Trainer


def test_equal_weights_are_never_refused() -> None:
    # At 8 processes the sum of 8 equal floating-point numbers is 8 times the number for about half of all seeds only.
    def refused(processes: TorchGroup) -> int:
        found = 0
        for seed in range(20):
            torch.manual_seed(seed)
            try:
                processes.check_same(nn.Linear(7, 5))
            except RuntimeError:
                found += 1
        return found

    assert in_ranks(8, refused) == [0] * 8


def test_one_different_weight_is_refused_by_all() -> None:
    def refused(processes: TorchGroup) -> bool:
        module = nn.Linear(7, 5)
        nn.init.ones_(module.weight)
        nn.init.ones_(module.bias)
        if processes.rank == 2:
            # The sum of squares stays what it was.
            module.weight.data[0, 0] = -1.0
        try:
            processes.check_same(module)
        except RuntimeError:
            return True
        return False

    assert in_ranks(4, refused) == [True] * 4


ALONE = Single(rank=0, world_size=1, device=torch.device("cpu"))
WEIGHTS = {"reconstruction": 1.0, "spectral": 1.0, "sleep": 0.1}
"""All pretraining heads but the one that compares windows of a forward pass with each other."""


def step_of(processes: Processes, shards: Corpus, n_parts: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the loss and the gradients of one step over 8 windows, cut into parts that processes share."""
    torch.manual_seed(0)
    model = PretrainModel(Encoder(EncoderConfig(dim=32, depth=1, n_heads=4, stem_dim=16)), WEIGHTS)
    nn.init.normal_(model.heads["reconstruction"].samples.weight, std=0.1)
    gradients: dict[str, torch.Tensor] = {}

    class Keep(torch.optim.SGD):
        def step(self, closure: None = None) -> None:
            gradients.update({name: p.grad.clone() for name, p in model.named_parameters()})

    optimizer = Keep(model.parameters(), lr=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    run = Trainer(module=model, optimizer=optimizer, scheduler=scheduler, processes=processes, seed=0, clip_norm=1e9)
    source = Source(corpus=shards, normaliser=Normaliser(kind="window"), crop_times=512, seed=(0, 1))
    prepare = Preparation(sfreq=256.0, masks=eeg_tiny(tiny=True).masks, seed=(0, 1))
    parts = [
        prepare(source.raw(MicroBatch(windows=tuple(part), samples=tuple(part), n_times=512)))
        for part in np.array_split(np.arange(8), n_parts)
    ]
    values = run.take_step(parts[processes.rank :: processes.world_size])
    assert values is not None
    return values["loss"], gradients


@pytest.mark.parametrize(("world_size", "cuts"), [(1, (2, 4, 8)), (2, (1, 8)), (4, (2, 8))])
def test_any_split_of_a_batch_gives_the_same_step(toy_shards: Path, world_size: int, cuts: tuple[int, ...]) -> None:
    shards = Corpus.open(toy_shards)
    windows = shards.entries  # everything is read before the processes part
    assert len(windows) == 36

    def steps(processes: TorchGroup) -> list[tuple[float, dict[str, torch.Tensor]]]:
        return [step_of(ALONE, shards, 1), *(step_of(processes, shards, n_parts) for n_parts in cuts)]

    for (whole_loss, whole), *cut in in_ranks(world_size, steps):
        for loss, gradients in cut:
            assert loss == pytest.approx(whole_loss, rel=1e-5)
            off = sum((gradients[name] - g).square().sum() for name, g in whole.items())
            assert (off / sum(g.square().sum() for g in whole.values())).sqrt() < 1e-5


def test_the_reconstruction_is_scored_alike_by_any_number_of_processes(make_toy_shards: Callable[..., Path]) -> None:
    shards = Corpus.open(make_toy_shards(n_sites=1, n_subjects=5, n_windows=1))  # odd: one process scores more
    torch.manual_seed(0)
    model = PretrainModel(Encoder(EncoderConfig(dim=32, depth=1, n_heads=4, stem_dim=16)), WEIGHTS)
    numbers, normaliser = list(range(len(shards.entries))), Normaliser(kind="window")
    shards.batch(numbers, normaliser)  # everything is read before the processes part

    def score(processes: Processes) -> pd.DataFrame:
        return evaluate_reconstruction(model, shards, numbers, normaliser, seed=0, processes=processes)

    alone = score(ALONE)
    check_reconstruction(alone)
    assert list(alone["window_key"].unique()) == [entry.key for entry in shards.entries]
    assert len(alone) == 5 * 3 * 6 * 6  # windows x lengths of gaps x methods x (all and five bands)
    for frame in in_ranks(2, score):
        pd.testing.assert_frame_equal(frame, alone, rtol=1e-6)
    numbers.clear()
    assert [len(frame) for frame in in_ranks(2, score)] == [0, 0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, write_shards: Callable[..., Path]) -> Labelled:
    folder = write_shards(tmp_path_factory.mktemp("ranks"), n_sites=2, n_subjects=4, n_windows=3, window_s=50.0)
    found = labelled(Corpus.open(folder), SIX_CLASS)
    found.shards.batch(found.windows, Normaliser(kind="window"))
    return found


@pytest.mark.parametrize(("name", "world_size"), [("probe", 4), ("eegnet", 3)])
def test_a_fit_is_the_same_on_every_process(data: Labelled, tmp_path: Path, name: str, world_size: int) -> None:
    """Also with batch normalisation, whose averages differ between processes, and patience that runs out."""
    recipe = changed(RECIPES[name](tiny=True), schedule={"epochs": 4, "patience": 1},
                     optim={"batch": 8, "micro_batch": 8}, regularise={"dropout": 0.0})  # fmt: skip

    def fit(processes: TorchGroup) -> dict[str, torch.Tensor]:
        fitting = Fitting(data, None, seed=0, processes=processes)
        log = tmp_path / str(processes.world_size) / "metrics.jsonl"
        log.parent.mkdir(exist_ok=True)
        model = fitting.fit(np.arange(len(data.windows)), recipe, metrics=log, name=name)
        assert model is not None
        return model.state_dict()

    states = in_ranks(world_size, fit)
    for state in states[1:]:
        assert all(torch.equal(state[key], value) for key, value in states[0].items())
    if name == "probe":  # no batch normalisation: nothing depends on who did what
        alone = in_ranks(1, fit)[0]
        curves = [
            [json.loads(line)["loss"] for line in (tmp_path / str(n) / "metrics.jsonl").read_text().splitlines()]
            for n in (1, world_size)
        ]
        np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)
        assert {key: value.shape for key, value in alone.items()} == {k: v.shape for k, v in states[0].items()}


def test_rows_of_all_processes_come_together_bit_for_bit_in_the_order_of_ranks() -> None:
    rows = [torch.tensor([[0.1, -0.0]]), torch.zeros(0, 2), torch.tensor([[1e-45, 3.0], [1 / 3, float("inf")]])]
    ids = torch.tensor([1 << 62, -(1 << 63), 5])

    def work(processes: TorchGroup) -> tuple[torch.Tensor, torch.Tensor]:
        return processes.gather(rows[processes.rank]), processes.gather(ids[processes.rank :][:1])

    for gathered, codes in in_ranks(3, work):
        assert torch.equal(gathered, torch.cat(rows))
        assert torch.equal(codes, ids)
    assert torch.equal(ALONE.gather(rows[2]), rows[2])
