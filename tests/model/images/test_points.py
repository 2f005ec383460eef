from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks.benches.parts.registry import true_points
from model.images.matching import NONE, TruePoints, count, match, total
from model.images.points import WAVES, PointConfig, PointNet, Points, create_ecg_vit_detr_model
from signals.modality import ECG_12
from signals.paper.layout import LAYOUTS
from synthetic.paper.beats import draw_beat, from_picture

TINY = {"image_px": 64, "width": 32, "depth": 1, "decoder_depth": 1, "n_queries": 10}


def exact(true, n_queries=10, order=None):
    """Return predictions that are right: query `order[i]` has point i, the others none."""
    n = len(true.wave_M)
    order = torch.arange(n) if order is None else order
    wave = torch.full((1, n_queries, len(WAVES) + 1), -20.0)
    wave[0, :, NONE] = 20.0
    wave[0, order] = -20.0
    wave[0, order, true.wave_M] = 20.0
    box, key, sure = (
        torch.full((1, n_queries, 4), 0.5),
        torch.full((1, n_queries, 2), 0.5),
        torch.full((1, n_queries), -20.0),
    )
    box[0, order], key[0, order], sure[0, order] = true.box_M4, true.key_M2, 20.0
    return Points(wave, box, key, sure)


def test_the_match_finds_each_point_whatever_the_order_of_queries():
    true = true_points(6, 0)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(2))[:6]
    query, point = match(exact(true, order=order), 0, true)
    assert order[point].tolist() == query.tolist()
    assert sorted(point) == list(range(6))


def test_a_right_prediction_costs_nothing_and_each_fault_costs():
    true = true_points(6, 1)
    right = float(total(exact(true), [true]))
    assert right < 1e-4
    for fault in ("wave_BQK", "box_BQ4", "key_BQ2", "confidence_BQ"):
        wrong = exact(true)
        getattr(wrong, fault)[0, 3] += 0.1 * torch.arange(getattr(wrong, fault)[0, 3].numel()).reshape(
            getattr(wrong, fault)[0, 3].shape) if fault.startswith(("box", "key")) else 0  # fmt: skip
        if fault == "wave_BQK":
            wrong.wave_BQK[0, 3] = wrong.wave_BQK[0, 3].flip(-1)
        if fault == "confidence_BQ":
            wrong.confidence_BQ[0, 3] *= -1
        assert float(total(wrong, [true])) > right + 0.1, fault


@pytest.mark.parametrize("n", [0, 1, 10])
def test_the_number_of_points_varies_and_gradients_stay_finite(n):
    torch.manual_seed(0)
    network = PointNet(PointConfig(**TINY))
    out = Points(*network(torch.rand(1, 3, 64, 64)))
    true = true_points(n, 0)
    assert len(match(out, 0, true)[0]) == n
    loss = total(out, [true]) / count([true])
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert network.confidence.weight.grad.abs().sum() > 0


def test_a_batch_is_the_sum_of_its_pictures():
    torch.manual_seed(0)
    network = PointNet(PointConfig(**TINY)).eval()
    images, true = torch.rand(2, 3, 64, 64), [true_points(3, 0), true_points(7, 1)]
    whole = total(Points(*network(images)), true)
    parts = [total(Points(*network(images[i : i + 1])), true[i : i + 1]) for i in (0, 1)]
    torch.testing.assert_close(whole, sum(parts))
    assert count(true) == 10


def test_a_saved_network_is_the_same_and_other_sources_are_refused(tmp_path):
    network = create_ecg_vit_detr_model(pretrained=False, **TINY).eval()
    network.save(tmp_path / "net")
    again = create_ecg_vit_detr_model(pretrained=tmp_path / "net").eval()
    image = torch.rand(1, 3, 64, 64)
    for a, b in zip(network(image), again(image), strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="there are no published weights"):
        create_ecg_vit_detr_model(pretrained=True)
    with pytest.raises(ValueError, match=r"has no config\.json and model\.safetensors"):
        create_ecg_vit_detr_model(pretrained=tmp_path)
    with pytest.raises(ValueError, match="has its own configuration"):
        create_ecg_vit_detr_model(pretrained=tmp_path / "net", width=64)
    (tmp_path / "net" / "config.json").write_text('{"image_px": 64, "width": 64}')
    with pytest.raises(ValueError, match="weights do not fit"):
        create_ecg_vit_detr_model(pretrained=tmp_path / "net")
    with pytest.raises(ValueError, match="not a multiple of patch_px"):
        PointConfig(image_px=100)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_five_queries_begin_in_each_lead_of_the_page_s_layout(layout, tmp_path):
    network = PointNet(PointConfig(image_px=64, width=16, depth=1, decoder_depth=1, layout=layout))
    starts = network.start_Q2.detach().sigmoid().tolist()
    leads = Counter(from_picture(x, y, layout)[0] for x, y in starts)
    assert leads == dict.fromkeys(ECG_12.ch_names, 5)
    network.save(tmp_path)
    assert create_ecg_vit_detr_model(pretrained=tmp_path).config.layout == layout


def test_a_page_of_another_layout_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"^layout='4x3' is none of 3x4, 6x2, 12x1$"):
        create_ecg_vit_detr_model(layout="4x3")
    with pytest.raises(ValueError, match=r"^layout='4x3' is none of 3x4, 6x2, 12x1$"):
        draw_beat(np.random.default_rng(0), "normal", layout="4x3")


def test_the_usual_size_is_512_pixels_and_60_queries():
    with torch.device("meta"):
        network = create_ecg_vit_detr_model()
    assert network.queries.weight.shape == (60, 256)
    assert network.places.shape[1] == 32 * 32
    assert isinstance(true_points(2, 0), TruePoints)
