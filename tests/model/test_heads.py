import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.freezing import GROUPS, freeze, group_of
from model.heads import HEADS, ClassifierHead, Head, ReconstructionHead, Tensors, register_head
from model.layers.adapters import KINDS, add_adapters
from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.masking import MaskPlan, draw_masks, hide
from model.pretraining.pretraining import PretrainModel
from model.pretraining.teacher import Teacher
from model.pretraining.truth_heads import TRUTH_HEADS
from signals.modality import EEG_1020
from signals.patterns.features import stretch_names
from signals.window import ABSENT, MEASURED

CONFIG = EncoderConfig(dim=32, depth=1, n_heads=4, stem_dim=16)


def make_batch(n_times: int = 1024) -> dict[str, Tensor]:
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=(4, 19, n_times)), axis=-1).astype(np.float32)
    x = torch.from_numpy((x - x.mean(-1, keepdims=True)) / x.std())
    state = torch.full((4, 19), MEASURED)
    plan = MaskPlan(schedule_weights=(0.5, 0.0, 0.5))
    masks = draw_masks(Draws(0, torch.arange(4)), state, n_times, sfreq=256.0, plan=plan)
    truth, seen = hide(x, masks, state)
    return {**Montage.of(EEG_1020, state).tensors(), "x_BCT": truth, "mask_BCT": masks, "filled_BCT": seen}


def planted(n_slots: int) -> dict[str, Tensor]:
    """Return targets of the truth heads for `make_batch`, of which some are not known."""
    phase_BS = torch.linspace(0, 9, n_slots).expand(4, -1)
    weight_BCS = torch.ones(4, 19, n_slots)
    weight_BCS[0] = 0
    return {
        "discharge_BCS": (torch.arange(n_slots) % 4 == 1).float().expand(4, 19, -1),
        "discharge_weight_BCS": weight_BCS,
        "phase_BS2": torch.stack([phase_BS.cos(), phase_BS.sin()], -1),
        "phase_weight_BCS": weight_BCS,
        "votes_BK": torch.eye(6)[:4],
        "votes_weight_B": torch.tensor([1.0, 0.25, 0.0, 1.0]),
        "course_BV": torch.arange(16.0).reshape(4, 4) / 8,
        "course_weight_BV": torch.ones(4, 4),
        "side_B": torch.tensor([0, 1, 2, 0]),
        "side_weight_B": torch.tensor([1.0, 1.0, 1.0, 0.0]),
        "findings_BF": torch.eye(7)[:4],
        "findings_weight_BF": torch.ones(4, 7),
    }


def with_keys(n_windows: int) -> dict[str, Tensor]:
    """Return directions of unit length, a window's own, those of two others, and one that is left out."""
    own = torch.eye(4, dtype=torch.bool)[:n_windows]
    keys = torch.eye(4, 128).expand(n_windows, -1, -1)
    return {"key_BKD": keys, "own_BK": own, "candidate_BK": own.roll(1, 1) | own | own.roll(2, 1)}


def described() -> dict[str, Tensor]:
    """Return stretches and their descriptions; one window has no stretch, and one no description."""
    description_BF = torch.linspace(-1, 1, 4)[:, None] * torch.ones(len(stretch_names()))
    description_BF[3] = torch.nan
    return {"stretch_B": torch.tensor([0, 1, -1, 0]), "description_BF": description_BF}


def mean_loss(head: Head, results: Tensors, batch: Tensors) -> Tensor:
    return head.total(results, batch) / head.count(batch).clamp(min=1e-12)


class _OneHead(torch.nn.Module):
    """An encoder with a registered head, as a task would use it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = Encoder(CONFIG)
        self.head = HEADS[name](CONFIG, **({"n_classes": 3, "dropout": 0.0} if name == "classifier" else {}))

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        position = torch.tensor(EEG_1020.positions)
        out = self.encoder(batch["filled_BCT"], Montage.from_batch(batch), mask_BCT=batch["mask_BCT"])
        batch = batch | {
            "position_C3": position,
            "true_merged_BCND": self.encoder.embed(batch["x_BCT"]),
            "true_spectra_BCNF": self.encoder.spectra(batch["x_BCT"]),
            "true_latents_BCND": Teacher(self.encoder).latents(batch),
            "sleep_target_B": torch.tensor([0, 4, -1, 2]),
            "target_BK": torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]]),
            **planted(out["tokens_BCND"].shape[2] * CONFIG.merge),
            **with_keys(4),
            **described(),
        }
        return mean_loss(self.head, self.head(out, batch), batch)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_registered_head_learns_a_fixed_batch(name: str) -> None:
    model, batch = _OneHead(name), make_batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(70 if name == "contrastive" else 30):
        loss = model.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] != losses[0]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize(
    ("frozen", "kind", "name"),
    [
        *((frozen, "", "classifier") for frozen in [("stem",), ("trunk",), ("head",)]),
        *((("stem", "trunk"), kind, name) for kind in ("", *KINDS) for name in sorted(HEADS)),
        *((("stem", "head", "adapter"), kind, "classifier") for kind in KINDS),
    ],
)
def test_frozen_groups_do_not_move_and_others_do(frozen: tuple[str, ...], kind: str, name: str) -> None:
    model, batch = _OneHead(name), make_batch(n_times=512)
    if isinstance(model.head, ReconstructionHead):  # it starts at zero, and lets no gradient through then
        torch.nn.init.normal_(model.head.samples.weight, std=0.1)
    if kind:
        add_adapters(model, kind=kind, rank=2)
    freeze(model, frozen)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.loss(batch).backward()
    optimizer.step()
    moved = dict.fromkeys({group_of(name) for name, _ in model.named_parameters()}, False)
    assert set(moved) == set(GROUPS) - (set() if kind else {"adapter"})
    for name, parameter in model.named_parameters():
        moved[group_of(name)] |= not torch.equal(parameter, before[name])
    assert moved == {group: group not in frozen for group in moved}


def test_unknown_group_and_taken_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'stam'"):
        freeze(_OneHead("classifier"), ["stam"])
    with pytest.raises(ValueError, match="'classifier' is registered already"):
        register_head("classifier")(ClassifierHead)


def test_untrained_reconstruction_equals_linear_interpolation() -> None:
    batch = make_batch(n_times=1000)  # no multiple of a token either
    model = PretrainModel(Encoder(CONFIG), {"reconstruction": 1.0}).eval()
    with torch.no_grad():
        assert torch.equal(model.reconstruct(batch), batch["filled_BCT"])


def test_reconstruction_leaves_visible_samples_and_counts_hidden_measured_ones_only() -> None:
    model = PretrainModel(Encoder(CONFIG), {"reconstruction": 1.0})
    torch.nn.init.normal_(model.heads["reconstruction"].samples.weight)
    batch = make_batch()
    reconstruction = model.reconstruct(batch)
    assert torch.equal(reconstruction[~batch["mask_BCT"]], batch["x_BCT"][~batch["mask_BCT"]])
    batch["ch_state_BC"] = torch.full((4, 19), MEASURED)
    batch["ch_state_BC"][:, 5] = ABSENT
    loss = mean_loss(model.heads["reconstruction"], {"reconstruction_BCT": batch["filled_BCT"]}, batch)
    counted = batch["mask_BCT"].clone()
    counted[:, 5] = False
    error = (batch["filled_BCT"] - batch["x_BCT"])[counted]
    # Huber (1964): half of the square up to delta, linear beyond
    huber = torch.where(error.abs() <= 3, error.square() / 2, 3 * (error.abs() - 1.5))
    # each sample weighs the inverse of the hidden share of the 33 samples around it (zeros beyond the ends)
    around = sliding_window_view(np.pad(batch["mask_BCT"].numpy(), ((0, 0), (0, 0), (16, 16))), 33, axis=-1).mean(-1)
    weight = 1 / torch.from_numpy(around)[counted].float()
    expected = (huber * weight).sum() / weight.sum()
    torch.testing.assert_close(loss, expected)


def test_spectra_are_log_amplitudes_and_hidden_measured_tokens_alone_count() -> None:
    encoder = Encoder(CONFIG)
    x = torch.sin(2 * np.pi * 10 * torch.arange(1024) / 256).expand(1, 2, -1)
    fast, slow = encoder.stem.spectra(x)
    assert (fast.shape[-1], slow.shape[-1]) == (51, 32)  # 0-50 Hz by 1 Hz; 0.25-8 Hz by 0.25 Hz
    torch.testing.assert_close(fast[..., 10], torch.zeros(1, 2, 4), atol=1e-3, rtol=0)
    assert fast[..., 20].max() < -3
    head, truth = HEADS["spectral"](CONFIG), encoder.spectra(x)
    mask = torch.zeros(1, 2, 1024, dtype=torch.bool)
    mask[0, 0, 300], mask[0, 1, 600] = True, True  # the second token of one channel, the third of the other
    batch = {"mask_BCT": mask, "ch_state_BC": torch.tensor([[MEASURED, ABSENT]]), "true_spectra_BCNF": truth}
    predicted = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    expected = (predicted - truth)[0, 0, 1].square().mean()
    torch.testing.assert_close(mean_loss(head, {"spectra_BCNF": predicted}, batch), expected)
    nothing = batch | {"mask_BCT": torch.zeros_like(mask)}
    assert mean_loss(head, {"spectra_BCNF": predicted}, nothing).item() == 0.0


def test_contrastive_loss_is_zero_with_gradients_where_nothing_is_hidden() -> None:
    batch = make_batch()
    batch["mask_BCT"] = torch.zeros_like(batch["mask_BCT"])
    model = _OneHead("contrastive")
    loss = model.loss(batch)
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is not None for p in model.head.parameters())


def test_classifier_loss_is_the_cross_entropy_to_votes_and_weighs_classes() -> None:
    head = ClassifierHead(CONFIG, n_classes=2)
    logits = torch.log(torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    target = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    expected = (-np.log(0.75) - np.log(0.5)) / 2
    assert mean_loss(head, {"logits_BK": logits}, {"target_BK": target}).item() == pytest.approx(expected)
    weighed = {"target_BK": target, "class_weight_K": torch.tensor([3.0, 1.0])}
    # weights 3, and 3 x 0.5 + 1 x 0.5
    expected = (-3 * np.log(0.75) - 2 * np.log(0.5)) / 5
    assert mean_loss(head, {"logits_BK": logits}, weighed).item() == pytest.approx(expected)


def test_classifier_pools_the_label_span_apart() -> None:
    head = ClassifierHead(CONFIG, n_classes=2, span_s=(2.0, 3.0)).eval()
    assert head.span_tokens == (2, 3)
    tokens = torch.randn(1, 3, 5, 32, generator=torch.Generator().manual_seed(0))
    position = torch.tensor([[-1.0, 0, 0], [1.0, 0, 0], [0.5, 0, 0.5]])
    state = {"ch_state_BC": torch.tensor([[MEASURED, MEASURED, ABSENT]]), "position_C3": position}
    elsewhere, absent = tokens.clone(), tokens.clone()
    elsewhere[:, :, 4] += 1
    absent[:, 2] += 1
    a, b, c = (head({"tokens_BCND": t}, state)["logits_BK"] for t in (tokens, elsewhere, absent))
    assert torch.equal(a, c)
    assert not torch.equal(a, b)
    # The half of the features that speaks of the span does not know of the other tokens.
    whole, span = head.whole.width, head.span.width
    features = [head.features({"tokens_BCND": t}, state) for t in (tokens, elsewhere)]
    assert features[0].shape == (1, whole + span)
    assert torch.equal(features[0][:, whole:], features[1][:, whole:])
    assert not torch.equal(features[0][:, :whole], features[1][:, :whole])


def test_windows_without_a_sleep_stage_weigh_nothing() -> None:
    head = HEADS["sleep"](CONFIG)
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    # one window of three has a stage: its own cross-entropy over three
    expected = -logits[1].log_softmax(-1)[4] / 3
    loss = mean_loss(head, {"sleep_logits_BK": logits}, {"sleep_target_B": torch.tensor([-1, 4, -1])})
    torch.testing.assert_close(loss, expected)
    none = mean_loss(head, {"sleep_logits_BK": logits.requires_grad_()}, {"sleep_target_B": torch.full((3,), -1)})
    none.backward()
    assert none.item() == 0.0
    assert not logits.grad.any()


def test_contrastive_counts_whole_tokens_of_wholly_hidden_channels_only() -> None:
    batch = make_batch(n_times=1100)  # the fifth token holds 76 samples of signal
    batch["mask_BCT"] = torch.zeros_like(batch["mask_BCT"])
    batch["mask_BCT"][0, 3], batch["mask_BCT"][1, 4, 1:] = True, True
    out = Encoder(CONFIG)(batch["filled_BCT"], Montage.from_batch(batch), mask_BCT=batch["mask_BCT"])
    head = HEADS["contrastive"](CONFIG)
    results = head(out, batch | {"true_merged_BCND": out["merged_BCND"]})
    assert head.count(batch) == 4
    # The four tokens of that channel come first; what stands in other places is compared with nothing.
    expected = head.predict(out["tokens_BCND"][0, 3, :4])
    torch.testing.assert_close(results["predicted_MD"][:4], expected)
    logits = (
        torch.nn.functional.normalize(expected, dim=-1)
        @ torch.nn.functional.normalize(head.target(out["merged_BCND"][0, 3, :4]), dim=-1).T
    )
    wanted = torch.nn.functional.cross_entropy(logits / 0.1, torch.arange(4), reduction="sum")
    torch.testing.assert_close(head.total(results, batch), wanted)


def test_contrastive_tokens_are_evenly_chosen_where_there_are_too_many() -> None:
    head = HEADS["contrastive"](CONFIG, max_tokens=3)
    batch = {"mask_BCT": torch.ones(1, 5, 512, dtype=torch.bool), "ch_state_BC": torch.full((1, 5), MEASURED)}
    tokens = torch.arange(10.0).reshape(1, 5, 2, 1).expand(-1, -1, -1, 32)
    head.predict = torch.nn.Identity()
    results = head({"tokens_BCND": tokens}, batch | {"true_merged_BCND": tokens})
    assert head.count(batch) == 3
    assert results["predicted_MD"][:, 0].tolist() == [0.0, 4.0, 9.0]  # of ten tokens: 0, 4.5 rounded down, 9


SPLITTABLE = sorted(set(HEADS) - {"contrastive"})


@pytest.mark.parametrize("name", SPLITTABLE)
def test_totals_and_counts_of_parts_add_up_to_those_of_the_whole(name: str) -> None:
    model, batch = _OneHead(name).eval(), make_batch(n_times=512)
    if isinstance(model.head, ReconstructionHead):
        torch.nn.init.normal_(model.head.samples.weight, std=0.1)
    position = torch.tensor(EEG_1020.positions)
    batch |= {"sleep_target_B": torch.tensor([0, 4, -1, 2]), "target_BK": torch.eye(3)[[0, 1, 2, 0]]}
    batch |= planted(n_slots=8) | with_keys(4) | described()

    def sums(rows: slice) -> Tensor:
        part = {key: value[rows] for key, value in batch.items()} | {"position_C3": position}
        out = model.encoder(part["filled_BCT"], Montage.from_batch(part), mask_BCT=part["mask_BCT"])
        part |= {"true_spectra_BCNF": model.encoder.spectra(part["x_BCT"])}
        part |= {"true_latents_BCND": Teacher(model.encoder).latents(part)}
        return torch.stack([model.head.total(model.head(out, part), part), model.head.count(part)])

    whole = sums(slice(0, 4))
    torch.testing.assert_close(sum(sums(slice(b, b + 1)) for b in range(4)), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sums(slice(0, 3)) + sums(slice(3, 4)), whole, rtol=1e-5, atol=1e-6)


def test_a_feature_that_hardly_varies_in_a_few_windows_is_not_blown_up() -> None:
    head = ClassifierHead(CONFIG, n_classes=2)
    rng = torch.Generator().manual_seed(0)
    seen, fresh = (torch.randn((n, len(head.scale_F)), generator=rng) for n in (4, 1000))
    head.standardise(seen)
    # Deviations of 5 spreads, and 2 more since the centre is a mean of 4, over half of the median spread; that of 4
    # values is 0.77 on average, since their squares' sum has a median of 2.37. Without a floor it is more than 100.
    # All of that is divided by the root of features over width, here and below.
    together = (len(head.scale_F) / CONFIG.dim) ** 0.5
    assert ((fresh - head.centre_F) / head.scale_F).abs().max() < 7 / (0.5 * 0.77) / together


def test_many_windows_speak_for_themselves() -> None:
    head = ClassifierHead(CONFIG, n_classes=2)
    rng = torch.Generator().manual_seed(0)
    sizes = torch.logspace(-1, 1, len(head.scale_F))  # a tenth to ten times the median: the demo's are 0.15 to 4.6
    features_BF = torch.randn((256, len(sizes)), generator=rng) * sizes
    head.standardise(features_BF)
    together = (len(sizes) / CONFIG.dim) ** 0.5
    torch.testing.assert_close(head.scale_F, features_BF.std(0, correction=0) * together)


def test_all_features_come_in_as_large_as_a_token() -> None:
    head = ClassifierHead(CONFIG, n_classes=2)
    features_BF = 3.0 + 5.0 * torch.randn((256, len(head.scale_F)), generator=torch.Generator().manual_seed(0))
    head.standardise(features_BF)
    squares_B = ((features_BF - head.centre_F) / head.scale_F).square().sum(1)
    assert abs(squares_B.mean().item() / CONFIG.dim - 1) < 1e-4  # mean square 1 each, F of them, over F / dim


def test_a_step_of_adam_moves_what_features_make_no_more_for_their_number() -> None:
    wide, narrow = (ClassifierHead(CONFIG, n_classes=2, n_queries=n) for n in (64, 1))
    assert len(wide.scale_F) > 3 * len(narrow.scale_F)
    moves = [_moved_by_adam(head) for head in (wide, narrow)]
    # A weight moves by the rate whatever its gradient; F moves of size 1 / sqrt(F / dim) add up to sqrt(F dim) at most,
    # so that the wider head moves by the root of their ratio, 1.9. With features of unit size it is the ratio, 3.7.
    assert moves[0] / moves[1] < (len(wide.scale_F) / len(narrow.scale_F)) ** 0.5 * 1.1


def _moved_by_adam(head: ClassifierHead) -> float:
    rng = torch.Generator().manual_seed(0)
    features_BF = torch.randn((256, len(head.scale_F)), generator=rng)
    head.standardise(features_BF)
    inputs_BF = (features_BF - head.centre_F) / head.scale_F
    layer = torch.nn.Linear(len(head.scale_F), 1)
    adam = torch.optim.Adam(layer.parameters(), lr=1e-3)
    before_B1 = layer(inputs_BF).detach()
    layer(inputs_BF[:1]).sum().backward()
    adam.step()
    return float((layer(inputs_BF[:1]).detach() - before_B1[:1]).abs())


def test_the_whole_pretraining_model_is_one_graph() -> None:
    names = ("reconstruction", "contrastive", "spectral", "sleep", "recording_contrast", "knowledge", *TRUTH_HEADS)
    model = PretrainModel(Encoder(CONFIG), dict.fromkeys(names, 1.0))
    batch = make_batch(n_times=512) | {"sleep_target_B": torch.tensor([0, 4, -1, 2])} | planted(n_slots=8)
    batch |= with_keys(4) | described()
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # raises where a graph would break
    for name, total in compiled(batch).items():
        torch.testing.assert_close(total, model(batch)[name])


def test_a_window_without_channels_leaves_the_planted_truth_of_others_finite() -> None:
    head = HEADS["votes"](CONFIG)
    state = torch.full((2, 4), MEASURED)
    state[1] = ABSENT
    batch = {"ch_state_BC": state, "position_BC3": torch.zeros(2, 4, 3)}
    logits_BK = head({"tokens_BCND": torch.randn(2, 4, 3, CONFIG.dim)}, batch)["votes_logits_BK"]
    assert torch.isfinite(logits_BK).all()
