import json

import numpy as np
import pytest
import torch

from evaluation.scenarios.stress import read_stress, stress_curves
from model.classifier import Classifier, new_classifier
from model.encoder import Encoder
from model.encoder_config import sized
from model.supervised.supervised import new_network
from pipelines.preprocess import main as preprocess
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from signals.windows.profiles import SIX_CLASS as PROFILE
from studies import stress
from synthetic.synthesize import synthesize
from training.corpus.corpus import Corpus
from training.fitting.inference import predict


def save_model(folder, *, seen=()):
    torch.manual_seed(0)
    classifier = new_classifier(
        Encoder(sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16)), SIX_CLASS, EEG_1020,
        Normaliser(kind="window"), dropout=0.0, profile=PROFILE.to_dict(), provenance={"train_subjects": list(seen)},
    )  # fmt: skip
    with torch.no_grad():
        classifier.head.classes.weight *= 30
    classifier.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """Two sites of one synthetic patient each, their shards, and a model with random weights."""
    root = tmp_path_factory.mktemp("ward")
    labels = synthesize(root / "corpus", seed=3, subjects_per_site=1, segments_per_subject=2)
    inputs = [str(root / "corpus" / site) for site in ("northgate", "harbour")]
    args = ["--input", *inputs, "--labels", str(labels), "--output", str(root / "shards")]
    assert preprocess([*args, "--site-from", "folder", "--profile", "six-class", "--salt", "s"]) == 0
    save_model(root / "model")
    return root


def run(ward, *more, model="model", output="stress.parquet"):
    args = ["--model", str(ward / model), "--shards", str(ward / "shards"), "--input", str(ward / "corpus")]
    stress.main([*args, "--output", str(ward / output), *more])
    return read_stress(ward / output)


def test_level_0_is_the_plain_prediction_and_higher_levels_are_not(ward):
    made = run(ward, "--kinds", "channels removed", "gain error", "window shortened")
    shards = Corpus.open(ward / "shards")
    plain, _ = predict(Classifier.from_pretrained(ward / "model"), shards, range(len(shards.entries)), batch=2)
    by_key = {entry.key: row for row, entry in enumerate(shards.entries)}
    columns = [f"prob_{name}" for name in SIX_CLASS.classes]
    for name, rows in made.frame.groupby("stress"):
        whole = rows[rows["level"] == 0]
        expected = plain[[by_key[key] for key in whole["window_key"]]]
        np.testing.assert_array_equal(whole[columns].to_numpy(), expected)
        assert len(whole) == len(shards.entries) == 4
        for level in sorted(set(rows["level"]) - {0.0}):
            changed = rows[rows["level"] == level].set_index("window_key")[columns]
            same = whole.set_index("window_key").loc[changed.index, columns]
            assert np.abs(changed.to_numpy() - same.to_numpy()).max() > 1e-4, (name, level)
    assert set(made.frame[made.frame["stress"] == "window shortened"]["level"]) == {0.0, 2.0, 4.0, 6.0, 10.0, 20.0}


@pytest.mark.parametrize("name", ["resnet_gru", "efficientnet_scalogram", "efficientnet_small"])
def test_networks_are_disturbed_too(ward, capfd, name):
    torch.manual_seed(0)
    network = new_network(
        name, SIX_CLASS, EEG_1020, Normaliser(kind="window"), dropout=0.0, profile=PROFILE.to_dict(),
        provenance={"train_subjects": []},
    ).eval()  # fmt: skip
    network.save_pretrained(ward / name)
    if network.reads_spectrogram:
        with pytest.raises(SystemExit):
            run(ward, "--kinds", "gain error", model=name, output="none.parquet")
        assert "efficientnet_small reads spectrograms; stress disturbs samples" in capfd.readouterr().err
        return
    made = run(ward, "--kinds", "channels removed", model=name, output=f"{name}.parquet")
    assert set(made.frame["model"]) == {name}
    shards = Corpus.open(ward / "shards")
    plain, _ = predict(network, shards, range(len(shards.entries)), batch=2)
    by_key = {entry.key: row for row, entry in enumerate(shards.entries)}
    whole = made.frame[made.frame["level"] == 0]
    prob = whole[[f"prob_{cls}" for cls in SIX_CLASS.classes]].to_numpy()
    np.testing.assert_allclose(prob, plain[[by_key[key] for key in whole["window_key"]]], atol=1e-6)


def test_windows_without_an_answer_are_counted(ward):
    # 12 of 19 electrodes removed leaves 7; the profile asks for 8
    made = run(ward, "--kinds", "channels removed")
    assert made.meta["refused"] == {"channels removed": {"12 channels": {"too_few_channels": 4}}}
    assert 12.0 not in set(made.frame["level"])
    (curve,) = stress_curves(made, n_boot=10, seed=0)
    # The level stays on the page, without an answer.
    assert [(level.level, level.n_windows) for level in curve.levels][-2:] == [(8, 4), (12, 0)]
    assert curve.levels[-1].n_refused == 4


def test_the_undisturbed_chain_gives_the_same_answer(ward):
    opened = stress.Ward([ward / "model"], ward / "shards", [ward / "corpus"], per_site=None)
    for source in opened.sources:
        made = dict(opened.windows(source, lambda recording: recording))
        got = stress.predict_windows(opened.models[0], list(made.values()))
        expected, _ = predict(opened.models[0], opened.data.shards, opened.data.windows[list(made)])
        np.testing.assert_array_equal(got, expected)


def test_every_stress_runs_on_one_recording(ward):
    made = run(ward, "--recordings-per-site", "1")
    names = {
        "channels removed", "blink artifact", "muscle artifact", "pop artifact", "drift artifact", "mains hum 50 Hz",
        "mains hum 60 Hz", "gain error", "reference", "native rate", "window shortened",
    }  # fmt: skip
    assert set(made.frame["stress"]) == set(stress.stresses(PROFILE)) == names
    kinds = made.frame[made.frame["stress"] == "reference"].groupby("level")["level_name"].first()
    assert kinds.to_dict() == {0.0: "", 1.0: "Cz", 2.0: "average"}


def test_mistakes_are_reported_in_one_line(ward, capfd):
    subjects = sorted({entry.subject_id for entry in Corpus.open(ward / "shards").entries})
    save_model(ward / "knows-all", seen=subjects)
    other = ward / "elsewhere"
    other.mkdir()
    capfd.readouterr()  # the bar of saving a model
    for more, match in (
        (["--kinds", "rain"], "unknown stress 'rain'"),
        (["--input", str(other)], "none of the 2 recordings to predict is among the files"),
        (["--input", str(ward / "nowhere")], "does not exist"),
        (["--model"], "--model needs at least one value"),  # it ended in an IndexError
        (["--model", str(ward / "knows-all")], "trained on every subject of the shards"),
    ):
        with pytest.raises(SystemExit) as raised:
            run(ward, *more, output="none.parquet")
        assert raised.value.code == 2
        (line,) = capfd.readouterr().err.strip().splitlines()
        assert match in line
    assert not (ward / "none.parquet").exists()


def test_a_model_predicts_strangers_only(ward):
    shards = Corpus.open(ward / "shards")
    of_site = {entry.site_id: entry.subject_id for entry in shards.entries}
    save_model(ward / "knows-north", seen=[of_site["northgate"]])
    made = run(ward, "--kinds", "gain error", model="knows-north")
    assert set(made.frame["site_id"]) == {"harbour"}


def test_shards_of_other_settings_are_refused(ward, tmp_path):
    shards = tmp_path / "shards"
    labels = str(ward / "corpus" / "labels.csv")
    args = ["--input", str(ward / "corpus" / "harbour"), "--labels", labels, "--output", str(shards)]
    assert preprocess([*args, "--site-from", "folder", "--profile", "six-class", "--salt", "s"]) == 0
    manifest = json.loads((shards / "manifest.json").read_text())
    manifest["profile"]["h_freq"] = 40.0
    (shards / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="does not give the shards' windows"):
        stress.Ward([ward / "model"], shards, [ward / "corpus" / "harbour"], per_site=None)
