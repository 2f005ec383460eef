import pytest
import torch

from model.compression.narrowing import channel_scores, inner_widths, narrow, plan_inner, residual_blocks
from model.supervised.supervised import Supervised, new_network
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import TASKS, Task
from signals.window import MEASURED

TASK = Task(name="eyes", classes=TASKS["eyes"].classes, window_s=4.0)
GONE = torch.arange(1, 24, 2)
"""Every other channel of the narrowest block."""


def network(name: str = "resnet_gru") -> Supervised:
    torch.manual_seed(0)
    made = new_network(
        name, TASK, EEG_1020, Normaliser(kind="window"), dropout=0.1, profile={"name": "toy"}, provenance={"a": 1}
    )
    with torch.no_grad():  # running averages that are not 0 and 1
        for buffer_name, buffer in made.named_buffers():
            if buffer_name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn(buffer.shape))
            elif buffer_name.endswith("running_var"):
                buffer.copy_(0.1 + torch.rand(buffer.shape))
    return made.eval()


def example(n: int = 3) -> tuple[torch.Tensor, torch.Tensor, None, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 19, 1024, generator=generator)
    return x, torch.full((n, 19), MEASURED), None, torch.eye(2)[torch.arange(n) % 2]


@pytest.mark.parametrize("importance", ["taylor", "magnitude"])
def test_taking_channels_out_is_silencing_them(importance: str) -> None:
    whole = network()
    inner = plan_inner(whole, 0.3)
    scores = channel_scores(whole, importance, [example()])
    smaller = narrow(whole, inner, scores)
    masked = network()
    with torch.no_grad():
        for block, n, score_U in zip(residual_blocks(masked), inner, scores, strict=True):
            block.body[3].weight[:, score_U.argsort()[: len(score_U) - n]] = 0
    x, state, _, _ = example()
    torch.testing.assert_close(smaller(x, state)[0], masked(x, state)[0], atol=1e-6, rtol=1e-5)
    assert (smaller(x, state)[0] - whole(x, state)[0]).abs().max() > 1e-4  # they were not silent before
    before, after = (sum(p.numel() for p in model.parameters()) for model in (whole, smaller))
    assert 0.25 < after / before <= 0.7
    one_more = narrow(whole, [n + 1 for n in inner], scores)
    assert sum(p.numel() for p in one_more.parameters()) > 0.7 * before  # the plan takes no more than it must
    assert smaller.config.provenance == {"a": 1}


@pytest.mark.parametrize("importance", ["taylor", "magnitude"])
def test_silent_channels_go_first(importance: str) -> None:
    model = network()
    with torch.no_grad():
        for block in residual_blocks(model):
            block.body[3].weight[:, GONE] = 0
    x, state, _, _ = example()
    smaller = narrow(model, [12, 36, 36], channel_scores(model, importance, [example()]))
    torch.testing.assert_close(smaller(x, state)[0], model(x, state)[0], atol=1e-6, rtol=1e-5)


def test_a_narrow_network_is_saved_loaded_and_narrowed_again(tmp_path) -> None:
    model = network()
    smaller = narrow(model, [6, 12, 12], channel_scores(model, "magnitude", []))
    smaller.save_pretrained(tmp_path)
    again = Supervised.from_pretrained(tmp_path, local_files_only=True).eval()
    x, state, _, _ = example()
    assert torch.equal(again(x, state)[0], smaller(x, state)[0])
    assert inner_widths(again) == [6, 12, 12]
    assert inner_widths(narrow(again, [3, 6, 6], channel_scores(again, "magnitude", []))) == [3, 6, 6]


def test_what_cannot_be_taken_out_is_refused() -> None:
    model = network()
    with pytest.raises(ValueError, match=r"blocks can lose at most 6\d% of this model's [\d,]+ parameters, not 90%"):
        plan_inner(model, 0.9)
    with pytest.raises(ValueError, match="share=1 must lie"):
        plan_inner(model, 1)
    scores = channel_scores(model, "magnitude", [])
    with pytest.raises(ValueError, match=r"inner=\[25, 48, 48\] must be at least 1 and at most \[24, 48, 48\]"):
        narrow(model, [25, 48, 48], scores)
    with pytest.raises(ValueError, match="needs at least one window"):
        channel_scores(model, "taylor", [])
    with pytest.raises(ValueError, match="'eegnet' has no residual blocks"):
        inner_widths(network("eegnet"))
