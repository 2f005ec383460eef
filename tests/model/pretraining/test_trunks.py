"""The control's tokens: heads read them where they read the encoder's."""

import pytest
import torch
from torch import Tensor

from model.encoder_config import EncoderConfig
from model.montage import Montage
from model.pretraining.pretraining import PretrainModel
from model.pretraining.trunks import TRUNKS, ResNetTrunk
from model.pretraining.truth_heads import TRUTH_HEADS
from signals.modality import EEG_1020
from signals.window import ABSENT, MEASURED

CONFIG = EncoderConfig(dim=16, depth=1, n_heads=2, stem_dim=16)
N_TIMES = 1408  # five seconds and a half


def batch() -> dict[str, Tensor]:
    x = torch.randn(2, 19, N_TIMES, generator=torch.Generator().manual_seed(0))
    state = torch.full((2, 19), MEASURED)
    state[1, 3] = ABSENT
    montage = Montage.of(EEG_1020, state).tensors()
    return {"x_BCT": x, "filled_BCT": x, "mask_BCT": torch.zeros_like(x, dtype=torch.bool), **montage}


def test_both_trunks_give_heads_the_same_shapes() -> None:
    torch.manual_seed(0)
    shapes = []
    for trunk in TRUNKS.values():
        model = PretrainModel(trunk(CONFIG), dict.fromkeys(TRUTH_HEADS, 1.0)).eval()
        tokens = model.encode(batch())["tokens_BCND"]
        assert tokens.shape == (2, 19, 6, 16)  # the half second is padded to a whole token
        assert not tokens[1, 3].any()  # absent
        shapes.append({name: value.shape for name, value in model.predict(batch()).items()})
    assert shapes[0] == shapes[1]
    assert shapes[0]["discharge_logits_BCS"] == (2, 19, 24)


def test_what_stands_in_absent_channels_is_never_seen() -> None:
    torch.manual_seed(0)
    trunk = ResNetTrunk(CONFIG).eval()
    given = batch()
    montage = Montage.from_batch(given)
    first = trunk(given["x_BCT"], montage)["tokens_BCND"]
    given["x_BCT"][1, 3] = torch.nan
    assert torch.equal(trunk(given["x_BCT"], montage)["tokens_BCND"], first)


def test_channels_have_tokens_of_their_own() -> None:
    torch.manual_seed(0)
    given = batch()
    tokens = ResNetTrunk(CONFIG).eval()(given["x_BCT"], Montage.from_batch(given))["tokens_BCND"][0]
    apart = torch.cdist(tokens.flatten(1), tokens.flatten(1)) + torch.eye(19)
    assert apart.min() > 0.1


@pytest.mark.parametrize("names", [EEG_1020.ch_names[:18], tuple(reversed(EEG_1020.ch_names))])
def test_other_electrodes_are_refused(names: tuple[str, ...]) -> None:
    montage = Montage.named(names, torch.full((2, len(names)), MEASURED))
    with pytest.raises(ValueError, match="the resnet-gru trunk takes the 19 electrodes Fp1 F3 C3"):
        ResNetTrunk(CONFIG)(torch.zeros(2, len(names), 512), montage)


def test_patches_of_another_length_and_heads_of_an_encoder_are_refused() -> None:
    with pytest.raises(ValueError, match="patch_times=32 must be 64"):
        ResNetTrunk(EncoderConfig(dim=16, depth=1, n_heads=2, stem_dim=16, patch_times=32))
    with pytest.raises(ValueError, match=r"serves the heads .*, not \['reconstruction'\]"):
        PretrainModel(ResNetTrunk(CONFIG), {"votes": 1.0, "reconstruction": 1.0})
