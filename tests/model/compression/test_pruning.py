import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.classifier import Classifier, new_classifier
from model.compression.importance import magnitude_scores, taylor_scores
from model.compression.pruning import Method, Shape, n_parameters, plan, prune, shape_of, with_shape
from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.layers.adapters import add_adapters, merge_adapters
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import TASKS, Task
from signals.window import MEASURED

TASK = Task(name="eyes", classes=TASKS["eyes"].classes, window_s=4.0)


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    encoder = Encoder(
        EncoderConfig(dim=16, depth=3, n_heads=4, stem_dim=8, mlp_ratio=2, relation_dim=8, relation_depth=1)
    )
    model = new_classifier(
        encoder, TASK, EEG_1020, Normaliser(kind="window"), dropout=0.1, profile={"name": "toy"}, provenance={}
    )
    torch.nn.init.normal_(model.head.classes.weight)
    return model.eval()


def example(n: int = 2, seconds: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 19, 256 * seconds, generator=generator)
    return x, torch.full((n, 19), MEASURED), torch.eye(2)[torch.arange(n) % 2]


def silence(model: Classifier) -> None:
    """Let half of the heads, channels and keys, and the whole second block, be silent."""
    with torch.no_grad():
        for block in model.encoder.blocks:
            block.temporal.out.weight[:, 4:12] = 0  # heads 1 and 2 of 4, 4 wide
            block.mlp[2].weight[:, ::2] = 0
            block.spatial.query_key.weight.view(2, 4, 4, 16)[0, :, 1:3] = 0
            block.spatial.query_key.bias.view(2, 4, 4)[0, :, 1:3] = 0
        gone = model.encoder.blocks[1]
        for layer in (gone.temporal.out, gone.spatial.out, gone.mlp[2]):
            layer.weight.zero_()
            layer.bias.zero_()
        model.head.classes.weight[:, 5:11] = 0


def test_removing_silent_parts_changes_no_prediction(classifier: Classifier) -> None:
    silence(classifier)
    x, state, target = example()
    shape = Shape(blocks=2, temporal_heads=2, key_dim=2, mlp_dim=16, stem_dim=8, head_dim=5)
    wanted, _ = classifier(x, state)
    for scores in (magnitude_scores(classifier), taylor_scores(classifier, [(x, state, None, target)])):
        smaller = prune(classifier, shape, scores)
        torch.testing.assert_close(smaller(x, state)[0], wanted, atol=1e-5, rtol=1e-5)
        assert shape_of(smaller.config) == shape
        assert sum(p.numel() for p in smaller.parameters()) == n_parameters(with_shape(classifier.config, shape))


def test_a_narrower_stem_computes_what_the_kept_channels_computed(classifier: Classifier) -> None:
    scores = dict(magnitude_scores(classifier))
    scores["wide"], scores["stem_dim"] = torch.arange(4.0), torch.arange(8.0)  # keeps the last of each
    smaller = prune(classifier, replace(shape_of(classifier.config), stem_dim=3), scores)
    stem, x = classifier.encoder.stem, example()[0]
    with torch.no_grad():
        gelu = torch.nn.functional.gelu
        others = torch.randn(2, 4, 19, 19, generator=torch.Generator().manual_seed(2))
        first = stem.convs[0](torch.stack([x, torch.zeros_like(x)], 2).flatten(0, 1))
        mixed = torch.einsum("bmcd,bdmt->bcmt", others, first[:, :4].unflatten(0, (2, 19)))
        wide = gelu(stem.convs[1](torch.cat([gelu(first), mixed.flatten(0, 1)], 1)))[:, 3:]
        # 7 taps by steps of 4: one zero before, two behind
        padded = torch.nn.functional.pad(wide, (1, 2))
        third = torch.nn.functional.conv1d(padded, stem.convs[2].weight[5:, 3:], stem.convs[2].bias[5:], stride=4)
        wanted = gelu(third).transpose(1, 2).unflatten(0, (2, 19))
        patches, merged = smaller.encoder.stem(x, None, others)
        torch.testing.assert_close(patches, wanted, atol=1e-5, rtol=1e-5)
        columns = stem.merge.weight.reshape(16, 4, 8)[:, :, 5:].reshape(16, 12)
        difference = stem(x, None, others)[1] - stem.merge(
            stem(x, None, others)[0].reshape(*merged.shape[:3], -1)
        )  # the spectra
        wanted_merged = patches.reshape(*merged.shape[:3], -1) @ columns.T + stem.merge.bias + difference
        torch.testing.assert_close(merged, wanted_merged, atol=1e-4, rtol=1e-4)


def test_taylor_scores_are_the_slope_of_the_loss_along_a_gate(classifier: Classifier) -> None:
    x, state, target = example(1)
    scores = taylor_scores(classifier, [(x, state, None, target)])

    def slope(weight: torch.Tensor) -> float:
        losses = []
        original = weight.clone()
        for gate in (1.02, 0.98):
            with torch.no_grad():
                weight.copy_(original * gate)
                losses.append(-(target * classifier(x, state)[0].log_softmax(-1)).sum().item())
                weight.copy_(original)
        return abs(losses[0] - losses[1]) / 0.04

    for number, block in enumerate(classifier.encoder.blocks):
        gates = [block.temporal.out.weight.data[:, 4 * h : 4 * h + 4] for h in range(4)]
        assert scores["temporal_heads"][number].tolist() == pytest.approx(
            [slope(gate) for gate in gates], rel=2e-2, abs=2e-5
        )
        assert scores["mlp_dim"][number, 5].item() == pytest.approx(
            slope(block.mlp[2].weight.data[:, 5]), rel=2e-2, abs=2e-5
        )
    assert scores["wide"][3].item() == pytest.approx(
        slope(classifier.encoder.stem.convs[2].weight.data[:, 3]), rel=2e-2, abs=2e-5
    )
    assert scores["head_dim"][7].item() == pytest.approx(
        slope(classifier.head.classes.weight.data[:, 7]), rel=2e-2, abs=2e-5
    )
    with pytest.raises(ValueError, match="at least one window"):
        taylor_scores(classifier, [])


@pytest.mark.parametrize(
    ("method", "share"),
    [("mixed", 0.3), ("mixed", 0.4), ("heads", 0.05), ("mlp", 0.1), ("stem", 0.03), ("blocks", 0.2)],
)
def test_a_plan_removes_what_was_requested_and_little_more(
    classifier: Classifier, method: Method, share: float
) -> None:
    before = n_parameters(classifier.config)
    assert before == sum(p.numel() for p in classifier.parameters())
    shape = plan(classifier.config, method, share)
    removed = 1 - n_parameters(with_shape(classifier.config, shape)) / before
    assert share <= removed < share + 0.2  # a block is an eighth of this model
    untouched = {"mixed": "blocks", "heads": "mlp_dim", "mlp": "stem_dim", "stem": "key_dim", "blocks": "mlp_dim"}
    assert getattr(shape, untouched[method]) == getattr(shape_of(classifier.config), untouched[method])


def test_widths_that_are_not_given_come_from_the_width_of_the_trunk() -> None:
    assert EncoderConfig(dim=16, n_heads=4).widths == {"temporal_heads": 4, "mlp_dim": 64, "key_dim": 4}
    with pytest.raises(ValueError, match="temporal_heads=5 must be at least 1 and at most n_heads=4"):
        EncoderConfig(dim=16, n_heads=4, temporal_heads=5)


@pytest.mark.parametrize(
    ("method", "share", "match"),
    [
        ("heads", 0.9, r"method 'heads' can remove at most \d+% of this model's"),
        ("layers", 0.3, "unknown method 'layers'; methods are mixed, heads, mlp, stem, blocks"),
        ("mixed", 1.0, "share=1.0 must lie between 0 and 1"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(classifier: Classifier, method: Method, share: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        plan(classifier.config, method, share)


def test_nothing_grows(classifier: Classifier) -> None:
    shape = replace(shape_of(classifier.config), mlp_dim=33)
    with pytest.raises(ValueError, match="mlp_dim=33 must be at least 1, at most 32"):
        prune(classifier, shape, magnitude_scores(classifier))


def test_adapters_are_merged_first_or_kept_as_they_are(classifier: Classifier) -> None:
    shape = replace(shape_of(classifier.config), temporal_heads=2, mlp_dim=16)
    scores, x, state = magnitude_scores(classifier), *example()[:2]
    lora, narrow = copy.deepcopy(classifier), copy.deepcopy(classifier)
    add_adapters(lora, kind="lora", rank=2)
    with pytest.raises(ValueError, match="merge them first"):
        prune(lora, shape, scores)
    wanted = prune(classifier, shape, scores)(x, state)[0]
    merge_adapters(lora)
    torch.testing.assert_close(prune(lora, shape, scores)(x, state)[0], wanted)
    add_adapters(narrow, kind="bottleneck", rank=2)
    torch.testing.assert_close(prune(narrow, shape, scores)(x, state)[0], wanted)


def test_a_pruned_model_is_saved_loaded_and_pruned_again(classifier: Classifier, tmp_path: Path) -> None:
    shape = plan(classifier.config, "mixed", 0.4)
    smaller = prune(classifier, replace(shape, blocks=2), magnitude_scores(classifier))
    smaller.save_pretrained(tmp_path / "model")
    loaded = Classifier.from_pretrained(tmp_path / "model", local_files_only=True).eval()
    x, state, _ = example()
    torch.testing.assert_close(loaded(x, state)[0], smaller(x, state)[0])
    assert sum(p.numel() for p in loaded.parameters()) < 0.6 * sum(p.numel() for p in classifier.parameters())
    again = prune(loaded, plan(loaded.config, "blocks", 0.05), magnitude_scores(loaded))
    assert again.encoder.config.depth == 1
