from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.bundling.graphs import load_exportable, write_graph
from model.compression.narrowing import (
    DIRECTIONS,
    GATED,
    Widths,
    narrow,
    plan_widths,
    residual_blocks,
    width_scores,
    widths_of,
    with_widths,
)
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


def silence(model: Supervised, direction: int, units: torch.Tensor) -> None:
    """Set to zero what a GRU's units would become: their state then stays at zero."""
    gru, ends = model.network.gru, DIRECTIONS
    with torch.no_grad():
        for name in GATED:
            getattr(gru, name + ends[direction])[2 * gru.hidden_size + units] = 0


def n_parameters(model: Supervised) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("importance", ["taylor", "magnitude"])
def test_taking_channels_and_units_out_is_silencing_them(importance: str) -> None:
    whole = network()
    widths = plan_widths(whole, 0.3)
    assert widths.units < 24
    scores = width_scores(whole, importance, [example()])
    smaller = narrow(whole, widths, scores)
    masked = network()
    with torch.no_grad():
        for block, n, score_U in zip(residual_blocks(masked), widths.inner, scores.inner, strict=True):
            block.body[3].weight[:, score_U.argsort()[: len(score_U) - n]] = 0
        for direction, score_U in enumerate(scores.units):
            silence(masked, direction, score_U.argsort()[: len(score_U) - widths.units])
    x, state, _, _ = example()
    torch.testing.assert_close(smaller(x, state), masked(x, state), atol=1e-6, rtol=1e-5)
    assert (smaller(x, state)[0] - whole(x, state)[0]).abs().max() > 1e-4  # they were not silent before
    before, after = n_parameters(whole), n_parameters(smaller)
    assert 0.25 < after / before <= 0.7
    one_more = narrow(whole, Widths(tuple(n + 1 for n in widths.inner), widths.units + 1), scores)
    assert n_parameters(one_more) > 0.7 * before  # the plan takes no more than it must
    assert smaller.config.provenance == {"a": 1}


@settings(max_examples=8, deadline=None)
@given(
    units=st.integers(1, 24),
    again=st.integers(1, 24),
    n_times=st.sampled_from([768, 1024, 1536]),
    seed=st.integers(0, 2**32),
)
def test_any_units_taken_out_in_two_cuts_are_those_silenced(units: int, again: int, n_times: int, seed: int) -> None:
    again, generator = min(units, again), torch.Generator().manual_seed(seed)
    whole = network()
    model, masked, alive = whole, network(), [torch.arange(24), torch.arange(24)]
    for n in (units, again):
        size = widths_of(model).units
        scores = width_scores(model, "magnitude", [])
        scores = replace(scores, units=(torch.rand(size, generator=generator), torch.rand(size, generator=generator)))
        model = narrow(model, Widths(widths_of(whole).inner, n), scores)
        for direction, score_U in enumerate(scores.units):
            order = score_U.argsort()
            silence(masked, direction, alive[direction][order[: size - n]])
            alive[direction] = alive[direction][order[size - n :].sort().values]
    # gates of candidate, reset and update: inputs, earlier state, two biases each
    n_gru = 2 * 3 * again * (48 + again + 2)
    assert sum(p.numel() for p in model.network.gru.parameters()) == n_gru
    x = torch.randn(2, 19, n_times, generator=generator)
    state = torch.full((2, 19), MEASURED)
    torch.testing.assert_close(model(x, state), masked(x, state), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("importance", ["taylor", "magnitude"])
def test_silent_channels_and_units_go_first(importance: str) -> None:
    model = network()
    with torch.no_grad():
        for block in residual_blocks(model):
            block.body[3].weight[:, GONE] = 0
    silence(model, 0, GONE)
    silence(model, 1, GONE - 1)
    x, state, _, _ = example()
    smaller = narrow(model, Widths((12, 36, 36), 12), width_scores(model, importance, [example()]))
    torch.testing.assert_close(smaller(x, state)[0], model(x, state)[0], atol=1e-6, rtol=1e-5)


def test_scores_of_units_are_how_fast_the_loss_changes_as_they_fall_silent() -> None:
    model = network().double()
    x, state, _, target = (part if part is None else part[:1] for part in example())
    scores = width_scores(model, "taylor", [(x.double(), state, None, target.double())])

    def loss() -> float:
        with torch.no_grad():
            return -float((target * model(x.double(), state)[0].log_softmax(-1)).sum())

    before, step = loss(), 1e-6
    for direction, unit in ((0, 3), (1, 20)):
        rows = [getattr(model.network.gru, name + DIRECTIONS[direction]) for name in GATED]
        with torch.no_grad():
            for row in rows:
                row[2 * 24 + unit] *= 1 - step
        assert abs(loss() - before) / step == pytest.approx(float(scores.units[direction][unit]), rel=1e-3)
        with torch.no_grad():
            for row in rows:
                row[2 * 24 + unit] /= 1 - step


def test_scores_do_not_depend_on_batches_and_leave_frozen_weights_frozen() -> None:
    model = network()
    model.requires_grad_(False)
    x, state, _, target = example()
    together = width_scores(model, "taylor", [example()])
    apart = width_scores(model, "taylor", [(x[k : k + 1], state[k : k + 1], None, target[k : k + 1]) for k in range(3)])
    for a, b in zip((*together.inner, *together.units), (*apart.inner, *apart.units), strict=True):
        torch.testing.assert_close(a, b)
    assert not any(p.requires_grad for p in model.parameters())


def test_a_narrow_network_is_saved_loaded_and_narrowed_again(tmp_path) -> None:
    model = network()
    smaller = narrow(model, Widths((6, 12, 12), 7), width_scores(model, "magnitude", []))
    smaller.save_pretrained(tmp_path)
    again = Supervised.from_pretrained(tmp_path, local_files_only=True).eval()
    x, state, _, _ = example()
    assert torch.equal(again(x, state)[0], smaller(x, state)[0])
    assert widths_of(again) == Widths((6, 12, 12), 7)
    smallest = narrow(again, Widths((3, 6, 6), 2), width_scores(again, "magnitude", []))
    assert widths_of(smallest) == Widths((3, 6, 6), 2)


def test_a_narrow_network_as_a_graph_answers_other_batches_and_lengths(tmp_path) -> None:
    smaller = narrow(network(), Widths((6, 12, 12), 7), width_scores(network(), "magnitude", []))
    smaller.config.profile = {"name": "toy", "window_s": 4.0}
    smaller.save_pretrained(tmp_path / "m")
    write_graph(load_exportable(tmp_path / "m"), tmp_path / "g.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx")
    for n, n_times in ((1, 1024), (3, 1536)):
        x, state = torch.randn(n, 19, n_times), torch.full((n, 19), MEASURED)
        (logits,) = session.run(["logits"], {"signal": x.numpy(), "ch_state": state.numpy()})
        np.testing.assert_allclose(logits, smaller(x, state)[0].detach().numpy(), atol=1e-5)


def test_what_cannot_be_taken_out_is_refused() -> None:
    model = network()
    words = r"blocks and GRU can lose at most 7\d% of this model's [\d,]+ parameters, not 90%"
    with pytest.raises(ValueError, match=words):
        plan_widths(model, 0.9)
    with pytest.raises(ValueError, match="share=1 must lie"):
        plan_widths(model, 1)
    scores = width_scores(model, "magnitude", [])
    for wrong in (Widths((25, 48, 48), 24), Widths((24, 48, 48), 25), Widths((24, 48), 24), Widths((24, 48, 48), 0)):
        with pytest.raises(
            ValueError, match=r"must be at least 1 and at most Widths\(inner=\(24, 48, 48\), units=24\)"
        ):
            narrow(model, wrong, scores)
    with pytest.raises(ValueError, match="units=25 must be at least 1 and at most 24"):
        Supervised(with_widths(model.config, Widths((24, 48, 48), 25)))
    with pytest.raises(ValueError, match="needs at least one window"):
        width_scores(model, "taylor", [])
    with pytest.raises(ValueError, match="'eegnet' has no residual blocks"):
        widths_of(network("eegnet"))
