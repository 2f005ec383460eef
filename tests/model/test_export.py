import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from transformers.utils.logging import enable_progress_bar

from model.bundling.graphs import OpenAttention, load_exportable, write_combiner, write_graph
from model.bundling.parity import SHAPES, Parity, compare, probes
from model.bundling.tracing import strip, trace
from model.encoder import Encoder
from model.encoder_config import sized
from model.supervised.supervised import new_network
from signals.bundles.bundle import BundleError
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS as TASK
from signals.windows.profiles import PROFILES, SIX_CLASS, SIX_CLASS_SPECTROGRAM

NETWORKS = {
    "eegnet": ({}, SIX_CLASS),
    "resnet_gru": ({"widths": (8, 8)}, SIX_CLASS),
    "efficientnet_small": ({"width": 0.1, "depth": 0.1, "image_size": (32, 32)}, SIX_CLASS_SPECTROGRAM),
    "efficientnet_scalogram": ({"width": 0.1, "depth": 0.1}, SIX_CLASS),
    "multimodal": ({"fields": ("age", "sex"), "dim": 16, "n_heads": 2, "widths": (6, 8, 8)}, SIX_CLASS),
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_answers_in_onnx_as_in_torch_after_it_was_saved(tmp_path, write_toy, name):
    options, profile = NETWORKS[name]
    torch.manual_seed(0)
    network = new_network(
        name, TASK, EEG_1020, Normaliser(kind="window"), dropout=0.1, profile=profile.to_dict(),
        provenance={"manifest_digest": "m"}, **options,
    ).eval()  # fmt: skip
    network.save_pretrained(tmp_path / "m")
    model = load_exportable(tmp_path / "m")
    shards = write_toy(tmp_path / "s", spectrogram=model.inputs == ("spectrogram",))
    write_graph(model, tmp_path / "m.onnx")
    probe = next(probes([model], [shards], n_windows=2))
    feed = {name: torch.from_numpy(value) for name, value in probe.feed(model).items()}
    with torch.inference_mode():
        args = (feed["signal"], feed["ch_state"]) if "signal" in feed else (None, None, feed["spectrogram"])
        before = network(*args, metadata_BF=feed.get("metadata"))[0]
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert np.isfinite(before.numpy()).all()
    np.testing.assert_allclose(session.run(["logits"], probe.feed(model))[0], before, atol=1e-4)
    found = compare([model], [tmp_path / "m.onnx"], probes([model], [shards], n_windows=20))
    assert found.ok, found


def test_probes_cover_every_shape_and_both_kinds(tmp_path, write_toy):
    shards = write_toy(tmp_path / "s")
    new_network("eegnet", TASK, EEG_1020, Normaliser(kind="window"), dropout=0.1, profile=SIX_CLASS.to_dict(),
                provenance={}).save_pretrained(tmp_path / "m")  # fmt: skip
    model = load_exportable(tmp_path / "m")
    looked_at = list(probes([model], [shards], n_windows=30))
    assert {probe.shape for probe in looked_at} == set(SHAPES)
    assert len({len(probe.data) for probe in looked_at}) >= 4
    lengths = {probe.shape: probe.data.shape[2] for probe in looked_at}
    assert 30 * 256 <= lengths["shorter"] <= 50 * 256 < lengths["longer"]
    fewer = np.concatenate([probe.ch_state for probe in looked_at if probe.shape == "fewer channels"])
    assert ((fewer == 0).sum(axis=1) >= 1).all()
    assert 0 < sum(probe.n_synthetic for probe in looked_at) < sum(len(probe.data) for probe in looked_at) >= 30


@pytest.mark.parametrize(
    ("difference", "differ", "ok"), [(1e-5, 0, True), (2e-4, 0, False), (0.0, 1, False), (float("nan"), 0, False)]
)
def test_the_gate(difference, differ, ok):
    gate = Parity(n_windows=200, n_synthetic=100, max_probability_difference=difference, decisions_differ=differ)
    assert gate.ok is ok


def test_open_attention_is_torchs():
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True).eval(), torch.randn(3, 5, 8)
    torch.testing.assert_close(OpenAttention(attention)(x)[0], attention(x, x, x, need_weights=False)[0])


def test_a_stripped_graph_discloses_nothing_of_this_machine(tmp_path, write_toy):
    new_network("eegnet", TASK, EEG_1020, Normaliser(kind="window"), dropout=0.1, profile=SIX_CLASS.to_dict(),
                provenance={}).save_pretrained(tmp_path / "m")  # fmt: skip
    write_graph(load_exportable(tmp_path / "m"), tmp_path / "m.onnx")
    assert b".py" not in (tmp_path / "m.onnx").read_bytes()
    before = (tmp_path / "m.onnx").read_bytes()
    strip(tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == before
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"))


def test_a_traced_graph_is_folded_and_holds_for_any_length(tmp_path):
    class Means(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 3)

        def forward(self, x):
            batch, n_chans, n_times = x.shape
            rows = x.reshape(batch, n_chans, n_times // 8, 8)
            return nn.functional.gelu(self.linear(rows)) * torch.eye(3).sum() / (n_times // 8)

    network, path = Means(), tmp_path / "m.onnx"
    free = {"x": {0: "batch", 2: "n_times"}, "y": {0: "batch"}}
    trace(network, (torch.randn(2, 4, 16),), path, inputs=("x",), outputs=("y",), free=free)
    x = torch.randn(5, 4, 72)
    (y,) = onnxruntime.InferenceSession(path).run(["y"], {"x": x.numpy()})
    np.testing.assert_allclose(y, network(x).detach().numpy(), atol=1e-6)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert [opset.domain for opset in model.opset_import] == [""]
    assert not {"Constant", "EyeLike", "If"} & {node.op_type for node in model.graph.node}
    passed = [name for node in model.graph.node for name in node.output if name != "y"]
    assert passed == [f"v{number}" for number in range(len(passed))]
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)  # layers are left in float by name


def test_a_meta_learner_as_a_graph(tmp_path):
    class Sharper(nn.Module):
        def forward(self, prob_BMK):
            mixed = prob_BMK.square().mean(1)
            return mixed.log(), prob_BMK.mean(2), prob_BMK * 2

    write_combiner(Sharper(), 3, 6, tmp_path / "c.onnx")
    prob = np.random.default_rng(0).dirichlet(np.ones(6), (5, 3)).astype(np.float32)
    (logits,) = onnxruntime.InferenceSession(tmp_path / "c.onnx").run(["logits"], {"probabilities": prob})
    np.testing.assert_allclose(logits, np.log(np.square(prob).mean(axis=1)), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"profile": {}}, "no profile"),
        ({"task": "weather"}, "unknown task 'weather'"),
        ({"model_type": "bert"}, "model of type 'bert'"),
        ({"network": "efficientnet_small", "options": NETWORKS["efficientnet_small"][0]}, "six-class-spectrogram"),
    ],
)
def test_what_cannot_be_exported_is_reported(tmp_path, change, says):
    name = change.get("network", "eegnet")
    new_network(name, TASK, EEG_1020, Normaliser(kind="window"), dropout=0.1, profile=SIX_CLASS.to_dict(),
                provenance={}, **NETWORKS[name][0]).save_pretrained(tmp_path / "m")  # fmt: skip
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(BundleError, match=says):
        load_exportable(tmp_path / "m")


def test_an_encoder_becomes_embeddings(tmp_path, write_toy, capsys):
    from model.export import main
    from serving.runtime import embed
    from signals.bundles.bundle import load_bundle
    from signals.bundles.inputs import windows_of_shards

    torch.manual_seed(0)
    encoder = Encoder(sized("tiny", dim=16, depth=1, stem_dim=16, n_heads=2)).eval()
    encoder.save_pretrained(tmp_path / "encoder")
    shards = write_toy(tmp_path / "s", window_s=10.0)
    manifest = shards / "manifest.json"
    fields = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(fields | {"profile": PROFILES["pretrain"].to_dict()}))
    args = ["--shards", str(shards), "--output", str(tmp_path / "b"), "--parity-windows", "20"]
    enable_progress_bar()  # as in a process of its own
    assert main(["--encoder", str(tmp_path / "encoder"), *args, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "Loading weights" not in err
    printed = json.loads(out)
    assert (printed["kind"], printed["output"]) == ("encoder", str(tmp_path / "b"))
    assert 0 <= printed["max_probability_difference"] < 1e-3
    bundle, windows = load_bundle(tmp_path / "b"), list(windows_of_shards([shards], n_windows=3))
    (first, *_) = embed(bundle, windows)
    assert (first.stop_s - first.start_s, len(first.representation)) == (10.0, 16)
    with pytest.raises(BundleError, match="no classes"):
        _ = bundle.classes
    assert main(["--encoder", str(tmp_path / "s"), *args[:-4], "--output", str(tmp_path / "c")]) == 2
    assert "is no model" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "b")
