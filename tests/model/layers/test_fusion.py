from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from model.bundling.tracing import trace
from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.layers.fusion import SENSOR_TYPES, sensor_type_ids
from model.montage import Montage, electrode_ids
from signals.modality import EEG_1020
from signals.window import ABSENT, MEASURED

TYPES = ("eeg",) * 19 + ("eog", "eog", "emg", "ecg")
N_CHANS = len(TYPES)
SENSORS = sensor_type_ids(TYPES)
POSITION = torch.cat([torch.tensor(EEG_1020.positions), torch.full((4, 3), torch.nan)])
IDS = electrode_ids((*EEG_1020.ch_names, *("?",) * 4))
ADJACENCY = torch.zeros(N_CHANS, N_CHANS, dtype=torch.bool)
ADJACENCY[:19, :19] = torch.from_numpy(EEG_1020.adjacency())
BOTH = ("sensors", "spectrogram")


def make_encoder(fusion: tuple[str, ...], *, open_gates: bool = False, depth: int = 2) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(dim=32, depth=depth, n_heads=4, stem_dim=16, fusion=fusion)).eval()
    for name, parameter in encoder.named_parameters():
        if open_gates and name.endswith("gate"):
            torch.nn.init.constant_(parameter, 1.0)
    return encoder


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def montage(state: Tensor, sensors: Tensor = SENSORS) -> Montage:
    n = len(state)
    return Montage(
        position_BC3=POSITION.expand(n, -1, -1), electrode_ids_BC=IDS.expand(n, -1), ch_state_BC=state,
        sensor_type_BC=sensors.expand(n, -1), adjacency_BCC=ADJACENCY.expand(n, -1, -1),
    )  # fmt: skip


@torch.no_grad()
def tokens(
    encoder: Encoder, x: Tensor, state: Tensor, spectrogram: Tensor | None = None, sensors: Tensor = SENSORS
) -> Tensor:
    out = encoder(x, montage(state, sensors), spectrogram_BRFS=spectrogram)
    assert torch.isfinite(out["tokens_BCND"]).all()
    return out["tokens_BCND"]


X = noise(2, N_CHANS, 1024)
STATE = torch.full((2, N_CHANS), MEASURED)
SPECTROGRAM = noise(2, 4, 100, 300, seed=1)


def test_untrained_sources_change_nothing() -> None:
    plain, fused = make_encoder(()), make_encoder(BOTH)
    eeg = torch.equal(tokens(fused, X, STATE, SPECTROGRAM)[:, :19], tokens(plain, X, STATE)[:, :19])
    assert eeg
    assert not tokens(plain, X, STATE)[:, 19:].any()  # an encoder that cannot listen leaves other sensors out
    assert tokens(fused, X, STATE)[:, 19:].any()


def test_absent_sources_change_nothing_and_only_in_their_window() -> None:
    plain, fused = make_encoder(()), make_encoder(BOTH, open_gates=True)
    alone = tokens(plain, X, STATE)[:, :19]
    state, spectrogram = STATE.clone(), SPECTROGRAM.clone()
    state[0, 19:], spectrogram[0] = ABSENT, torch.nan
    mixed = tokens(fused, X, state, spectrogram)[:, :19]
    assert torch.equal(mixed[0], alone[0])
    assert (mixed[1] - alone[1]).abs().max() > 1e-3
    state[1, 19:] = ABSENT
    assert torch.equal(tokens(fused, X, state)[:, :19], alone)


@pytest.mark.parametrize("source", BOTH)
def test_each_source_is_heard_alone(source: str) -> None:
    fused = make_encoder((source,), open_gates=True)
    louder, changed = X.clone(), SPECTROGRAM.clone()
    louder[:, 20, 256:512] *= 4
    changed[:, 2, :, 140:160] += 1
    has_spectrogram = source == "spectrogram"
    base = tokens(fused, X, STATE, SPECTROGRAM if has_spectrogram else None)
    other = tokens(fused, X if has_spectrogram else louder, STATE, changed if has_spectrogram else None)
    assert (other - base)[:, :19].abs().amax() > 1e-4


def test_sensors_are_no_part_of_the_electrode_graph_nor_of_the_mean() -> None:
    fused = make_encoder(("sensors",))  # gates closed: nothing else leads from a sensor to the EEG
    louder = X.clone()
    louder[:, 19:] *= 5
    with torch.no_grad():
        a, b = (fused(x, montage(STATE)) for x in (X, louder))
    assert torch.equal(a["window_BD"], b["window_BD"])
    assert torch.equal(a["tokens_BCND"][:, :19], b["tokens_BCND"][:, :19])
    assert not torch.equal(a["tokens_BCND"][:, 19:], b["tokens_BCND"][:, 19:])


def test_sensors_of_one_kind_are_distinguished_from_another() -> None:
    fused = make_encoder(("sensors",))
    other = SENSORS.clone()
    other[21] = SENSOR_TYPES.index("ecg")
    assert (tokens(fused, X, STATE) - tokens(fused, X, STATE, sensors=other))[:, 21].abs().max() > 1e-3


def test_unknown_bins_and_short_spectrograms() -> None:
    fused = make_encoder(("spectrogram",), open_gates=True)
    holes = SPECTROGRAM.clone()
    holes[:, 1, 50:, 100:200] = torch.nan
    filled = torch.where(torch.isnan(holes), torch.zeros_like(holes), holes)
    assert (tokens(fused, X, STATE, holes) - tokens(fused, X, STATE, filled)).abs().max() > 1e-5  # unknown is not 0
    # the same stretch about the middle, with nothing known around it and cut out; 14 groups are left on a side of 20
    padded = torch.full_like(SPECTROGRAM, torch.nan)
    padded[..., 140:160] = SPECTROGRAM[..., 140:160]
    short = tokens(fused, X, STATE, SPECTROGRAM[..., 140:160])
    torch.testing.assert_close(short, tokens(fused, X, STATE, padded), atol=1e-5, rtol=1e-5)
    assert torch.isfinite(tokens(fused, X, STATE, SPECTROGRAM[..., :7])).all()


def test_gates_open_in_training() -> None:
    fused = make_encoder(BOTH).train()
    out = fused(X, montage(STATE), spectrogram_BRFS=SPECTROGRAM)
    out["window_BD"].square().sum().backward()
    for source in (fused.sensors, fused.spectrogram):
        assert source.cross.gate.grad is not None
        assert source.cross.gate.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("spectrogram", "sensors", "match"),
    [
        (noise(2, 4, 99, 10), SENSORS, r"spectrogram has shape \(2, 4, 99, 10\)"),
        (noise(1, 4, 100, 10), SENSORS, r"not \(2, 4, 100\)"),
        (noise(2, 4, 100, 0), SENSORS, "at least one step"),
        (None, SENSORS[:5], r"sensor_type has shape \(2, 5\), not \(2, 23\)"),
    ],
)
def test_wrong_sources_are_refused(spectrogram: Tensor | None, sensors: Tensor, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        tokens(make_encoder(BOTH), X, STATE, spectrogram, sensors)


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fusion names \['video'\]"):
        EncoderConfig(fusion=("video",))
    with pytest.raises(ValueError, match="causal encoder"):
        EncoderConfig(fusion=("spectrogram",), causal=True)
    with pytest.raises(ValueError, match=r"fusion=\['sensors'\]"):
        tokens(make_encoder(("sensors",)), X, STATE, SPECTROGRAM)
    with pytest.raises(ValueError, match=r"sensor types \['meg'\]"):
        sensor_type_ids(("eeg", "meg"))


class _Tokens(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = make_encoder(BOTH, open_gates=True)
        for name, value in (("position", POSITION), ("ids", IDS), ("adjacency", ADJACENCY), ("sensors", SENSORS)):
            self.register_buffer(name, value)

    def forward(self, x: Tensor, ch_state: Tensor, spectrogram: Tensor) -> Tensor:
        n = ch_state.shape[0]
        where = Montage(
            position_BC3=self.position.expand(n, -1, -1), electrode_ids_BC=self.ids.expand(n, -1),
            sensor_type_BC=self.sensors.expand(n, -1), adjacency_BCC=self.adjacency.expand(n, -1, -1),
            ch_state_BC=ch_state,
        )  # fmt: skip
        return self.encoder(x, where, spectrogram_BRFS=spectrogram)["tokens_BCND"]


def test_onnx_equals_torch_with_and_without_sources(tmp_path: Path) -> None:
    model, inputs = _Tokens().eval(), ("x", "ch_state", "spectrogram")
    free = {"x": {0: "batch", 2: "n_times"}} | {name: {0: "batch"} for name in (*inputs[1:], "tokens")}
    trace(model, (X, STATE, SPECTROGRAM), tmp_path / "fused.onnx", inputs=inputs, outputs=("tokens",), free=free)
    session = onnxruntime.InferenceSession(tmp_path / "fused.onnx", providers=["CPUExecutionProvider"])
    for n_batch, n_times in ((1, 2560), (3, 512)):
        x, state = noise(n_batch, N_CHANS, n_times), torch.full((n_batch, N_CHANS), MEASURED)
        spectrogram = noise(n_batch, 4, 100, 300, seed=3)
        spectrogram[..., :90] = torch.nan
        state[0, 19:], spectrogram[-1] = ABSENT, torch.nan
        fed = {"x": x.numpy(), "ch_state": state.numpy(), "spectrogram": spectrogram.numpy()}
        (got,) = session.run(None, fed)
        with torch.no_grad():
            np.testing.assert_allclose(got, model(x, state, spectrogram).numpy(), atol=1e-4, rtol=0)
