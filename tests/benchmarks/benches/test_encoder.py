import pytest
import torch

from benchmarks.benches.models.encoder import OURS_CBRAMOD, OURS_LABRAM
from benchmarks.benches.parts.encoder_peers import CbramodShape, LabramShape
from model.encoder import Encoder
from model.encoder_config import EncoderConfig


def test_baselines_have_as_many_parameters_as_the_shapes_beside_them() -> None:
    with torch.device("meta"):
        pairs = [
            (LabramShape(19, 30), Encoder(EncoderConfig(**OURS_LABRAM))),
            (CbramodShape(), Encoder(EncoderConfig(**OURS_CBRAMOD))),
        ]
    for peer, ours in pairs:
        counts = [sum(p.numel() for p in model.parameters()) for model in (ours, peer)]
        assert counts[0] == pytest.approx(counts[1], rel=0.03)
    # 12 layers of width 200: 4 x 200² in attention, 2 x 200 x 800 in the feed-forward, biases and norms
    layer = 4 * 200**2 + 2 * 200 * 800 + 4 * 200 + 800 + 200 + 4 * 200
    assert sum(p.numel() for p in pairs[0][0].layers.parameters()) == 12 * layer


def test_shapes_make_a_token_of_each_second_and_mix_as_stated() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 400)
    labram, cbramod = LabramShape(3, 2).eval(), CbramodShape().eval()
    with torch.no_grad():
        assert labram(x).shape == (1, 6, 200)
        assert cbramod(x).shape == (1, 3, 2, 200)
        louder = x.clone()
        louder[:, 0, :200] *= 2
        # full attention: every token hears of one token's change
        assert ((labram(louder) - labram(x)).abs().amax(-1) > 1e-7).all()
