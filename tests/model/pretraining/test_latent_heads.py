import math

import pytest
import torch
from torch import Tensor

from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.montage import Montage
from model.pretraining.latent_heads import LEAST_SPREAD, DecibelHead, GapHead, LatentHead
from model.pretraining.masking import MaskPlan
from model.pretraining.pretraining import PretrainModel
from model.pretraining.teacher import Teacher
from model.pretraining.token_masks import BlockPlan, whole_tokens
from signals.modality import EEG_1020
from signals.window import ABSENT, MEASURED
from training.objectives.preparation import Preparation
from training.trainer.ema import WeightAverage

TOKEN = 256
CONFIG = EncoderConfig(dim=32, depth=1, n_heads=4, stem_dim=16)
HEADS = ("latents", "decibels", "gaps")


def batch_of(n: int = 4, n_tokens: int = 2) -> dict[str, Tensor]:
    """Waves of a window's own frequency, that lie over the head in its own way."""
    rng = torch.Generator().manual_seed(0)
    t = torch.arange(n_tokens * TOKEN) / 256
    freq = 4 + 16 * torch.rand((n, 1, 1), generator=rng)
    weight = torch.randn((n, 19, 1), generator=rng)
    x = weight * torch.sin(2 * math.pi * freq * t) + 0.1 * torch.randn((n, 19, len(t)), generator=rng)
    where = Montage.of(EEG_1020, torch.full((n, 19), MEASURED))
    preparation = Preparation(
        sfreq=256.0, masks=MaskPlan(schedule_weights=(1.0, 0.0, 0.0)), seed=(0,), blocks=BlockPlan(gaps_share=0.4)
    )
    raw = {"x_BCT": x - x.mean(1, keepdim=True), "inverse_scale_BC": torch.ones(n, 19), "sample_B": 3 + torch.arange(n)}
    return preparation({**raw, **where.tensors()})


def model_of(*heads: str) -> PretrainModel:
    torch.manual_seed(0)
    return PretrainModel(Encoder(CONFIG), dict.fromkeys(heads, 1.0), mask_token=True)


def test_the_model_learns_a_few_windows_by_heart() -> None:
    model, batch = model_of(*HEADS), batch_of(2)
    counts = model.counts(batch)
    assert all(count > 0 for count in counts.values()), counts
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    first: dict[str, float] = {}
    for _ in range(20):
        losses = {name: total / counts[name] for name, total in model(batch).items()}
        first = first or {name: loss.item() for name, loss in losses.items()}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    last = {name: loss.item() for name, loss in losses.items()}
    assert last["latents"] < 0.8 * first["latents"]
    assert last["decibels"] < 0.8 * first["decibels"]
    assert last["gaps"] < first["gaps"]


def test_the_teacher_gets_no_gradient_and_is_no_part_of_the_student() -> None:
    model, batch = model_of("latents"), batch_of(2)
    average = WeightAverage(model, 0.9)
    weights = {name.removeprefix("encoder."): value for name, value in average.averages.items()}
    names = set(dict(model.named_parameters())) | set(model.state_dict())
    model.teacher = Teacher(model.encoder, weights)
    assert set(dict(model.named_parameters())) | set(model.state_dict()) == names
    before = {name: value.clone() for name, value in weights.items()}
    latents = model.latents(batch)
    assert not latents.requires_grad
    model(batch)["latents"].backward()
    assert all(value.grad is None for value in weights.values())
    assert all(torch.equal(value, before[name]) for name, value in weights.items())
    # The mask token and everything of the encoder learns from latents, but what only the other heads read.
    silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert "mask_token_D" not in silent
    assert not [name for name in silent if name.startswith("encoder.blocks")]


def test_the_teacher_is_the_average_as_it_moves() -> None:
    model, batch = model_of("latents"), batch_of(2)
    average = WeightAverage(model, 0.5)
    weights = {name.removeprefix("encoder."): value for name, value in average.averages.items()}
    model.teacher = Teacher(model.encoder, weights)
    first = model.latents(batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    assert torch.equal(model.latents(batch), first)  # the student alone has moved
    average.update(model, step=100)
    moved = model.latents(batch)
    assert not torch.equal(moved, first)
    with average.applied(model):
        assert torch.equal(Teacher(model.encoder).latents(batch), moved)
    average.load_state_dict({name: value.clone() for name, value in WeightAverage(model, 0.5).averages.items()})
    assert torch.equal(model.latents(batch), Teacher(model.encoder).latents(batch))


def test_latents_are_standardised_and_see_what_is_hidden() -> None:
    model, batch = model_of("latents"), batch_of(3)
    latents = model.latents(batch)
    torch.testing.assert_close(latents.mean(-1), torch.zeros(latents.shape[:-1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.square().mean(-1), torch.ones(latents.shape[:-1]), atol=1e-3, rtol=0)
    hidden = whole_tokens(batch["mask_BCT"], TOKEN)
    louder = batch | {"x_BCT": torch.where(batch["mask_BCT"], 2 * batch["x_BCT"], batch["x_BCT"])}
    assert (model.latents(louder) - latents).abs().amax(-1)[hidden].min() > 1e-4


def test_what_counts_is_hidden_whole_and_measured() -> None:
    mask = torch.zeros((1, 3, 4 * TOKEN), dtype=torch.bool)
    mask[0, 0, :TOKEN] = True  # a token
    mask[0, 1, TOKEN : 2 * TOKEN] = True  # one of an absent channel
    mask[0, 2, 10:60] = True  # a gap
    batch = {
        "mask_BCT": mask, "ch_state_BC": torch.tensor([[MEASURED, ABSENT, MEASURED]]),
        "x_BCT": torch.zeros(mask.shape), "filled_BCT": torch.zeros(mask.shape),
    }  # fmt: skip
    assert LatentHead(CONFIG).count(batch) == 1
    assert DecibelHead(CONFIG).count(batch) == 1
    assert GapHead(CONFIG).count(batch) == 50
    # A window that is hidden entirely has no visible mean to be measured against.
    assert DecibelHead(CONFIG).count(batch | {"mask_BCT": torch.ones_like(mask)}) == 0


def test_spectra_are_standardised_by_what_is_visible() -> None:
    head = DecibelHead(CONFIG)
    mask = torch.zeros((1, 2, 2 * TOKEN), dtype=torch.bool)
    mask[0, 0, :TOKEN] = True
    n_lines = head.predict[-1].out_features
    true = torch.zeros((1, 2, 2, n_lines))
    true[0, 0, 0] = 7.0  # hidden: neither the mean nor the spread knows of it
    true[0, 0, 1], true[0, 1, 0], true[0, 1, 1] = 1.0, 2.0, 3.0
    batch = {"mask_BCT": mask, "ch_state_BC": torch.full((1, 2), MEASURED), "true_spectra_BCNF": true}
    results = {"standard_BCNF": torch.zeros_like(true)}
    # mean 2, spread sqrt(2 / 3) of the three visible ones
    assert head.total(results, batch).item() == pytest.approx((7 - 2) ** 2 / (2 / 3), rel=1e-5)
    out = {"tokens_BCND": torch.zeros((1, 2, 2, CONFIG.dim))}
    torch.nn.init.zeros_(head.predict[-1].weight)
    torch.nn.init.zeros_(head.predict[-1].bias)
    assert head(out, batch)["spectra_BCNF"].eq(2).all()
    flat = batch | {"true_spectra_BCNF": torch.zeros_like(true).index_put((torch.tensor([0]),) * 3, torch.tensor(1.0))}
    assert head.total(results, flat).item() == pytest.approx((1 / LEAST_SPREAD) ** 2, rel=1e-5)


def test_a_model_without_a_head_of_samples_fills_nothing() -> None:
    model = model_of("latents")
    assert not model.fills_gaps
    assert model.spectra(batch_of(2)) is None
    with pytest.raises(ValueError, match="latents"):
        model.reconstruct(batch_of(2))
    assert model_of("gaps").fills_gaps
    assert not model_of("gaps").fills_channels
