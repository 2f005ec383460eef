from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.montage import Montage
from model.pretraining.masking import MaskPlan
from model.pretraining.pretraining import PretrainModel
from signals.modality import EEG_1020, EEG_PSG, Modality
from signals.shards.normalise import Normaliser
from signals.window import ABSENT, INTERPOLATED, MEASURED
from training.corpus.buckets import Part, bucketed, padded, stacked
from training.corpus.corpus import Corpus
from training.corpus.order import MicroBatch
from training.corpus.source import Choice, Source
from training.corpus.stream import Reading, Stream, step_batches
from training.objectives.preparation import Preparation

PREPARE = Preparation(sfreq=256.0, masks=MaskPlan(), seed=(0, 1), gain_sd=0.2, drop_channels=0.1)


def raw(modality: Modality, samples: range) -> dict[str, Tensor]:
    """Return samples of windows of 512 samples as a source gives them; one channel interpolated, one absent."""
    rng = torch.Generator().manual_seed(modality.n_chans)
    state = torch.full((len(samples), modality.n_chans), MEASURED)
    state[:, 3], state[:, 5] = INTERPOLATED, ABSENT
    return {
        "x_BCT": 20 * torch.randn((len(samples), modality.n_chans, 512), generator=rng),
        "inverse_scale_BC": torch.full(state.shape, 0.05),
        "sample_B": torch.tensor(samples),
        "sleep_target_B": torch.full((len(samples),), -1),
        **Montage.of(modality, state).tensors(),
    }


def test_a_padded_window_is_hidden_and_changed_as_it_is_alone() -> None:
    alone = [PREPARE(raw(EEG_1020, range(3))), PREPARE(raw(EEG_PSG, range(3, 5)))]
    both = PREPARE(stacked([raw(EEG_1020, range(3)), raw(EEG_PSG, range(3, 5))]))
    assert both["x_BCT"].shape == (5, 23, 512)
    assert both["adjacency_BCC"].shape == (5, 23, 23)
    assert (both["ch_state_BC"][:3, 19:] == ABSENT).all()
    assert not both["mask_BCT"][:3, 19:].any()
    for name in ("x_BCT", "filled_BCT", "mask_BCT", "ch_state_BC"):
        torch.testing.assert_close(both[name][:3, :19], alone[0][name])
        torch.testing.assert_close(both[name][3:], alone[1][name])


def test_a_padded_window_is_learnt_from_as_it_is_alone() -> None:
    torch.manual_seed(0)
    weights = {"reconstruction": 1.0, "spectral": 1.0, "sleep": 0.1}
    model = PretrainModel(Encoder(EncoderConfig(dim=16, depth=1, n_heads=2, stem_dim=8)), weights)
    torch.nn.init.normal_(model.heads["reconstruction"].samples.weight, std=0.1)
    raws = [raw(EEG_1020, range(3)), raw(EEG_PSG, range(3, 5))]

    def gradient(batches: list[dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
        model.zero_grad()
        total = sum(sum(model(batch).values()) for batch in batches)
        total.backward()
        counts = sum(torch.stack([*model.counts(batch).values()]) for batch in batches)
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]), counts

    apart, counts_apart = gradient([PREPARE(one) for one in raws])
    joined, counts_joined = gradient([PREPARE(stacked(raws))])
    torch.testing.assert_close(counts_joined, counts_apart)
    assert (joined - apart).norm() < 1e-5 * apart.norm()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), st.sampled_from([512, 1024])), max_size=12),
    st.integers(1, 16),
)
def test_every_part_is_in_one_group_of_one_length_and_nearly_as_many_channels(
    drawn: list[tuple[int, int, int]], most: int
) -> None:
    n_chans = [19, 23, 64, 21]
    parts: list[Part] = [
        (number, MicroBatch(tuple(range(n)), tuple(range(n)), n_times)) for number, n, n_times in drawn
    ]
    groups = bucketed(parts, n_chans, most=most)
    assert sorted(map(repr, parts)) == sorted(repr(part) for group in groups for part in group)
    for group in groups:
        assert len({micro.n_times for _, micro in group}) == 1
        assert len({number for number, _ in group}) == len(group)
        chans = [n_chans[number] for number, _ in group]
        assert max(chans) - min(chans) < 8
        assert len(group) == 1 or sum(len(micro.windows) for _, micro in group) <= most


def test_what_has_no_channels_stays_and_nothing_is_padded_in_vain() -> None:
    batch = raw(EEG_PSG, range(2))
    same = padded(batch, 23)
    assert all(same[name] is values for name, values in batch.items())
    wider = padded(batch, 30)
    assert wider["sample_B"] is batch["sample_B"]
    assert wider["electrode_ids_BC"].shape == (2, 30)
    assert (wider["ch_state_BC"][:, 23:] == ABSENT).all()


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_the_windows_of_a_step_do_not_depend_on_how_they_are_joined(toy_shards: Path, world_size: int) -> None:
    def read(rank: int, world: int) -> tuple[list[int], set[int]]:
        sources = [
            Source(corpus=Corpus.open(toy_shards), normaliser=Normaliser(kind="window"), crop_times=512, seed=(seed, 1))
            for seed in (0, 1)
        ]
        reading = Reading(batch=8, micro_batch=8, seed=0, rank=rank, world_size=world)
        choices = [Choice(source.corpus.manifest.subjects) for source in sources]
        steps = step_batches(Stream(sources, choices, reading, (1.0, 1.0)), range(2), None, n_workers=0)
        made = list(steps)
        return [step.order_crc for step in made], {len(b["x_BCT"]) for step in made for b in step.micro_batches}

    alone, sizes = read(0, 1)
    assert sizes == {8}  # four windows of each of two sources in one pass
    shared = [read(rank, world_size)[0] for rank in range(world_size)]
    assert [sum(crcs) % 2**32 for crcs in zip(*shared, strict=True)] == alone
    assert np.isfinite(alone).all()
