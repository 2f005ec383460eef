"""Bundles written and read back field by field, and every way in which one can be damaged."""

import hashlib
import json

import numpy as np
import pytest

from signals.bundles.bundle import Bundle, BundleError, Graph, graph_fields, load_bundle, write_bundle
from signals.bundles.calibration import Calibration, Conformal
from signals.bundles.inputs import feed, model_input, windows_of_file, windows_of_shards
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.shards.records import as_stored
from signals.shards.writer import write_set
from signals.tasks import TASKS
from signals.windows.profiles import PRETRAIN, SIX_CLASS
from synthetic.recordings.files import write_edf
from tests.toy_shards import toy_window

GRAPH = Graph(
    file="member-0.onnx", name="conformer", normaliser=Normaliser(kind="window"), step_times=64, min_times=256,
    weights_sha256="a" * 64, inputs=("spectrogram",),
)  # fmt: skip
CALIBRATION = Calibration(
    temperature=1.5, conformal=Conformal(method="split", alpha=0.1, thresholds=(0.1, 0.2)), abstain_below=0.4,
    split_digest="d",
)  # fmt: skip


def fields(**changes):
    return {
        "kind": "ensemble", "precision": "int8-static", "task": {"name": "epilepsy"}, "modality": EEG_1020.to_dict(),
        "profile": PRETRAIN.to_dict(), "graphs": graph_fields((GRAPH,)), "combiner": "combiner.onnx",
        "calibration": CALIBRATION.to_dict(), "extra": 7,
    } | changes  # fmt: skip


@pytest.fixture
def written(tmp_path):
    return write(tmp_path / "bundle")


def write(path, **changes):
    def fill(folder):
        (folder / "member-0.onnx").write_bytes(b"network")
        (folder / "README.md").write_text("card")
        return fields(**changes)

    write_bundle(path, fill)
    return path


def test_everything_comes_back(written):
    bundle = load_bundle(str(written))
    assert bundle == Bundle(
        path=written, kind="ensemble", precision="int8-static", task=TASKS["epilepsy"], modality=EEG_1020,
        profile=PRETRAIN, graphs=(GRAPH,), combiner="combiner.onnx", calibration=CALIBRATION, about=bundle.about,
    )  # fmt: skip
    assert bundle.classes == ("Control", "Epilepsy")
    assert bundle.n_bytes == 7
    assert bundle.about["extra"] == 7
    assert bundle.about["files"] == {
        "README.md": hashlib.sha256(b"card").hexdigest(), "member-0.onnx": hashlib.sha256(b"network").hexdigest(),
    }  # fmt: skip


def test_an_encoder_has_no_classes(tmp_path):
    bundle = load_bundle(write(tmp_path / "b", task=None))
    assert bundle.task is None
    with pytest.raises(BundleError, match="holds an encoder"):
        _ = bundle.classes


def resealed(path, change):
    """Change bundle.json and give it a digest of its own."""
    about = json.loads((path / "bundle.json").read_text())
    del about["digest"]
    change(about)
    about["digest"] = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    (path / "bundle.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: (p / "bundle.json").unlink(), "is no bundle: it has no bundle.json"),
        (lambda p: (p / "bundle.json").write_text("{"), "bundle.json is damaged"),
        (lambda p: (p / "bundle.json").write_text("[]"), "bundle.json is damaged"),
        (lambda p: (p / "bundle.json").write_text('{"schema_version": 1}'), "schema version 1, this code reads 2"),
        (
            lambda p: (p / "bundle.json").write_text(
                (p / "bundle.json").read_text().replace('"extra": 7', '"extra": 8')
            ),
            "bundle.json was changed after the export",
        ),
        (lambda p: (p / "member-0.onnx").unlink(), "member-0.onnx is missing: export it again"),
        (lambda p: (p / "member-0.onnx").write_bytes(b"netwerk"), "member-0.onnx was changed after the export"),
        (lambda p: resealed(p, lambda a: a["task"].update(name="naps")), "is for the unknown task 'naps'"),
        (lambda p: resealed(p, lambda a: a.pop("combiner")), "does not fit this code: 'combiner'"),
        (lambda p: resealed(p, lambda a: a["graphs"][0].update(colour=1)), "does not fit this code"),
        (lambda p: resealed(p, lambda a: a["calibration"].update(temperature=0)), "does not fit this code"),
    ],
)
def test_damage_is_one_line(written, damage, says):
    load_bundle(written)
    damage(written)
    with pytest.raises(BundleError, match=says) as refused:
        load_bundle(written)
    assert "\n" not in str(refused.value)


def test_a_bundle_is_written_whole_or_not_at_all(tmp_path):
    def fill(folder):
        (folder / "member-0.onnx").write_bytes(b"x")
        raise RuntimeError("no graph")

    with pytest.raises(RuntimeError, match="no graph"):
        write_bundle(tmp_path / "b", fill)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "b")
    with pytest.raises(BundleError, match="exists already"):
        write(tmp_path / "b")


def windows(n, **changes):
    rng = np.random.default_rng(0)
    given = {"site": "a", "subject": "s", "label": "LPD", "window_s": 10.0} | changes
    return [toy_window(rng, number=k, **given) for k in range(n)]


def test_a_network_gets_what_training_saw():
    some = windows(2)
    for normaliser in (Normaliser(kind="subject", scales={"s": 50.0}), Normaliser(kind="site", scales={"a": 25.0})):
        signal, state = model_input(some, normaliser)
        assert (signal.dtype, signal.shape, state.dtype) == (np.float32, (2, 19, 2560), np.int64)
        for row, window in zip(signal, some, strict=True):
            stored = as_stored(window.data)
            np.testing.assert_array_equal(row, normaliser.apply(stored, window.ch_state, "s", "a"))
            scale = 50.0 if normaliser.kind == "subject" else 25.0
            np.testing.assert_allclose(row, np.clip(stored / scale, -20, 20), rtol=1e-6)
    np.testing.assert_array_equal(state[1], some[1].ch_state)
    both = Graph(**{**vars(GRAPH), "inputs": ("signal", "ch_state", "spectrogram")})
    with pytest.raises(BundleError, match="network conformer reads spectrograms, and the windows carry none"):
        feed(some, both)
    given = feed(windows(2, spectrogram=True), both)
    assert sorted(given) == ["ch_state", "signal", "spectrogram"]
    assert given["spectrogram"].shape == (2, 4, 100, 300)
    assert sorted(feed(some, Graph(**{**vars(GRAPH), "inputs": ("signal", "ch_state")}))) == ["ch_state", "signal"]


@pytest.mark.parametrize(
    ("n", "onsets"), [(None, [0, 10, 0, 10, 20]), (3, [0, 0, 20]), (1, [0]), (9, [0, 10, 0, 10, 20])]
)
def test_windows_spread_over_shard_sets(tmp_path, n, onsets):
    for name, count in (("x", 2), ("y", 3)):
        write_set(tmp_path / name, {"a": [windows(count)]}, profile=SIX_CLASS)
    found = windows_of_shards([tmp_path / "x", tmp_path / "y"], n_windows=n)
    assert [window.start_s for window in found] == onsets


def test_windows_of_a_file_are_those_of_the_pipeline(tmp_path):
    x = (20 * np.random.default_rng(0).standard_normal((19, 256 * 25))).astype(np.float32)
    path = tmp_path / "a.edf"
    write_edf(path, [x], file_format="edf", ch_names=list(EEG_1020.ch_names), sfreq=256, patient="Erika",
              record_onsets_s=list(range(25)))  # fmt: skip
    found = list(windows_of_file(PRETRAIN, str(path), mains_hz=60.0))
    assert [window.start_s for window in found] == [0.0, 10.0]
    assert {(window.site_id, window.subject_id) for window in found} == {("served", "served")}
    assert found[0].provenance.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
