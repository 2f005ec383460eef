"""The public names: recordings and windows by one line each, shards for torch and TensorFlow, a transformer."""

import pickle
import subprocess
import sys

import mne
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

import cerebeam
from pipelines.preprocess import main as preprocess
from signals.modality import EEG_1020
from signals.readers.memory import to_raw
from signals.recording.recording import UnreadableError
from signals.shards.manifest import ManifestError, read_manifest
from signals.shards.records import as_stored, decode_window
from signals.shards.tfrecord import read_shard
from signals.sites.card import CardError
from synthetic.recordings.files import write_edf
from tests.toy_shards import write_toy_shards

NAMES = EEG_1020.ch_names


def eeg(seconds, *, sfreq=200, seed=0):
    x = np.random.default_rng(seed).normal(size=(19, seconds * sfreq)).cumsum(axis=1)
    return 20 * (x - x.mean(axis=1, keepdims=True)) / x.std()


@pytest.fixture(scope="module")
def edf(tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "night.edf"
    write_edf(path, [eeg(61)], file_format="edf", ch_names=NAMES, sfreq=200, patient="X", record_onsets_s=range(61))
    return path


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy_shards(tmp_path_factory.mktemp("toy") / "shards", n_sites=2, n_subjects=2, n_windows=3)


def test_names_are_imported_when_they_are_used():
    code = (
        "import sys, cerebeam\n"
        "heavy = {'torch', 'tensorflow', 'apache_beam', 'mne', 'sklearn', 'numpy', 'onnxruntime'}\n"
        "print(sorted(heavy & set(sys.modules)), sorted(set(cerebeam.__all__) - set(dir(cerebeam))))\n"
        "cerebeam.read, cerebeam.prepare, cerebeam.load\n"
        "print(sorted({'torch', 'tensorflow', 'apache_beam', 'sklearn', 'pandas'} & set(sys.modules)))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.splitlines() == ["[] []", "[]"]
    with pytest.raises(
        AttributeError, match="no attribute 'reed'; it has WindowEmbeddings, WindowFeatures, Windows, load"
    ):
        cerebeam.reed  # noqa: B018


def test_every_public_name_has_a_documented_home():
    for name in cerebeam.__all__:
        assert getattr(cerebeam, name).__doc__, name


def test_files_raws_and_arrays_are_the_same_recording(edf):
    of_file = cerebeam.read(edf)
    x = of_file.read(range(19))
    raw = to_raw(of_file)
    for again in (cerebeam.read(raw), cerebeam.read(x, ch_names=NAMES, sfreq=200.0), cerebeam.read(of_file)):
        np.testing.assert_allclose(again.read(range(19)), x, rtol=1e-5, atol=1e-4)
        assert again.ch_names == NAMES
    millivolts = cerebeam.read(x / 1e3, ch_names=NAMES, sfreq=200.0, unit="mV")
    np.testing.assert_allclose(millivolts.read([0]), x[:1], rtol=1e-5)
    assert cerebeam.read(mne.io.read_raw_edf(edf, verbose="error")).sfreqs[0] == 200


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (3, {}, TypeError, "int is no path, mne.io.Raw, array or Recording"),
        (np.zeros((2, 9)), {}, TypeError, "an array needs ch_names and sfreq"),
        (np.zeros((2, 9)), {"ch_names": ["C3"], "sfreq": 9.0}, ValueError, "not .n_chans, n_times. of 1 channels"),
        (np.zeros((1, 9)), {"ch_names": ["C3"], "sfreq": 9.0, "site_card": "x.yaml"}, TypeError, "a site card speaks"),
        ("nowhere.edf", {}, UnreadableError, "missing_file"),
        ("nowhere.edf", {"site_card": "none.yaml"}, CardError, "none.yaml does not exist"),
    ],
)
def test_what_is_no_recording_is_refused(source, options, error, message):
    with pytest.raises(error, match=message):
        cerebeam.read(source, **options)


def test_windows_are_those_of_the_pipeline(edf, tmp_path, capsys):
    windows = cerebeam.prepare(edf)  # both detect the mains
    assert preprocess(["--input", str(edf), "--output", str(tmp_path / "s"), "--salt", "x", "--profile",
                       "pretrain"]) == 0  # fmt: skip
    capsys.readouterr()
    (shard,) = (tmp_path / "s").glob("site=*/*.snappy")
    stored = {w.start_s: w for w in map(decode_window, read_shard(shard))}
    assert sorted(stored) == windows.start_s.tolist()
    for window in windows.windows:
        same = stored[window.start_s]
        np.testing.assert_array_equal(as_stored(window.data, window.sensor_types), same.data)
        np.testing.assert_array_equal(window.artifact_mask, same.artifact_mask)
        assert window.key == same.key
    assert windows.data.shape == (6, 19, 2560)
    assert windows.data.dtype == np.float32
    assert windows.ch_state.shape == (6, 19)
    assert (len(windows), windows.sfreq, windows.ch_names) == (6, 256.0, NAMES)


def test_windows_overlap_and_become_epochs(edf):
    windows = cerebeam.prepare(to_raw(cerebeam.read(edf)).drop_channels(["T3", "T4"]), hop_s=5.0, mains_hz=50)
    assert windows.start_s.tolist() == [5.0 * k for k in range(11)]
    epochs = windows.to_epochs()
    assert epochs.get_data().shape == (11, 19, 2560)
    assert set(epochs.info["bads"]) == {"T3", "T4"}
    assert epochs.events[:, 0].tolist() == [1280 * k for k in range(11)]
    c3 = epochs.get_data(picks="C3")[3, 0] * 1e6
    np.testing.assert_allclose(c3, windows.data[3, NAMES.index("C3")], rtol=1e-5)
    position = epochs.get_montage().get_positions()["ch_pos"]["O1"]
    assert position[1] < 0  # the back of the head


def test_an_unknown_profile_is_refused(edf):
    with pytest.raises(ValueError, match="profile='sleeep' is none of pretrain, six-class"):
        cerebeam.prepare(edf, profile="sleeep")
    with pytest.raises(UnreadableError, match="too_short"):
        cerebeam.prepare(eeg(5), ch_names=NAMES, sfreq=200.0)


def test_torch_and_tensorflow_read_what_the_shards_hold(toy):
    expected = [decode_window(record) for shard in read_manifest(toy).shards for record in read_shard(toy / shard.path)]
    dataset = cerebeam.torch_dataset(toy)
    assert len(dataset) == len(expected) == 12
    rows = [
        [dataset[k] for k in range(12)],
        [pickle.loads(pickle.dumps(dataset))[k] for k in range(12)],  # as a DataLoader's workers get it
        list(cerebeam.tf_dataset(toy).as_numpy_iterator()),
    ]
    for of_one in rows:
        for got, window in zip(of_one, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(got["signal"]), window.data)
            np.testing.assert_array_equal(np.asarray(got["ch_state"]), window.ch_state)
            np.testing.assert_allclose(np.asarray(got["votes"]), window.votes)
            for name in ("label", "subject_id", "site_id", "key"):
                value = got[name].decode() if isinstance(got[name], bytes) else got[name]
                assert value == getattr(window, name)


def test_a_data_loader_with_worker_processes_batches_it(toy):
    from torch.utils.data import DataLoader

    loader = DataLoader(cerebeam.torch_dataset(toy), batch_size=5, num_workers=1, multiprocessing_context="fork")
    batches = list(loader)
    assert [len(batch["key"]) for batch in batches] == [5, 5, 2]
    assert batches[0]["signal"].shape[:2] == (5, 19)


def test_sites_can_be_left_out_and_no_set_is_refused(toy, tmp_path):
    sites = sorted({shard.site_id for shard in read_manifest(toy).shards})
    rest = cerebeam.torch_dataset([toy], exclude_sites=sites[:1])
    assert {rest[k]["site_id"] for k in range(len(rest))} == set(sites[1:])
    with pytest.raises(ValueError, match="holds no windows"):
        cerebeam.torch_dataset(toy, exclude_sites=sites)
    for of in (cerebeam.torch_dataset, cerebeam.tf_dataset):
        with pytest.raises(ManifestError):
            of(tmp_path)


def test_features_stand_in_a_scikit_learn_pipeline():
    rng, times = np.random.default_rng(0), np.arange(512) / 256
    labels, people = np.repeat([0, 1], 12), np.tile(np.arange(6), 4)
    hz = np.where(labels, 10.0, 4.0)[:, None, None]
    x = 20 * np.sin(2 * np.pi * hz * times + rng.uniform(0, 6, (24, 3, 1))) + rng.normal(0, 2, (24, 3, 512))
    model = make_pipeline(cerebeam.WindowFeatures(sfreq=256.0), StandardScaler(), LogisticRegression())
    assert cross_val_score(model, x, labels, groups=people, cv=GroupKFold(3)).min() == 1.0
    shuffled = rng.permutation(labels)
    assert cross_val_score(model, x, shuffled, groups=people, cv=GroupKFold(3)).mean() < 0.85

    features = cerebeam.WindowFeatures(per_channel=False)
    assert features.get_params() == {"sfreq": 256.0, "per_channel": False}
    rows = features.fit_transform(x)
    check_is_fitted(features)
    assert rows.shape == (24, len(features.get_feature_names_out()))
    wide = cerebeam.WindowFeatures().fit(x)
    np.testing.assert_allclose(wide.transform(x).reshape(24, 3, -1).mean(axis=1), rows, rtol=1e-5, atol=1e-6)
    assert len(set(wide.get_feature_names_out())) == wide.transform(x).shape[1]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 512)), "not .n_windows, n_chans, n_times."),
        (np.full((1, 2, 512), np.nan), "NaN or infinity"),
        (np.zeros((1, 3, 512)), "windows have 3 channels, the transformer was fitted on 2"),
    ],
)
def test_features_refuse_what_are_no_windows(x, message):
    features = cerebeam.WindowFeatures().fit(np.ones((1, 2, 512)))
    with pytest.raises(ValueError, match=message):
        features.transform(x)
