"""One window followed by name: file, reader, plan, window, record, shard, batch, model, bundle, answer."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from model.bundling.graphs import write_graph
from model.classifier import new_classifier
from model.encoder import Encoder
from model.encoder_config import sized
from model.export import export, load_models
from pipelines.preprocess import main as preprocess
from serving.runtime import probabilities, windows_of_file
from signals.bundles import inputs
from signals.bundles.bundle import BundleError, load_bundle
from signals.modality import EEG_1020
from signals.shards.manifest import read_manifest
from signals.shards.normalise import Normaliser
from signals.shards.records import as_stored, decode_window
from signals.shards.tfrecord import read_shard
from signals.tasks import SIX_CLASS
from signals.windows.profiles import SIX_CLASS as PROFILE
from synthetic.synthesize import synthesize
from training.corpus.corpus import Corpus


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A corpus, its shards, and a bundle of a small model with random weights."""
    root = tmp_path_factory.mktemp("house")
    labels = synthesize(root / "corpus", seed=3, subjects_per_site=1, segments_per_subject=2)
    args = ["--input", str(root / "corpus"), "--labels", str(labels), "--output", str(root / "shards")]
    assert preprocess([*args, "--site-from", "folder", "--profile", "six-class", "--salt", "s"]) == 0
    torch.manual_seed(0)
    classifier = new_classifier(
        Encoder(sized("tiny", dim=32, depth=1, stem_dim=16)), SIX_CLASS, EEG_1020, Normaliser(kind="robust"),
        dropout=0.1, profile=PROFILE.to_dict(), provenance={"manifest_digest": read_manifest(root / "shards").digest},
    ).eval()  # fmt: skip
    # Spread the logits, so that equal answers mean something.
    with torch.no_grad():
        classifier.head.classes.weight *= 30
    classifier.save_pretrained(root / "model")
    export(load_models([root / "model"]), [root / "shards"], root / "bundle", n_windows=8)
    return root, classifier


def recordings(root):
    return [
        path
        for site in ("northgate", "lakeside", "harbour", "hilltop")
        for path in sorted((root / "corpus" / site).iterdir())
    ]


def test_serving_prepares_the_pipelines_windows_bit_for_bit(house):
    root, _ = house
    stored = {}
    for shard in read_manifest(root / "shards").shards:
        for record in read_shard(root / "shards" / shard.path):
            window = decode_window(record)
            stored[window.key] = window
    bundle, n_found = load_bundle(root / "bundle"), 0
    for path in recordings(root):
        # The server prepares what its graphs read; masks and features are those of the same call with all of it.
        described = inputs.windows_of_file(bundle.profile, str(path))
        for window, whole in zip(windows_of_file(bundle, str(path)), described, strict=True):
            if window.key not in stored:  # the pipeline cuts at labels, the server tiles: gaps shift some of them
                continue
            twin, n_found = stored[window.key], n_found + 1
            for made in (window, whole):
                assert np.array_equal(as_stored(made.data), twin.data)
                assert np.array_equal(made.ch_state, twin.ch_state)
                assert made.provenance == twin.provenance
            assert np.array_equal(whole.artifact_mask, twin.artifact_mask)
            assert np.array_equal(whole.features, twin.features)
    assert n_found >= 4  # at least the first window of each of the four sites, in four file formats


def test_the_answer_is_the_trained_models(house):
    root, classifier = house
    bundle = load_bundle(root / "bundle")
    shards = Corpus.open(root / "shards")
    (path, *_) = recordings(root)
    (window, *_) = windows_of_file(bundle, str(path))
    (index,) = [i for i, entry in enumerate(shards.entries) if entry.key == window.key]
    batch = shards.batch([index], bundle.graphs[0].normaliser)
    with torch.inference_mode():
        logits, _ = classifier(torch.from_numpy(batch.x_BCT), torch.from_numpy(batch.ch_state_BC))
    assert np.abs(probabilities(bundle, [window])[0] - logits.softmax(-1)[0].numpy()).max() < 1e-4


def test_the_server_needs_neither_torch_nor_beam(house):
    root, _ = house
    code = (
        "import sys, serving.predict; code = serving.predict.main(sys.argv[1:]); "
        "heavy = {'torch', 'apache_beam', 'tensorflow', 'transformers', 'sklearn', 'mne'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or code)"
    )
    (path, *_) = recordings(root)
    command = [sys.executable, "-c", code, str(root / "bundle"), str(path), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    # 100 s hold six windows of 50 s; each is an answer about its middle 10 s, and these tile the time from 20 to 80 s.
    assert [(a["start_s"], a["stop_s"]) for a in answers] == [(10.0 * i, 10.0 * i + 50) for i in range(6)]
    assert [a["span_s"] for a in answers] == [[10.0 * i + 20, 10.0 * i + 30] for i in range(6)]
    for answer in answers:
        assert set(answer["class_probabilities"]) == set(SIX_CLASS.classes)
        assert sum(answer["class_probabilities"].values()) == pytest.approx(1.0)
        assert answer["predicted_class"] == max(answer["class_probabilities"], key=answer["class_probabilities"].get)
        assert answer["confidence"] == max(answer["class_probabilities"].values())
        assert "research use only" in answer["clinical_recommendation"]


@pytest.mark.parametrize("fault", ["changed byte", "missing file", "newer schema", "no bundle", "damaged"])
def test_a_faulty_bundle_is_refused_in_one_line(house, tmp_path, capsys, fault):
    import shutil

    from serving.predict import main

    root, _ = house
    shutil.copytree(root / "bundle", tmp_path / "bundle")
    model, about = tmp_path / "bundle" / "model.onnx", tmp_path / "bundle" / "bundle.json"
    says = {
        "changed byte": "was changed after the export", "missing file": "model.onnx is missing",
        "newer schema": "schema version 99", "no bundle": "is no bundle", "damaged": "is damaged",
    }[fault]  # fmt: skip
    if fault == "changed byte":
        raw = bytearray(model.read_bytes())
        raw[1000] ^= 1
        model.write_bytes(raw)
    elif fault == "missing file":
        model.unlink()
    elif fault == "newer schema":
        about.write_text(json.dumps(json.loads(about.read_text()) | {"schema_version": 99}))
    elif fault == "no bundle":
        about.unlink()
    else:
        about.write_text(about.read_text()[:100])
    assert main([str(tmp_path / "bundle"), str(recordings(root)[0])]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_file_that_cannot_be_read_is_one_line(house, tmp_path, capsys):
    from serving.predict import main

    root, _ = house
    (tmp_path / "x.edf").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert main([str(root / "bundle"), str(tmp_path / "x.edf")]) == 2
    assert capsys.readouterr().err.startswith("cerebeam predict: not_what_it_says")


def test_table_shows_every_class_and_states_what_it_is(house, capsys):
    from serving.predict import main

    root, _ = house
    assert main([str(root / "bundle"), str(recordings(root)[0])]) == 0
    spans, head, *rows = capsys.readouterr().out.splitlines()
    assert spans == "each answer is about the window's seconds 20 to 30 of 50 s, every 10 s"
    assert all(name in head for name in SIX_CLASS.classes)
    # 100 s hold six windows, a row each; below them the events, and what it is for.
    assert [row.split()[:2] for row in rows[:6]] == [[f"{s:.2f}", f"{s + 10:.2f}"] for s in range(20, 80, 10)]
    assert int(rows[6].split()[0]) == len(rows) - 8
    assert rows[-1].startswith("Research use only")


def test_export_refuses_a_graph_that_disagrees(house, tmp_path, monkeypatch):
    import model.export

    root, _ = house
    what = load_models([root / "model"])

    def wrong(exported, path):
        """Write the graph of a network whose last layer was changed after torch had predicted."""
        with torch.no_grad():
            exported.network.head.classes.bias[0] += 0.01
        write_graph(exported, path)
        with torch.no_grad():
            exported.network.head.classes.bias[0] -= 0.01

    monkeypatch.setattr(model.export, "write_graph", wrong)
    with pytest.raises(BundleError, match="disagrees with torch"):
        export(what, [root / "shards"], tmp_path / "bundle", n_windows=8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "output", "says"), [("nowhere", "new", "is no model"), ("model", "shards", "exists already")]
)
def test_export_refuses_bad_input(house, capsys, model, output, says):
    from model.export import main

    root, _ = house
    args = ["--model", str(root / model), "--shards", str(root / "shards"), "--output", str(root / output)]
    assert main(args) == 2
    assert says in capsys.readouterr().err
