from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from model.pretraining.masking import MaskPlan
from signals.shards.normalise import Normaliser
from signals.window import ABSENT, MEASURED
from training.corpus.corpus import Corpus
from training.corpus.order import MicroBatch
from training.corpus.source import Choice, Resident, Source
from training.corpus.steps import StepBatches
from training.corpus.stream import Prepare
from training.objectives.preparation import Preparation


def source_of(shards: Path, crop_times: int = 1024) -> Source:
    return Source(corpus=Corpus.open(shards), normaliser=Normaliser(kind="window"), crop_times=crop_times, seed=(0, 1))


def prepared(source: Source, micro: MicroBatch, **more: object) -> dict[str, torch.Tensor]:
    return Preparation(sfreq=256.0, masks=MaskPlan(), seed=(0, 1), **more)(source.raw(micro))


def test_what_is_drawn_depends_on_the_sample_number_alone(toy_shards: Path) -> None:
    source, more = source_of(toy_shards), {"gain_sd": 0.3, "drop_channels": 0.2}
    together = prepared(source, MicroBatch((3, 4), (10, 11), 1024), **more)
    alone = prepared(source, MicroBatch((4,), (11,), 1024), **more)
    for name, value in alone.items():
        assert torch.equal(together[name][1:], value), name
    assert alone["x_BCT"].shape == (1, 19, 1024)
    assert (together["ch_state_BC"] == MEASURED).any()
    assert (together["ch_state_BC"] == ABSENT).any()
    # The same window twice, as at the border of two epochs.
    twice = prepared(source, MicroBatch((4, 4), (11, 12), 1024), **more)
    assert torch.equal(twice["x_BCT"][:1], alone["x_BCT"])
    assert not torch.equal(twice["x_BCT"][1:], alone["x_BCT"])


def test_without_a_mask_or_change_samples_are_the_normaliser_s(toy_shards: Path) -> None:
    source = source_of(toy_shards, crop_times=2560)
    raw = source.raw(MicroBatch((5, 6), (0, 1), 2560))
    x = (raw["x_BCT"] * raw["inverse_scale_BC"][..., None]).clamp(-20, 20)
    np.testing.assert_array_equal(x.numpy(), source.corpus.batch([5, 6], source.normaliser).x_BCT)


def test_windows_in_memory_give_the_very_same_batches(make_toy_shards: Callable[..., Path]) -> None:
    folders = [make_toy_shards(n_sites=1), make_toy_shards(n_sites=1, n_subjects=2, window_s=4.0)]
    source = Source(corpus=Corpus.open(folders), normaliser=Normaliser(kind="window"), crop_times=1024, seed=(0, 1))
    subjects = source.corpus.manifest.subjects
    resident = Resident(source, Choice(subjects).rows(source.corpus), torch.device("cpu"))
    assert resident.n_bytes == 2 * 19 * (12 * 2560 + 6 * 1024)
    for micro in (MicroBatch((5, 0), (7, 8), 1024), MicroBatch((13, 14), (0, 1), 1024)):
        a, b = source.raw(micro), resident.raw(micro)
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=0)


def test_a_micro_batch_of_which_nothing_could_be_read_is_empty_from_memory_too(toy_shards: Path) -> None:
    source = source_of(toy_shards)
    subjects = sorted(source.corpus.manifest.subjects)[:1]
    resident = Resident(source, Choice(subjects).rows(source.corpus), torch.device("cpu"))
    unread = [n for n, entry in enumerate(source.corpus.entries) if entry.subject_id != subjects[0]][:2]
    nothing, empty = resident.raw(MicroBatch(tuple(unread), (0, 1), 1024)), source.raw(MicroBatch((), (), 1024))
    assert {name: tuple(value.shape) for name, value in nothing.items()} == {
        name: tuple(value.shape) for name, value in empty.items()
    }


def test_first_steps_start_from_the_line_whatever_the_filling(toy_shards: Path) -> None:
    source, micro = source_of(toy_shards), MicroBatch((0, 1), (0, 1), 1024)
    raw = source.raw(micro)
    prepare = Prepare([Preparation(sfreq=256.0, masks=MaskPlan(), seed=(0, 1), filling="ar")], line_steps=3)
    from_line, from_ar = prepared(source, micro), prepared(source, micro, filling="ar")
    assert not torch.equal(from_line["filled_BCT"], from_ar["filled_BCT"])
    for step in range(5):
        made = prepare(StepBatches(micro_batches=[raw], eeg_hours=0.0, step=step, sources=(0,))).micro_batches[0]
        for name, value in (from_line if step < 3 else from_ar).items():
            assert torch.equal(made[name], value)
