import pytest

from benchmarks.benches.parts.registry import export_error, losses, shapes, tiny
from model.images.backbones import IMAGE_NETWORKS, build

SHAPES = {
    "classes": [(2, 3)], "mask": [(2, 1, 64, 64)], "points": [(2, 12, 6), (2, 12, 4), (2, 12, 2), (2, 12)],
    "signal": [(2, 32)],
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
    assert export_error(name, network, tmp_path / "network.onnx") < 1e-3


def test_an_unknown_network_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="unknown network 'vgg'; networks are resnet, mobilenet_v2, vit"):
        build("vgg")
