"""HuBERT's pretraining on leads: frames and their units, what is hidden, and runs that are interrupted."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.pretraining.draws import Draws
from model.pretraining.hubert import Hubert, HubertPretraining, HubertShape, hidden_frames, load_hubert, spectral_frames
from signals.window import ABSENT, MEASURED
from synthetic.heart.corpus import write_hearts
from training.hubert import pretrain_hubert
from training.recipes.hubert import ECG_SHAPE, ecg_hubert
from training.recipes.sections import changed
from training.trainer.stopping import StopRequest
from training.trainer.train import Trainer
from training.units import HiddenUnits, fit_units

TINY = HubertShape(width=16, depth=1, conv=16, kernels=(10, 3, 3), strides=(2, 2, 2))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hearts")
    write_hearts(folder, n_people=4, seed=3, sites=("basel", "lagos"))
    return folder


def batch(n=2, n_chans=3, n_times=400, seed=0):
    x = torch.randn(n, n_chans, n_times, generator=torch.Generator().manual_seed(seed))
    return {
        "x_BCT": 0.25 * x, "inverse_scale_BC": torch.full((n, n_chans), 4.0), "sample_B": torch.arange(n) + 7,
        "ch_state_BC": torch.full((n, n_chans), MEASURED),
    }  # fmt: skip


@pytest.mark.parametrize("shape", [ECG_SHAPE, HubertShape(), TINY])
def test_a_frame_s_features_come_from_the_samples_that_the_network_makes_it_of(shape):
    # A stack of convolutions without padding, of reach r and hop h, makes (T - r) // h + 1 frames.
    small = HubertShape(width=16, depth=1, conv=16, kernels=shape.kernels, strides=shape.strides)
    network = Hubert(small).eval()
    for n_times in (shape.reach, shape.reach + shape.hop - 1, 401):
        x = torch.randn(1, 1, n_times)
        n_frames = network.tokens(x).shape[2]
        assert n_frames == spectral_frames(x, small).shape[2] == (n_times - shape.reach) // shape.hop + 1
    features, n = spectral_frames(x, small), spectral_frames(x, small).shape[-1] // 2
    x[..., 2 * shape.hop : 2 * shape.hop + shape.reach] += torch.randn(shape.reach)
    moved = (spectral_frames(x, small) != features)[0, 0, :, :n].any(-1)
    near = [k for k in range(len(moved)) if abs(k - 2) * shape.hop < shape.reach]
    assert moved[2]
    assert set(moved.nonzero()[:, 0].tolist()) <= set(near)


def test_the_first_coefficient_is_the_mean_log_power_and_a_louder_lead_moves_no_other():
    x = torch.randn(1, 1, 200, dtype=torch.float64).float()
    quiet, loud = spectral_frames(100 * x, ECG_SHAPE), spectral_frames(300 * x, ECG_SHAPE)
    # Power is nine times as large on each of n = reach // 2 + 1 lines: log 9, by sqrt(2 / n) and n lines.
    n_lines = ECG_SHAPE.reach // 2 + 1
    expected = math.log(9) * (2 / n_lines) ** 0.5 * n_lines
    torch.testing.assert_close((loud - quiet)[..., 0], torch.full_like(loud[..., 0], expected), rtol=0.01, atol=0.0)
    assert (loud - quiet)[..., 1:].abs().max() < 0.05


def test_what_is_hidden_depends_on_the_sample_alone_and_spans_are_whole():
    both = hidden_frames(Draws((0, 1), torch.tensor([5, 9])), (2, 12, 120), start_share=0.08, span=10)
    alone = hidden_frames(Draws((0, 1), torch.tensor([9])), (1, 12, 120), start_share=0.08, span=10)
    assert torch.equal(both[1:], alone)
    assert not torch.equal(both[0], both[1])
    many = hidden_frames(Draws(0, torch.arange(40)), (40, 12, 120), start_share=0.08, span=10)
    # A frame is hidden unless none of the ten that end with it begins a span: 1 - .92^10 = .566.
    assert float(many[..., 9:].float().mean()) == pytest.approx(1 - 0.92**10, abs=0.01)
    edges = torch.diff(many.int(), dim=-1)[..., : 120 - 11]
    for b, c, n in (edges == 1).nonzero()[:50].tolist():
        assert many[b, c, n + 1 : n + 11].all()


def test_nothing_of_a_hidden_frame_reaches_the_network_and_absent_leads_are_not_predicted():
    torch.manual_seed(0)
    network = Hubert(TINY).eval()
    mask = torch.ones(1, 1, (400 - TINY.reach) // TINY.hop + 1, dtype=torch.bool)
    one, other = (network.tokens(torch.randn(1, 1, 400), mask) for _ in range(2))
    torch.testing.assert_close(one, other)
    assert not torch.allclose(network.tokens(torch.randn(1, 1, 400)), one)
    objective = HiddenUnits(HubertPretraining(network, n_units=4), start_share=0.5, span=3, seed=(0,))
    made = batch()
    made["ch_state_BC"][1, 2] = ABSENT
    made["x_BCT"][1, 2] = torch.nan
    mask = objective.mask(made)
    assert not mask[1, 2].any()
    assert mask[0, 2].any()
    assert float(objective.counts(made)["units"]) == int(mask.sum())
    assert torch.isfinite(objective(made)["units"])


def test_units_are_the_nearest_centres_and_too_few_frames_are_refused():
    torch.manual_seed(0)
    model = HubertPretraining(Hubert(TINY), n_units=5)
    fit_units(model, [batch(seed=1), batch(seed=2)], seed=0)
    features = model.features(4 * batch()["x_BCT"])
    scaled = ((features - model.units.mean_F) / model.units.scale_F).double().numpy()
    distance = ((scaled[..., None, :] - model.units.centre_KF.double().numpy()) ** 2).sum(-1)
    np.testing.assert_array_equal(model.units(features).numpy(), distance.argmin(-1))
    assert len(np.unique(model.units(features))) > 2
    assert scaled.std() == pytest.approx(1, abs=0.15)
    with pytest.raises(ValueError, match="144 frames cannot make n_units=500: fewer units, or more windows"):
        fit_units(HubertPretraining(Hubert(TINY), n_units=500), [batch(n=1)], seed=0)  # 3 leads of 48 frames


def test_a_batch_is_the_sum_of_its_windows_and_hidden_units_are_learnt():
    torch.manual_seed(0)
    model = HubertPretraining(Hubert(TINY), n_units=4)
    objective = HiddenUnits(model, start_share=0.08, span=4, seed=(0,))
    t = torch.arange(400) / 100
    made = batch(n=2, n_chans=2)
    # Bursts of 20 Hz twice a second on one lead, of 5 Hz on the other: what is hidden follows from what is seen.
    burst = (t * 2 % 1 < 0.4).float()
    made["x_BCT"] = 0.25 * torch.stack([torch.sin(2 * torch.pi * f * t) * burst for f in (20.0, 5.0)]).repeat(2, 1, 1)
    fit_units(model, [made], seed=0)
    whole = objective(made)["units"]
    parts = [objective({name: value[i : i + 1] for name, value in made.items()})["units"] for i in (0, 1)]
    torch.testing.assert_close(whole, sum(parts))
    optimizer = torch.optim.Adam(objective.parameters(), lr=5e-3)
    for _ in range(40):
        loss = objective(made)["units"] / objective.counts(made)["units"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    units = model.units(model.features(4 * made["x_BCT"]))[objective.mask(made)]
    share = torch.bincount(units) / len(units)
    frequencies = -(share[share > 0] * share[share > 0].log()).sum()
    assert loss.item() < 0.5 * float(frequencies)


def test_a_run_that_is_interrupted_ends_bit_for_bit_as_one_that_is_not(shards, tmp_path, monkeypatch):
    recipe = ecg_hubert(tiny=True)
    assert pretrain_hubert(shards, tmp_path / "whole", recipe)
    stop, real = StopRequest(), Trainer.take_step

    def take_step(self, *args):
        stop.requested = self.step == 4  # in the middle between two checkpoints
        return real(self, *args)

    monkeypatch.setattr(Trainer, "take_step", take_step)
    assert not pretrain_hubert(shards, tmp_path / "cut", recipe, stop=stop)
    assert not (tmp_path / "cut" / "units.json").exists()
    monkeypatch.setattr(Trainer, "take_step", real)
    assert pretrain_hubert(shards, tmp_path / "cut", recipe)
    weights = [load_file(tmp_path / run / "encoder" / "model.safetensors") for run in ("whole", "cut")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    lines = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("whole", "cut")]
    losses = [[json.loads(line)["loss"] for line in of] for of in lines]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6
    scores = [json.loads((tmp_path / run / "units.json").read_text()) for run in ("whole", "cut")]
    assert scores[0] == scores[1]
    assert 0 < scores[0]["accuracy_commonest"] < 1
    facts = json.loads((tmp_path / "cut" / "pretrain_subjects.json").read_text())
    assert not set(facts["train"]) & set(facts["held_out"])
    assert facts["recordings"]
    with pytest.raises(ValueError, match="belongs to another run"):
        pretrain_hubert(shards, tmp_path / "cut", changed(recipe, objective={"n_units": 9}))
    with pytest.raises(ValueError, match=r"crop_s=0\.2 is shorter than a frame of 22 samples"):
        pretrain_hubert(shards, tmp_path / "short", changed(recipe, data={"crop_s": 0.2}))


def test_a_second_round_takes_its_units_from_the_first_s_hidden_states(shards, tmp_path):
    recipe = changed(ecg_hubert(tiny=True), schedule={"steps": 1}, optim={"batch": 2})
    assert pretrain_hubert(shards, tmp_path / "one", recipe)
    assert pretrain_hubert(shards, tmp_path / "two", recipe, teacher=tmp_path / "one")
    with pytest.raises(ValueError, match="teacher"):
        pretrain_hubert(shards, tmp_path / "two", recipe)
    with pytest.raises(ValueError, match=r"has no config\.json and model\.safetensors"):
        pretrain_hubert(shards, tmp_path / "three", recipe, teacher=tmp_path)
    teacher = load_hubert(tmp_path / "one" / "encoder")
    model = HubertPretraining(Hubert(TINY), n_units=4, teacher=teacher)
    made = 4 * batch()["x_BCT"]
    torch.testing.assert_close(model.features(made), teacher.eval().tokens(made, layer=0))
    assert not any(p.requires_grad for p in model.teacher.parameters())
    assert len([p for p in model.parameters() if p.requires_grad]) == 2 + 1 + len(list(model.encoder.parameters()))
