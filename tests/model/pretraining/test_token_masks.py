import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.montage import Montage
from model.pretraining import token_masks
from model.pretraining.draws import Draws
from model.pretraining.masking import MaskPlan
from model.pretraining.pretraining import PretrainModel
from model.pretraining.token_masks import BlockPlan, against_visible, draw_tokens, samples, whole_tokens
from signals.modality import ECG_12, EEG_1020, Modality
from signals.window import ABSENT, INTERPOLATED, MEASURED
from training.objectives.preparation import Preparation

TOKEN = 256
CONFIG = EncoderConfig(dim=32, depth=2, n_heads=4, stem_dim=16)
BLOCKS = BlockPlan(channels_chance=0.0, stretch_chance=0.0, gaps_share=0.0)


def montage(n: int = 1, modality: Modality = EEG_1020, **states: int) -> Montage:
    state = torch.full((n, modality.n_chans), MEASURED)
    for name, value in states.items():
        state[:, modality.ch_names.index(name)] = value
    return Montage.of(modality, state)


def drawn(n: int, where: Montage, n_tokens: int = 10, plan: BlockPlan = BLOCKS, seed: int = 0) -> np.ndarray:
    return draw_tokens(Draws(seed, torch.arange(n)), where, n_tokens, plan).numpy()


def test_half_to_three_fifths_of_ten_seconds_are_hidden() -> None:
    hidden = drawn(400, montage(400))
    # The largest block of 3 channels and 4 tokens is 12 of 190: blocks stop between 0.6 - 0.063 and 0.6.
    share = hidden.mean((1, 2))
    assert share.min() > 0.6 - 12 / 190 - 1 / 190
    assert share.max() <= 0.6
    # Ends are hidden as often as the middle; electrodes that are nobody's nearest, as Cz, half as often as others.
    assert np.ptp(hidden.mean((0, 1))) < 0.1
    assert hidden.mean((0, 2)).min() > 0.3
    assert hidden.mean((0, 2)).max() < 0.85


def test_blocks_are_one_to_four_seconds_of_neighbours() -> None:
    where, draws = montage(2), Draws(0, torch.arange(2))
    measured = where.ch_state_BC == MEASURED
    groups = token_masks._groups(draws, where, measured, torch.zeros(2, dtype=torch.bool), 200).flatten(0, 1)
    apart = torch.cdist(where.position_BC3[0], where.position_BC3[0])
    for group in groups:
        # The block's centre is nearer to each of its channels than to any other.
        inside, outside = torch.nonzero(group)[:, 0], torch.nonzero(~group)[:, 0]
        assert any(apart[centre, inside].max() <= apart[centre, outside].min() + 1e-6 for centre in inside)
    assert set(groups.sum(1).tolist()) == {1, 2, 3}  # of 19 up to a fifth
    stretches = token_masks._stretches(draws, "block", 300, 10, (1, 4)).flatten(0, 1)
    assert set(stretches.sum(1).tolist()) == {1, 2, 3, 4}
    assert (stretches.long().diff(dim=1).abs().sum(1) <= 2).all()  # in one piece


def test_whole_channels_and_stretches_come_besides() -> None:
    # With a share of 0.3 blocks, of at most 4 seconds and 3 channels, hardly ever make up a whole one by chance.
    hidden = drawn(400, montage(400), plan=BlockPlan(hidden_share=0.3))
    assert hidden.all(2).any(1).mean() == pytest.approx(0.3, abs=0.08)
    assert hidden.all(1).any(1).mean() == pytest.approx(0.3, abs=0.08)
    assert hidden.all(2).sum(1).max() <= 2 + 1  # an eighth of 19
    assert drawn(400, montage(400), plan=BlockPlan()).mean((1, 2)).max() <= 0.6


states = st.lists(st.sampled_from([ABSENT, INTERPOLATED, MEASURED]), min_size=19, max_size=19)


@settings(max_examples=40, deadline=None)
@given(states=states, seed=st.integers(0, 2**32), n_tokens=st.integers(1, 12))
def test_dependent_channels_are_hidden_together(states: list[int], seed: int, n_tokens: int) -> None:
    state = torch.tensor([states])
    hidden = drawn(1, Montage.of(EEG_1020, state), n_tokens, BlockPlan(), seed)[0]
    state = state[0].numpy()
    assert not hidden[state == ABSENT].any()
    measured = hidden[state == MEASURED]
    n = (state == MEASURED).sum()
    if n < 2:
        assert not hidden.any()
        return
    for row in hidden[state == INTERPOLATED]:
        np.testing.assert_array_equal(row, measured.any(0))
    if n < 4:
        assert (measured == measured[0]).all()
    assert measured.mean() <= 0.6 or n_tokens < 5


def test_leads_of_an_electrocardiogram_are_hidden_together() -> None:
    hidden = drawn(20, montage(20, ECG_12), plan=BlockPlan())
    assert (hidden == hidden[:, :1]).all()
    assert hidden.any((1, 2)).all()


def test_what_is_hidden_depends_on_the_sample_alone() -> None:
    whole = drawn(6, montage(6), plan=BlockPlan())
    for row in range(6):
        alone = draw_tokens(Draws(0, torch.tensor([row])), montage(1), 10, BlockPlan())[0].numpy()
        np.testing.assert_array_equal(alone, whole[row])
    # Absent channels behind a window's own change nothing of it.
    wide = {
        name: torch.nn.functional.pad(value, (0, 0, 0, 4) if name == "position_BC3" else (0, 4))
        for name, value in montage(6).tensors().items()
        if name != "adjacency_BCC"
    }
    wide = Montage(**wide, adjacency_BCC=torch.zeros(6, 23, 23, dtype=torch.bool))
    np.testing.assert_array_equal(drawn(6, wide, plan=BlockPlan())[:, :19], whole)


def raw_of(x: Tensor, where: Montage) -> dict[str, Tensor]:
    scale = torch.ones(x.shape[:2])
    return {"x_BCT": x, "inverse_scale_BC": scale, "sample_B": torch.arange(len(x)), **where.tensors()}


def referenced(x: Tensor) -> Tensor:
    return x - x.mean(1, keepdim=True)


PREPARATION = Preparation(
    sfreq=256.0, masks=MaskPlan(schedule_weights=(1.0, 0.0, 0.0)), seed=(0,), blocks=BlockPlan(gaps_share=0.3)
)


def model_of(*heads: str) -> PretrainModel:
    torch.manual_seed(0)
    model = PretrainModel(Encoder(CONFIG), dict.fromkeys(heads, 1.0), mask_token=True).eval()
    for parameter in model.encoder.parameters():  # mixtures and relations start small: let all of them speak
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_hidden_samples_reach_nothing_that_the_encoder_gives() -> None:
    """Through slow spectra, mixtures, relations or the reference: bit for bit."""
    rng = torch.Generator().manual_seed(0)
    model, where = model_of("latents"), montage(8, Cz=INTERPOLATED, O1=ABSENT)
    x = torch.randn((8, 19, 6 * TOKEN - 40), generator=rng).clamp(-3, 3)
    x[:, EEG_1020.ch_names.index("O1")] = 0
    made = PREPARATION(raw_of(x, where))
    mask = made["mask_BCT"]
    assert mask.any((1, 2)).all()
    assert (whole_tokens(mask, TOKEN).any((1, 2))).sum() in range(1, 8)  # blocks in some windows, spans in others
    other = torch.where(mask, 3 * torch.randn(x.shape, generator=rng).clamp(-3, 3), x)
    remade = PREPARATION(raw_of(other, where))
    assert torch.equal(remade["filled_BCT"], made["filled_BCT"])
    assert not torch.equal(remade["x_BCT"], made["x_BCT"])
    before, after = (model.encode(batch) for batch in (made, remade))
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name
    # The filling is not looked at either: hidden samples are 0 to the encoder whatever stands there.
    planted = model.encode({**made, "filled_BCT": torch.where(mask, other, made["filled_BCT"])})
    assert all(torch.equal(value, planted[name]) for name, value in before.items())


def test_a_leak_is_noticed() -> None:
    """Without the mask token the encoder sees what it is given: the same comparison fails."""
    rng = torch.Generator().manual_seed(0)
    model = model_of("latents")
    made = PREPARATION(raw_of(torch.randn((2, 19, 6 * TOKEN), generator=rng), montage(2)))
    leaking = {**made, "filled_BCT": made["x_BCT"]}
    del model.mask_token_D
    assert not torch.equal(model.encode(leaking)["tokens_BCND"], model.encode(made)["tokens_BCND"])


def test_the_reference_carries_nothing_of_hidden_potentials() -> None:
    """Windows are average-referenced: hidden potentials stand in every visible channel, and go with its reference."""
    rng = torch.Generator().manual_seed(1)
    potentials = torch.randn((4, 19, 6 * TOKEN), generator=rng)
    where, plan = montage(4), BlockPlan(gaps_share=0.0)
    hidden = draw_tokens(Draws(3, torch.arange(4)), where, 6, plan)
    mask = samples(hidden, TOKEN, 6 * TOKEN)
    others = torch.where(mask, 5 * torch.randn(potentials.shape, generator=rng), potentials)
    seen, again = (against_visible(referenced(p), hidden, where, TOKEN) for p in (potentials, others))
    # Where all channels are hidden, nothing is seen.
    torch.testing.assert_close(seen, again, atol=1e-5, rtol=0)
    assert (referenced(potentials) - referenced(others))[~mask].abs().max() > 0.5


def test_no_ridge_finds_hidden_potentials_or_their_sum() -> None:
    rng = np.random.default_rng(0)
    potentials = torch.from_numpy(rng.normal(size=(1, 19, 200 * TOKEN)).astype(np.float32))
    where = montage(1)
    hidden = torch.zeros((1, 19, 200), dtype=torch.bool)
    hidden[:, [3, 4, 7, 8, 9, 12]] = True
    x = referenced(potentials)
    seen = against_visible(x, hidden, where, TOKEN)[0].numpy()
    visible, gone = seen[~hidden[0].any(-1).numpy()], x[0].numpy()[hidden[0].any(-1).numpy()]

    def explained(sources: np.ndarray, target: np.ndarray) -> float:
        half = target.shape[-1] // 2
        own = sources[:, :half] @ sources[:, :half].T
        weights = np.linalg.solve(own + 1e-3 * own.trace() * np.eye(len(own)), sources[:, :half] @ target[:half])
        left = target[half:] - weights @ sources[:, half:]
        return float(1 - left.var() / target[half:].var())

    assert explained(visible, gone.sum(0)) < 0.01
    assert all(explained(visible, one) < 0.01 for one in gone)
    # The window's own reference gives the sum away.
    assert explained(x[0].numpy()[~hidden[0].any(-1).numpy()], gone.sum(0)) > 0.95


def test_nothing_jumps_where_a_block_begins() -> None:
    """The reference moves over half a second: a step there would be heard as a wave."""
    n = 10 * TOKEN
    levels = torch.linspace(-2, 2, 19)[None, :, None].expand(1, 19, n).contiguous()
    where = montage(1)
    hidden = draw_tokens(Draws(1, torch.arange(1)), where, 10, BLOCKS)
    mask = samples(hidden, TOKEN, n)
    seen = against_visible(referenced(levels), hidden, where, TOKEN)
    steps = seen.diff(dim=-1)[~(mask[..., 1:] | mask[..., :-1])]
    # The mean of the visible ones moves by less than 4, the range, within half a token: 128 steps, at most some twelve
    # times as steep as that where few channels are visible.
    assert steps.abs().max() < 12 * 4 / 128
    assert seen[mask].eq(0).all()


def test_a_batch_is_what_its_windows_are_alone() -> None:
    x = torch.randn((5, 19, 6 * TOKEN), generator=torch.Generator().manual_seed(0))
    whole = PREPARATION(raw_of(x, montage(5)))
    for row in range(5):
        alone = PREPARATION({name: value[row : row + 1] for name, value in raw_of(x, montage(5)).items()})
        for name, value in alone.items():
            torch.testing.assert_close(value[0], whole[name][row])


def test_settings_that_contradict_are_refused() -> None:
    for wrong in (
        {"hidden_share": 1.0}, {"block_tokens": (3, 2)}, {"block_tokens": (0, 2)}, {"gaps_share": 1.5},
        {"channels_chance": -0.1}, {"token_times": 1},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            BlockPlan(**wrong)
