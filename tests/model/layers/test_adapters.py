from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model.classifier import Classifier, new_classifier
from model.encoder import Encoder
from model.encoder_config import sized
from model.layers.adapters import KINDS, LoraLinear, add_adapters, merge_adapters
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import TASKS
from signals.window import MEASURED

X = torch.randn(2, 19, 512, generator=torch.Generator().manual_seed(0))
STATE = torch.full((2, 19), MEASURED)


def make_classifier() -> Classifier:
    torch.manual_seed(0)
    encoder = Encoder(sized("tiny", dim=16, depth=2, n_heads=2, stem_dim=16))
    return new_classifier(
        encoder, TASKS["eyes"], EEG_1020, Normaliser(kind="window"), dropout=0.0, profile={}, provenance={}
    ).eval()


def logits(model: Classifier) -> Tensor:
    with torch.no_grad():
        return model(X, STATE)[0]


def disturb(model: nn.Module) -> None:
    """Give adapters values as training would."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "adapter" in name:
            with torch.no_grad():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_start_as_the_identity_and_travel_with_the_model(kind: str, tmp_path: Path) -> None:
    model = make_classifier()
    before = logits(model)
    add_adapters(model, kind=kind, rank=3)
    assert torch.equal(logits(model), before)
    disturb(model)
    assert not torch.allclose(logits(model), before)
    model.save_pretrained(tmp_path / "task")
    model.encoder.save_pretrained(tmp_path / "encoder")
    loaded = Classifier.from_pretrained(tmp_path / "task", local_files_only=True).eval()
    assert loaded.config.encoder["adapter"] == {"kind": kind, "rank": 3}
    assert torch.equal(logits(loaded), logits(model))
    model.encoder = Encoder.from_pretrained(tmp_path / "encoder", local_files_only=True).eval()
    assert torch.equal(logits(loaded), logits(model))


def test_number_of_new_weights_is_that_of_the_papers() -> None:
    # 2 blocks of width 16: down and up with biases, twice a block; two factors of (in + out) x rank for each matrix
    expected = {
        "bottleneck": 2 * 2 * (16 * 3 + 3 + 3 * 16 + 16),
        "lora": 2 * 3 * ((16 + 48) + (16 + 16) + (16 + 32) + (16 + 16) + (16 + 64) + (64 + 16)),
    }
    for kind in KINDS:
        model = make_classifier()
        before = sum(p.numel() for p in model.parameters())
        add_adapters(model, kind=kind, rank=3)
        assert sum(p.numel() for p in model.parameters()) - before == expected[kind]


def test_merged_additions_give_the_same_and_leave_a_plain_model(tmp_path: Path) -> None:
    model, plain = make_classifier(), make_classifier()
    add_adapters(model, kind="lora", rank=3)
    disturb(model)
    wanted = logits(model)
    merge_adapters(model)
    assert not any(isinstance(module, LoraLinear) for module in model.modules())
    torch.testing.assert_close(logits(model), wanted, atol=1e-5, rtol=1e-5)
    assert set(model.state_dict()) == set(plain.state_dict())
    model.save_pretrained(tmp_path)
    loaded = Classifier.from_pretrained(tmp_path, local_files_only=True).eval()
    assert loaded.config.encoder["adapter"] is None
    assert torch.equal(logits(loaded), logits(model))


def test_config_of_other_models_stays() -> None:
    config = sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16)
    first, second = Encoder(config), Encoder(config)
    add_adapters(first, kind="lora", rank=2)
    assert second.config.adapter is None
    add_adapters(second, kind="bottleneck", rank=2)


def test_mistakes_are_refused() -> None:
    model = make_classifier()
    with pytest.raises(ValueError, match="kind='prefix' is none of"):
        add_adapters(model, kind="prefix", rank=4)
    with pytest.raises(ValueError, match="rank=0 must be at least 1"):
        add_adapters(model, kind="lora", rank=0)
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_adapters(model)
    with pytest.raises(ValueError, match="Linear has no encoder with blocks"):
        add_adapters(nn.Linear(2, 2), kind="lora", rank=1)
    add_adapters(model, kind="bottleneck", rank=2)
    with pytest.raises(ValueError, match="has adapters already"):
        add_adapters(model, kind="lora", rank=2)
