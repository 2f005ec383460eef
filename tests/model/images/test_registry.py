import pytest
import torch

from benchmarks.benches.parts.registry import batch, disks, export_error, iou, losses, shapes, tiny
from model.images.backbones import IMAGE_NETWORKS, build
from model.images.mask2former import Mask2Former

SHAPES = {
    "classes": [(2, 3)], "mask": [(2, 1, 64, 64)], "points": [(2, 12, 6), (2, 12, 4), (2, 12, 2), (2, 12)],
    "signal": [(2, 32)], "instances": [(4,), (), (), (1, 64, 64)],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # the exporter's own, of shapes that it takes for constants
@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_an_entry_keeps_its_shapes_overfits_a_batch_and_exports(name, tmp_path):
    entry = IMAGE_NETWORKS[name]
    if reason := entry.unavailable():
        assert "\n" not in reason
        with pytest.raises(ValueError, match=f"network '{name}' cannot be built: torchvision does not"):
            build(name)
        return
    network = tiny(name)
    assert shapes(name, network) == SHAPES[entry.kind]
    first, last = losses(name, network)
    assert last < (0.8 if entry.kind == "mask" else 0.5) * first
    if entry.kind == "mask":
        assert iou(network) > 0.8
    if not entry.no_export:
        assert export_error(name, network, tmp_path / "network.onnx") < 1e-3


def test_what_has_no_onnx_form_gives_the_reason_in_one_line():
    reasons = {name: entry.no_export for name, entry in IMAGE_NETWORKS.items() if entry.no_export}
    assert set(reasons) == {"mask_rcnn"}  # an entry that is added exports, or is added here with its reason
    for reason in reasons.values():
        assert "\n" not in reason
        assert 20 < len(reason) < 120


def test_an_unknown_network_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="unknown network 'vgg'; networks are resnet, mobilenet_v2, vit"):
        build("vgg")


def test_a_picture_without_a_trace_has_a_finite_loss_and_a_batch_is_the_sum_of_its_pictures():
    torch.manual_seed(0)
    # All of the 16 x 16 places of a mask are looked at many times over: what is drawn hardly matters.
    network = build("mask2former", **{**IMAGE_NETWORKS["mask2former"].tiny, "n_points": 8192})
    assert isinstance(network, Mask2Former)
    x, mask = batch("mask2former"), disks()
    mask[1] = 0
    with torch.no_grad():
        whole, parts = network.loss_sum(x, mask), [network.loss_sum(x[i : i + 1], mask[i : i + 1]) for i in (0, 1)]
    torch.testing.assert_close(whole, sum(parts), rtol=0.02, atol=0.0)
    loss = network.loss_sum(x[1:], mask[1:])
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_widths_that_groups_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="width=40 is not a multiple of 32"):
        build("mask2former", width=40)
    with pytest.raises(ValueError, match="swin_width=48 is not a multiple of 32"):
        build("mask2former", swin_width=48)
