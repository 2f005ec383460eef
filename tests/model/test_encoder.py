from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from model.bundling.tracing import trace
from model.encoder import Encoder
from model.encoder_config import SIZES, EncoderConfig, sized
from model.layers.blocks import DropPath
from model.montage import FixedMontage, Montage, places
from signals.electrodes import POSITIONS
from signals.modality import EEG_1020
from signals.window import ABSENT, INTERPOLATED, MEASURED

CONFIG = {"dim": 32, "depth": 2, "n_heads": 4, "stem_dim": 16}
POSITION = torch.tensor(EEG_1020.positions)


def make_encoder(**overrides: object) -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(**(CONFIG | overrides))).eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def montage(state: Tensor) -> Montage:
    """Return a montage for states: a headset, the 10-20 system, 64 electrodes of the 10-5, 128 without known names."""
    n_chans = state.shape[1]
    if n_chans == 128:  # a spiral over the upper part of the sphere, as dense caps are laid out
        height, turn = torch.linspace(-0.4, 1, 128), torch.arange(128) * 2.4
        around = (1 - height**2).clamp(min=0).sqrt()
        spiral = torch.stack([around * turn.cos(), around * turn.sin(), height], 1).tolist()
        names = tuple(f"E{i + 1}" for i in range(128))
        return Montage.named(names, state, more=dict(zip(names, spiral, strict=True)))
    if n_chans == 19:
        return Montage.of(EEG_1020, state)
    return Montage.named({4: ("T3", "T4", "Fp1", "Fp2"), 64: tuple(POSITIONS)[:64]}[n_chans], state)


def measured(n: int, n_chans: int = 19) -> Montage:
    return montage(torch.full((n, n_chans), MEASURED))


@pytest.mark.parametrize(("n_chans", "n_times"), [(4, 512), (4, 76800), (19, 512), (19, 76800), (64, 2560), (128, 512)])
def test_any_montage_and_length_goes_through_the_same_weights(n_chans: int, n_times: int) -> None:
    with torch.no_grad():
        out = make_encoder()(noise(2, n_chans, n_times), measured(2, n_chans))
    assert {name: tuple(value.shape) for name, value in out.items()} == {
        "stem_BCPE": (2, n_chans, n_times // 64, 16),
        "merged_BCND": (2, n_chans, n_times // 256, 32),
        "tokens_BCND": (2, n_chans, n_times // 256, 32),
        "channels_BCD": (2, n_chans, 32),
        "window_BD": (2, 32),
        "relations_BCCR": (2, n_chans, n_chans, 24),
        "shown_BC": (2, n_chans),
    }
    assert torch.isfinite(out["window_BD"]).all()


def test_memory_of_a_pass_is_linear_in_length() -> None:
    def saved_bytes(n_times: int) -> int:
        storages: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        encoder, x = make_encoder().train(), noise(1, 4, n_times)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = encoder(x, measured(1, 4))  # out keeps what was saved alive
        assert out["window_BD"].requires_grad
        return sum(storages.values())

    # 32 and 128 tokens; attention that kept its weights would add 128² x 4 heads x 4 channels x 4 bytes a block: 1 MB
    short, long = saved_bytes(32 * 256), saved_bytes(128 * 256)
    assert long < 4 * short


@pytest.mark.parametrize("mask", [None, torch.arange(768).expand(1, 19, -1) % 300 > 200])
def test_absent_channels_reach_nothing(mask: Tensor | None) -> None:
    encoder, x = make_encoder(), noise(1, 19, 768)
    state = torch.full((1, 19), MEASURED)
    state[0, [3, 9]] = ABSENT
    other = x.clone()
    other[0, 3], other[0, 9] = 100.0, torch.nan
    elsewhere = replace(montage(state), position_BC3=montage(state).position_BC3.clone())
    elsewhere.position_BC3[0, 3] = torch.nan
    with torch.no_grad():
        a = encoder(x, montage(state), mask_BCT=mask)
        b = encoder(other, elsewhere, mask_BCT=mask)
    for name in ("tokens_BCND", "window_BD"):
        assert torch.equal(a[name], b[name])
    assert not a["tokens_BCND"][0, 3].any()


def test_window_without_a_channel_equals_window_with_it_absent() -> None:
    encoder, x = make_encoder(), noise(1, 19, 512)
    kept = [i for i in range(19) if i != 7]
    state = torch.full((1, 19), MEASURED)
    state[0, 7] = ABSENT
    whole = Montage.named(EEG_1020.ch_names, state)
    part = Montage.named([EEG_1020.ch_names[i] for i in kept], state[:, kept])
    with torch.no_grad():
        absent = encoder(x, whole)["window_BD"]
        removed = encoder(x[:, kept], part)["window_BD"]
    torch.testing.assert_close(absent, removed, atol=1e-5, rtol=1e-5)


def test_all_electrodes_are_heard_and_states_are_distinguished() -> None:
    encoder, x = make_encoder(depth=1), noise(1, 19, 512)
    state = torch.full((1, 19), MEASURED)
    louder = x.clone()
    louder[0, 0] *= 3
    interpolated = state.clone()
    interpolated[0, 0] = INTERPOLATED
    with torch.no_grad():
        base = encoder(x, montage(state))["tokens_BCND"]
        moved = (encoder(louder, montage(state))["tokens_BCND"] - base).abs().amax((0, 2, 3))
        marked = encoder(x, montage(interpolated))["tokens_BCND"]
    assert (moved > 1e-6).all()
    assert (marked - base).abs().max() > 1e-4


def test_neighbours_on_the_graph_are_among_the_relations() -> None:
    encoder, x, near = make_encoder(), noise(1, 19, 512), measured(1)
    cut = replace(near, adjacency_BCC=torch.zeros_like(near.adjacency_BCC))
    with torch.no_grad():
        a, b = (encoder(x, each)["relations_BCCR"] for each in (near, cut))
    assert (a - b).abs().max() > 1e-4


def test_relations_hold_the_covariance_of_shown_samples_and_nothing_of_hidden_ones() -> None:
    encoder, x, here = make_encoder(), noise(1, 19, 512), measured(1)
    mask = torch.zeros(1, 19, 512, dtype=torch.bool)
    mask[0, 4], mask[0, 7, 100:200] = True, True
    filling = x.clone()
    filling[mask] = 5.0
    louder = x.clone()
    louder[0, 11] *= 3
    with torch.no_grad():
        base, refilled, other = (
            encoder(signal, here, mask_BCT=mask)["relations_BCCR"] for signal in (x, filling, louder)
        )
        without = make_encoder(covariance=False)
        deaf = [without(signal, here, mask_BCT=mask)["relations_BCCR"] for signal in (x, louder)]
    assert torch.equal(base, refilled)
    assert (base - other).abs().amax((0, 3))[11].max() > 1e-3
    assert (base - other).abs().amax((0, 3))[4].max() > 1e-5  # the hidden channel's pairs hear of it through others
    assert torch.equal(*deaf)


def test_amplitude_reaches_the_tokens() -> None:
    # The stem divides by nothing: a window ten times as large is another window, second by second.
    encoder, x = make_encoder(), noise(1, 19, 1024)
    burst = x.clone()
    burst[..., 512:768] *= 10
    with torch.no_grad():
        plain, loud = (encoder(signal, measured(1))["merged_BCND"] for signal in (x, burst))
    assert (loud - plain)[:, :, 2].norm() > 0.5 * plain[:, :, 2].norm()


def test_causal_encoder_does_not_look_ahead() -> None:
    encoder, x = make_encoder(causal=True), noise(1, 4, 1024)
    changed = x.clone()
    changed[..., 512:] = 0
    with torch.no_grad():
        a, b = (encoder(signal, measured(1, 4))["tokens_BCND"][:, :, :2] for signal in (x, changed))
    assert torch.equal(a, b)


def test_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        encoder = make_encoder(gradient_checkpointing=checkpointing).train()
        encoder(noise(1, 4, 512), measured(1, 4))["window_BD"].square().sum().backward()
        gradients.append(encoder.stem.convs[0].weight.grad)
    torch.testing.assert_close(*gradients)


def test_odd_length_is_padded_and_marked_as_hidden() -> None:
    encoder, x = make_encoder(), noise(1, 19, 700)
    padded = torch.nn.functional.pad(x, (0, 68))
    hidden = torch.arange(768).expand(1, 19, -1) >= 700
    with torch.no_grad():
        short = encoder(x, measured(1))["tokens_BCND"]
        whole = encoder(padded, measured(1), mask_BCT=hidden)["tokens_BCND"]
    assert torch.equal(short, whole)


@pytest.mark.parametrize(
    ("x", "where", "match"),
    [
        (noise(2, 19), measured(2), r"shape \(2, 19\)"),
        (noise(1, 18, 256), measured(1), r"ch_state has shape \(1, 19\), not \(1, 18\)"),
        (noise(2, 19, 256), measured(1), r"ch_state has shape \(1, 19\), not \(2, 19\)"),
        (
            noise(1, 19, 256),
            replace(measured(1), position_BC3=torch.zeros(1, 18, 3)),
            r"position has shape \(1, 18, 3\)",
        ),
        (noise(1, 19, 256), replace(measured(1), adjacency_BCC=torch.zeros(19, 19)), r"adjacency has shape \(19, 19\)"),
        (noise(1, 19, 256) * torch.nan, measured(1), "NaN or infinity in window 0, channel 0"),
        (noise(1, 19, 0), measured(1), "at least one"),
    ],
)
def test_wrong_input_is_refused(x: Tensor, where: Montage, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_encoder()(x, where)


def test_save_and_load_by_path(tmp_path: Path) -> None:
    encoder, x = make_encoder(), noise(1, 19, 512)
    encoder.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = Encoder.from_pretrained(tmp_path, local_files_only=True).eval()
    with torch.no_grad():
        assert torch.equal(*(e(x, measured(1))["window_BD"] for e in (encoder, loaded)))


def test_other_schema_version_and_unknown_size_are_refused(tmp_path: Path) -> None:
    make_encoder().save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"schema_version": 2', '"schema_version": 99'))
    with pytest.raises(ValueError, match="schema_version=99, this code reads 2"):
        Encoder.from_pretrained(tmp_path, local_files_only=True)
    with pytest.raises(ValueError, match="'huge'"):
        sized("huge")


def test_sizes_are_those_of_their_table() -> None:
    stated_size = {"tiny": 1e6, "small": 5e6, "base": 25e6, "large": 100e6}
    for size in SIZES:
        with torch.device("meta"):
            n_parameters = sum(p.numel() for p in Encoder(sized(size)).parameters())
        assert n_parameters == pytest.approx(stated_size[size], rel=0.2)


class _Representation(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = make_encoder()
        self.montage = FixedMontage(EEG_1020)

    def forward(self, x: Tensor, ch_state: Tensor) -> Tensor:
        return self.encoder(x, self.montage(ch_state))["tokens_BCND"]


def test_onnx_equals_torch_at_other_batch_and_length(tmp_path: Path) -> None:
    model = _Representation().eval()
    example = (noise(2, 19, 1024), torch.full((2, 19), MEASURED))
    free = {"x": {0: "batch", 2: "n_times"}, "ch_state": {0: "batch"}, "tokens": {0: "batch"}}
    trace(model, example, tmp_path / "encoder.onnx", inputs=("x", "ch_state"), outputs=("tokens",), free=free)
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    for n_batch, n_times in ((1, 2560), (3, 12800)):
        x = noise(n_batch, 19, n_times, seed=n_times)
        state = torch.randint(0, 3, (n_batch, 19), generator=torch.Generator().manual_seed(1))
        (got,) = session.run(None, {"x": x.numpy(), "ch_state": state.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(got, model(x, state).numpy(), atol=1e-4, rtol=0)


def test_every_buffer_is_saved() -> None:
    # transformers leaves buffers that are not saved uninitialised after from_pretrained: whatever lay in that memory.
    assert [name for name, _ in Encoder(sized("tiny")).named_non_persistent_buffers()] == []


@pytest.mark.parametrize("switch", ["graph", "positions"])
def test_ablation_switches_take_out_what_they_name_and_travel(switch: str, tmp_path: Path) -> None:
    encoder, x, here = make_encoder(**{switch: False}), noise(1, 19, 512), measured(1)
    encoder.save_pretrained(tmp_path)
    loaded = Encoder.from_pretrained(tmp_path, local_files_only=True).eval()
    louder = x.clone()
    louder[0, 0] *= 3
    turned = replace(
        here, electrode_ids_BC=here.electrode_ids_BC.flip(1), position_BC3=here.position_BC3.flip(1),
        adjacency_BCC=here.adjacency_BCC.flip(1),
    )  # fmt: skip
    with torch.no_grad():
        base, again = (e(x, here)["tokens_BCND"] for e in (encoder, loaded))
        neighbours = encoder(louder, here)["tokens_BCND"][0, 1:]
        elsewhere = encoder(x, turned)["tokens_BCND"]
    assert torch.equal(base, again)
    assert torch.equal(neighbours, base[0, 1:]) == (switch == "graph")
    assert torch.equal(elsewhere, base) == (switch == "positions")
    missing = {n.split(".")[2] if n.startswith("blocks") else n.split(".")[1] for n in make_encoder().state_dict()}
    missing -= {n.split(".")[2] if n.startswith("blocks") else n.split(".")[1] for n in encoder.state_dict()}
    assert missing >= {"graph": {"spatial", "spatial_norm"}, "positions": {"identity", "place", "frequencies"}}[switch]


def test_paths_are_dropped_for_whole_windows_in_training_alone() -> None:
    drop, ones = DropPath(0.25), torch.ones(4000, 2, 1, 3)
    torch.manual_seed(0)
    kept = drop.train()(ones)
    assert kept.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (kept.amax((1, 2, 3)) == kept.amin((1, 2, 3))).all()
    assert kept.mean().item() == pytest.approx(1, abs=5 * (1 / 3 / 4000) ** 0.5)  # variance 16/9 x 3/4 - 1
    assert torch.equal(drop.eval()(ones), ones)
    encoder = make_encoder(depth=3, drop_path=0.2)
    assert [block.drop.chance for block in encoder.blocks] == pytest.approx([0.0, 0.1, 0.2])


def test_unknown_channels_need_a_place() -> None:
    with pytest.raises(ValueError, match=r"channels \['E1', 'E2'\] are no known electrodes"):
        places(("Cz", "E1", "E2"))
    with pytest.raises(ValueError, match="no length"):
        places(("E1",), {"E1": (0.0, 0.0, 0.0)})
    # lengths do not matter, directions do
    torch.testing.assert_close(places(("E1", "Cz"), {"E1": (0.0, 0.0, 9.0)})[0], torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(places(EEG_1020.ch_names), POSITION, atol=1e-4, rtol=0)
    state = torch.full((1, 19), MEASURED)
    lost = montage(state)
    lost = replace(lost, position_BC3=lost.position_BC3.clone())
    lost.position_BC3[0, 5] = torch.nan
    with pytest.raises(ValueError, match="not finite in window 0, channel 5: give the electrode a place"):
        make_encoder()(noise(1, 19, 512), lost)
    state[0, 5] = ABSENT
    assert torch.isfinite(make_encoder()(noise(1, 19, 512), lost)["window_BD"]).all()
