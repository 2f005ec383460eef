"""A night's way from its file to a model: eyes, chin and heart beside the EEG."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from model.classifier import new_classifier
from model.encoder import Encoder
from model.encoder_config import sized
from model.export import export, load_models
from model.pretraining.pretraining import PretrainModel
from pipelines.preprocess import main as preprocess
from pipelines.shards import main as shards_command
from serving.runtime import probabilities
from signals.bundles.bundle import load_bundle
from signals.bundles.inputs import model_input, windows_of_file
from signals.description.features import FEATURES
from signals.modality import EEG_PSG
from signals.shards.normalise import Normaliser
from signals.shards.records import as_stored
from signals.tasks import TASKS
from signals.window import ABSENT, INTERPOLATED, MEASURED
from signals.windows.profiles import PSG
from studies.baselines.classical import band_powers, filled_features, stored_features
from studies.embed import representations
from synthetic.polysomnogram import polysomnogram, write_polysomnogram
from training.corpus.corpus import Corpus
from training.corpus.frozen import pooled
from training.corpus.labelled import labelled
from training.corpus.order import MicroBatch
from training.corpus.source import Source
from training.objectives.preparation import Preparation
from training.recipes.pretraining import eeg_tiny

STAGES = ("W", "N2", "N3", "REM")
BETWEEN = ("P3", "Fz", "Pz", "P4")
TEMPORAL = ("F7", "T3", "T5", "F8", "T4", "T6")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Two nights, and their shards under the profile psg."""
    root = tmp_path_factory.mktemp("psg")
    for number, stages in enumerate((STAGES, STAGES[::-1])):
        folder = root / "in" / f"site{number}"
        folder.mkdir(parents=True)
        night = polysomnogram(np.random.default_rng(number), stages=stages)
        write_polysomnogram(folder / f"night{number}.edf", night, patient=f"person-{number}")
    args = ["--input", str(root / "in"), "--output", str(root / "shards"), "--profile", "psg", "--salt", "s"]
    assert preprocess(args) == 0
    return root


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder(sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16))


def test_shards_hold_the_sensors_and_their_labels(house, capsys):
    shards = Corpus.open(house / "shards")
    assert shards.manifest.modality == EEG_PSG
    assert sorted(entry.label for entry in shards.entries) == sorted(STAGES * 2)
    presence = [site["presence"] for site in shards.manifest.counts["sites"].values()]
    assert [sum(site["measured"][row] for site in presence) for row in (0, 1, 19, 20, 21, 22)] == [8] * 6
    for entry in shards.manifest.subjects.values():
        # mV: a heart of 1 mV that beats once a second has an RMS of about 0.1; µV for the others.
        assert 0.05 < entry.moments.std[22] < 0.3
        assert entry.moments.std[19:22].min() > 3
        is_there = [name not in TEMPORAL for name in EEG_PSG.ch_names]
        assert (entry.moments.count == np.where(is_there, entry.moments.count[0], 0)).all()
        assert entry.moments.count[0] > 0
    assert shards_command(["verify", str(house / "shards")]) == 0
    assert shards_command(["show", str(house / "shards")]) == 0
    printed = capsys.readouterr().out
    assert "EOG1" in printed


def test_a_batch_has_a_row_for_each_sensor(house):
    shards = Corpus.open(house / "shards")
    batch = shards.batch(range(8), Normaliser(kind="robust"))
    assert batch.x_BCT.shape == (8, 23, 7680)
    assert batch.x_BCT.dtype == np.float32
    # Nine electrodes are recorded; between them four can be interpolated, those of the temporal lobes cannot.
    for name, states in zip(EEG_PSG.ch_names, batch.ch_state_BC.T, strict=True):
        state = ABSENT if name in TEMPORAL else INTERPOLATED if name in BETWEEN else MEASURED
        assert (states == state).all(), name
    rms = np.sqrt(np.square(batch.x_BCT).mean(axis=2))
    np.testing.assert_allclose(rms[:, 22], 1.0, rtol=1e-3)
    rem = [entry.label == "REM" for entry in batch.entries]
    assert rms[rem, 21].max() < 0.3 * rms[[entry.label == "W" for entry in batch.entries], 21].min()


def test_models_take_the_windows_as_they_are(house, encoder):
    shards = Corpus.open(house / "shards")
    data = labelled(shards, TASKS["sleep"])
    assert data.targets.shape == (8, 5)
    assert np.isfinite(representations(encoder, shards)).all()
    assert np.isfinite(pooled(data, encoder, [])).all()
    recipe = eeg_tiny()
    source = Source(corpus=shards, normaliser=Normaliser(kind="subject"), crop_times=1024, seed=(0, 1))
    prepare = Preparation(sfreq=256.0, masks=recipe.masks, seed=(0, 1))
    batch = prepare(source.raw(MicroBatch(windows=(0, 1), samples=(0, 1), n_times=1024)))
    assert batch["sensor_type_BC"][0].tolist() == [0] * 19 + [1, 1, 2, 3]
    assert not batch["mask_BCT"][:, 19:].any()
    torch.manual_seed(0)
    model = PretrainModel(encoder, recipe.objective.weights)
    assert all(torch.isfinite(total) for total in model(batch).values())


def test_classical_models_see_every_row_but_average_over_eeg(house):
    shards = Corpus.open(house / "shards")
    n, windows = len(FEATURES), np.arange(8)
    stored = stored_features(shards, windows)
    by_channel = np.stack([shards.window(i).features for i in windows])
    by_channel[np.stack([shards.window(i).ch_state == ABSENT for i in windows])] = np.nan
    np.testing.assert_array_equal(stored[:, : 23 * n].reshape(8, 23, n), by_channel)
    np.testing.assert_allclose(stored[:, 23 * n : 24 * n], np.nanmean(by_channel[:, :19], axis=1), rtol=1e-4, atol=1e-4)
    assert np.isfinite(filled_features(shards, windows)).all()
    assert np.isfinite(band_powers(shards, windows)).all()
    # The ECG's features are of µV as their names say.
    assert 50 < by_channel[0, 22, FEATURES.index("std")] < 300


def test_the_server_prepares_the_same_night(house):
    shards = Corpus.open(house / "shards")
    stored = {entry.key: shards.window(i) for i, entry in enumerate(shards.entries)}
    windows = list(windows_of_file(PSG, str(house / "in" / "site0" / "night0.edf")))
    assert len(windows) == len(STAGES)
    for window in windows:
        twin = stored[window.key]
        assert np.array_equal(as_stored(window.data, window.sensor_types), twin.data)
        for name in ("ch_state", "artifact_mask", "quality", "features"):
            assert np.array_equal(getattr(window, name), getattr(twin, name)), name
        assert not (window.ch_state[19:] == ABSENT).any()
    normaliser = Normaliser(kind="robust")
    signal, ch_state = model_input(windows, normaliser)
    numbers = [i for window in windows for i, entry in enumerate(shards.entries) if entry.key == window.key]
    batch = shards.batch(numbers, normaliser)
    assert np.array_equal(signal, batch.x_BCT)
    assert np.array_equal(ch_state, batch.ch_state_BC)


@pytest.mark.slow  # the export alone takes ten seconds
def test_a_bundle_answers_as_the_model_does(house, encoder):
    shards = Corpus.open(house / "shards")
    torch.manual_seed(0)
    classifier = new_classifier(
        encoder, TASKS["sleep"], EEG_PSG, Normaliser(kind="robust"), dropout=0.0, profile=PSG.to_dict(),
        provenance={"manifest_digest": shards.manifest.digest},
    ).eval()  # fmt: skip
    with torch.no_grad():
        classifier.head.classes.weight *= 30
    classifier.save_pretrained(house / "model")
    export(load_models([house / "model"]), [house / "shards"], house / "bundle", n_windows=2)
    bundle = load_bundle(house / "bundle")
    windows = list(windows_of_file(PSG, str(house / "in" / "site0" / "night0.edf")))
    numbers = [i for window in windows for i, entry in enumerate(shards.entries) if entry.key == window.key]
    batch = shards.batch(numbers, classifier.normaliser)
    with torch.inference_mode():
        logits, _ = classifier(torch.from_numpy(batch.x_BCT), torch.from_numpy(batch.ch_state_BC))
    assert np.abs(probabilities(bundle, windows) - logits.softmax(-1).numpy()).max() < 1e-4


def test_real_recordings_bring_the_sensors_that_they_have(real, tmp_path):
    files = ("kyiv-eegmat/Subject00_2.edf", "boston-iiic-sparcnet/GPD_sample1.mat", "sandiego-eeglab/eeglab_data.set",
             "sandiego-eeglab/eeglab_data.fdt")  # fmt: skip
    for name in files:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(real / name, tmp_path / "in" / name)
    args = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "shards"), "--profile", "pretrain"]
    cards = str(Path(__file__).parents[2] / "docs" / "sites")
    assert preprocess([*args, "--set", "modality=eeg_psg", "--salt", "s", "--site-card", cards]) == 0
    shards = Corpus.open(tmp_path / "shards")
    batch = shards.batch(range(len(shards.entries)), Normaliser(kind="robust"))
    assert batch.x_BCT.shape == (6 + 5 + 23, 23, 2560)
    assert np.isfinite(batch.x_BCT).all()
    sites = np.array([entry.site_id for entry in batch.entries])
    for site, there in (
        ("kyiv-eegmat", [0, 0, 0, 1]), ("boston-iiic-sparcnet", [0, 0, 0, 1]), ("sandiego-eeglab", [1, 1, 0, 0])
    ):  # fmt: skip
        state = batch.ch_state_BC[sites == site, 19:]
        assert (state == np.array(there) * MEASURED).all(), site
        x_BCT = batch.x_BCT[sites == site, 19:]
        assert not x_BCT[:, np.array(there) == 0].any()
        assert (x_BCT[:, np.array(there) == 1].std(axis=2) > 0.1).all()
    # The beats of a resting heart stand out of the row, and none is clipped.
    heart = batch.x_BCT[sites == "kyiv-eegmat", 22]
    assert (heart.max(axis=1) > 3).all()
    assert np.abs(heart).max() < 20
