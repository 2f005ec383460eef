import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.measures.metrics import kl_rows
from model import export
from model.classifier import Classifier
from model.saved import load_task_model
from model.supervised.supervised import new_network
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from training import finetune, prune
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled
from training.fitting.held_out import held_out_rows, score_model
from training.fitting.inference import predict
from training.recipes.compression import brief


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    write = request.getfixturevalue("write_shards")
    return write(tmp_path_factory.mktemp("six"), n_sites=2, n_subjects=3, n_windows=2, window_s=50.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A classifier that was trained on three of the subjects of `shards`."""
    write, folder = request.getfixturevalue("write_shards"), tmp_path_factory.mktemp("model")
    few = write(tmp_path_factory.mktemp("few"), n_sites=1, n_subjects=3, n_windows=2, window_s=50.0)
    finetune.main(["--tiny", "--shards", str(few), "--task", "six-class", "--no-encoder", "--output", str(folder)])
    return folder


def test_a_pruned_model_is_smaller_scored_on_others_and_can_be_shipped(
    model: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pruned"
    prune.main(["--tiny", "--model", str(model), "--shards", str(shards), "--share", "0.4", "--output", str(output)])
    printed = capsys.readouterr().out
    before, after = load_task_model(model), load_task_model(output)
    assert isinstance(after, Classifier)
    n_before, n_after = (sum(p.numel() for p in m.parameters()) for m in (before, after))
    assert 0.5 * n_before < n_after <= 0.6 * n_before
    assert (output / "model.safetensors").stat().st_size < 0.65 * (model / "model.safetensors").stat().st_size
    stages = after.config.provenance["pruning"]["stages"]
    assert [stage["name"] for stage in stages] == ["as it was", "pruned", "fine-tuned"]
    assert [stage["n_parameters"] for stage in stages] == [n_before, n_after, n_after]
    assert after.config.provenance["train_subjects"] == before.config.provenance["train_subjects"]
    data = labelled(Corpus.open(shards), SIX_CLASS)
    others = np.flatnonzero(~np.isin(data.subjects, before.config.provenance["train_subjects"]))
    assert {data.shards.entries[i].site_id for i in data.windows[others]} == {"site1"}
    for stage, one in ((stages[0], before), (stages[2], after)):
        prob, _ = predict(one, data.shards, data.windows[others])
        assert stage["score"]["kl"] == pytest.approx(kl_rows(data.targets[others], prob).mean(), rel=1e-5)
        assert stage["score"]["n_windows"] == len(others) == 6
    assert f"{n_after:,}" in printed
    assert "balanced accuracy lost" in printed
    bundle = tmp_path / "bundle"
    assert (
        export.main(["--model", str(output), "--shards", str(shards), "--output", str(bundle), "--parity-windows", "2"])
        == 0
    )
    assert (bundle / "model.onnx").is_file()


def test_training_subjects_of_another_salt_are_known_by_their_recordings(
    model: Path, shards: Path, tmp_path: Path
) -> None:
    other, output = tmp_path / "other", tmp_path / "pruned"
    shutil.copytree(model, other)
    config = json.loads((other / "config.json").read_text())
    trained, recordings = (config["provenance"][f"train_{what}"] for what in ("subjects", "recordings"))
    config["provenance"] |= {"train_subjects": ["x", "y", "z"], "train_recordings": recordings, "salt_id": "other"}
    (other / "config.json").write_text(json.dumps(config))
    prune.main(["--tiny", "--model", str(other), "--shards", str(shards), "--output", str(output)])
    about = load_task_model(output).config.provenance
    assert [stage["score"]["n_windows"] for stage in about["pruning"]["stages"]] == [6, 6, 6]  # site1 alone
    assert set(about["train_subjects"]) == {"x", "y", "z", *trained}
    assert about["train_recordings"] == recordings
    assert set(about["salt_id"].split("+")) == {"other", ""}
    # without its list of recordings nobody counts as unseen
    del config["provenance"]["train_recordings"]
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit) as raised:
        prune.main(["--tiny", "--model", str(other), "--shards", str(shards), "--output", str(tmp_path / "no")])
    assert raised.value.code == 2


def test_shards_of_other_signals_are_refused(
    model: Path, shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    slower = tmp_path / "slower"
    shutil.copytree(model, slower)
    config = json.loads((slower / "config.json").read_text())
    config["modality"]["sfreq"] = 128.0
    (slower / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit) as raised:
        prune.main(["--tiny", "--model", str(slower), "--shards", str(shards), "--output", str(tmp_path / "out")])
    assert raised.value.code == 2
    assert "of another sfreq: prepare recordings for the model" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_zeroed_weights_stay_and_it_is_reported_that_nothing_got_smaller(
    model: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "sparse"
    prune.main(
        ["--tiny", "--model", str(model), "--shards", str(shards), "--share", "0.5", "--method", "weights",
         "--test-sites", "site1", "--output", str(output)]
    )  # fmt: skip
    assert "none was removed: size and speed of the dense model are what they were" in capsys.readouterr().out
    weights = {
        name: p for name, p in load_task_model(output).named_parameters() if p.ndim > 1 and "embedding" not in name
    }
    zeros = sum(int((p == 0).sum()) for p in weights.values()) / sum(p.numel() for p in weights.values())
    assert zeros == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (["--share", "0.9", "--method", "heads"], "method 'heads' can remove at most"),
        (["--test-sites", "site0"], "3 subjects of the test sites site0 were trained on"),
        (["--test-sites", "nowhere"], "no labelled window is of site 'nowhere'; sites are site0, site1"),
        (["--model", "/nowhere"], "/nowhere is no model"),
        (["--method", "layers"], "layers"),
        (["--task", "eyes"], "was trained for task 'six-class', not 'eyes'"),
    ],
)
def test_mistakes_end_in_one_line_and_code_2(
    wrong: list[str], match: str, model: Path, shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = ["--tiny", "--model", str(model), "--shards", str(shards), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as raised:
        prune.main([*base, *wrong])
    assert raised.value.code == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert match in lines[0]
    assert not any(tmp_path.iterdir())


def test_a_model_that_saw_everybody_cannot_be_measured(make_toy_shards: Callable[..., Path]) -> None:
    data = labelled(Corpus.open(make_toy_shards(n_sites=1, n_subjects=2, n_windows=1, window_s=50.0)), SIX_CLASS)
    with pytest.raises(ValueError, match="nobody is left to measure on"):
        held_out_rows(data, trained=set(data.subjects.tolist()), sites=())


def test_networks_lose_single_weights_only(shards: Path, model: Path, tmp_path: Path) -> None:
    few = ["--shards", str(shards), "--task", "six-class", "--no-encoder", "--output", str(tmp_path / "net")]
    finetune.main(["--recipe", "eegnet", "--tiny", *few])
    network = load_task_model(tmp_path / "net")
    data = labelled(Corpus.open(shards), SIX_CLASS)
    command = prune.PruneCommand(model=tmp_path / "net", shards=shards, output=tmp_path / "out", config=brief())
    with pytest.raises(ValueError, match="is for encoders with a head; for this network there is 'weights'"):
        prune.cut(network, data, np.arange(4), command)
    assert score_model(network, data, np.arange(4)).n_windows == 4
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_a_resnet_gru_loses_channels_inside_its_blocks(shards: Path, tmp_path: Path) -> None:
    data = labelled(Corpus.open(shards), SIX_CLASS)
    modality = data.shards.manifest.modality
    network = new_network(
        "resnet_gru", SIX_CLASS, modality, Normaliser(kind="window"), dropout=0.1, profile={}, provenance={}
    )
    command = prune.PruneCommand(
        model=tmp_path, shards=shards, output=tmp_path, share=0.4, calibration_windows=4, config=brief()
    )
    smaller = prune.cut(network, data, np.arange(8), command)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (network, smaller)]
    assert sizes[1] <= 0.6 * sizes[0]
    assert score_model(smaller, data, np.arange(4)).n_windows == 4
    with pytest.raises(ValueError, match="there is 'mixed' and 'weights'"):
        prune.cut(network, data, np.arange(8), replace(command, method="heads"))
