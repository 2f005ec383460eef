import shutil

import numpy as np
import pytest

from serving.model import open_model, with_threads
from serving.runtime import run, windows_of_file
from signals.bundles.bundle import BundleError, load_bundle
from signals.bundles.inputs import wanted
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError
from synthetic.recordings.files import write_edf


@pytest.fixture(scope="module")
def model(served):
    return open_model(served.bundle)


@pytest.fixture(scope="module")
def array(served):
    recording = open_recording(str(served.edf))
    return np.asarray(recording.read(range(19), segment=0))


def close(ours, theirs):
    """ONNX Runtime's sums depend, in the last bits of float32, on where an array begins in memory."""
    return ours.class_probabilities == pytest.approx(theirs.class_probabilities, abs=1e-6)


def test_an_array_is_answered_as_the_file_that_holds_it(served, model, array):
    bundle = load_bundle(served.bundle)
    (window,) = windows_of_file(bundle, str(served.edf))
    assert np.array_equal(model.window_of_array(array).data, window.data)
    (of_file,) = run(bundle, [window])
    (of_array,) = model.answers([model.window_of_array(array)])
    assert close(of_array, of_file)
    assert of_array.predicted_class == of_file.predicted_class


def test_windows_for_the_graph_are_those_of_the_pipeline(served, model):
    (lean,) = windows_of_file(model.bundle, str(served.edf), want=wanted(model.bundle.graphs))
    from signals.bundles.inputs import windows_of_file as whole

    (full,) = whole(model.bundle.profile, str(served.edf))
    assert np.array_equal(lean.data, full.data)
    assert lean.features.shape[1] == 0 < full.features.shape[1]


def test_more_threads_give_the_same_answer(model, array):
    window = model.window_of_array(array)
    (one,), (two,) = model.answers([window]), with_threads(model, 2).answers([window])
    assert close(two, one)


def test_a_file_that_changes_later_changes_no_answer(served, array, tmp_path):
    shutil.copytree(served.bundle, tmp_path / "b")
    model = open_model(tmp_path / "b")
    (before,) = model.answers([model.window_of_array(array)])
    for file in tmp_path.glob("b/*.onnx"):
        file.write_bytes(b"gone")
    assert close(model.answers([model.window_of_array(array)])[0], before)
    with pytest.raises(BundleError, match="was changed after the export"):
        open_model(tmp_path / "b")


def test_a_file_swapped_between_check_and_reading_is_refused(served, tmp_path, monkeypatch):
    import serving.model

    shutil.copytree(served.bundle, tmp_path / "b")

    def swapped(path):
        bundle = load_bundle(path)
        for file in path.glob("*.onnx"):
            file.write_bytes(file.read_bytes() + b"x")
        return bundle

    monkeypatch.setattr(serving.model, "load_bundle", swapped)
    with pytest.raises(BundleError, match="changed while it was read"):
        open_model(tmp_path / "b")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda x: x[:, :9000], BundleError, "has 45 s, one window has 50 s: 10000 samples at 200 Hz"),
        (lambda x: x[:18], BundleError, "has 18 channels, 19 are named"),
        (lambda x: x * 1e6, UnreadableError, "implausible_amplitude"),
        (lambda x: x * np.nan, (BundleError, UnreadableError), "flat|missing|implausible|nothing"),
        (lambda x: x * 0, BundleError, "nothing to answer"),
    ],
)
def test_an_array_without_an_answer_is_refused(model, array, spoil, error, message):
    with pytest.raises(error, match=message):
        model.window_of_array(spoil(array))


def test_a_spectrogram_is_refused_by_a_model_that_reads_none(model, array):
    with pytest.raises(BundleError, match="reads no spectrogram: leave spectrogram_data out"):
        model.window_of_array(array, spectrogram=np.zeros((4, 100, 300), np.float32))


def test_a_hop_tiles_the_recording(model, array, tmp_path):
    long = np.concatenate([array, array[:, ::-1]], axis=1)  # 100 s
    names = model.bundle.modality.ch_names
    write_edf(tmp_path / "x.edf", [long], file_format="edf", ch_names=names, sfreq=200, patient="X",
              record_onsets_s=range(100))  # fmt: skip
    recording = open_recording(str(tmp_path / "x.edf"))
    hopped = list(model.windows(recording, source_sha256="ab" * 32, hop_s=10.0))
    assert [window.start_s for window in hopped] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    (first, last) = model.windows(recording, source_sha256="ab" * 32)
    assert np.array_equal(first.data, hopped[0].data)
    assert np.array_equal(last.data, hopped[5].data)


def test_rows_where_a_batch_would_decide_the_quantisation_run_one_by_one(model, array, monkeypatch):
    from dataclasses import replace

    import serving.model

    sizes = []

    def counted(bundle, windows, *, sessions):
        sizes.append(len(windows))
        return answer_batch(bundle, windows, sessions=sessions)

    answer_batch = serving.model.answer_batch
    monkeypatch.setattr(serving.model, "answer_batch", counted)
    window = model.window_of_array(array)
    model.answers([window] * 3)
    replace(model, bundle=replace(model.bundle, precision="int8-dynamic")).answers([window] * 3)
    assert sizes == [3, 1, 1, 1]
