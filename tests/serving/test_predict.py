import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.export import export, load_models
from model.saved import load_task_model
from serving.predict import main
from serving.runtime import answer_batch, probabilities, recommendation, run, windows_of_file
from signals.bundles.bundle import BundleError, load_bundle, mark, write_bundle
from signals.bundles.calibration import Calibration
from signals.bundles.inputs import model_input, windows_of_shards
from synthetic.recordings.files import write_edf
from tests.serving.conftest import save_model


def torch_logits(folder, windows):
    model = load_task_model(folder)
    signal, ch_state = model_input(windows, model.normaliser)
    with torch.inference_mode():
        return model(torch.from_numpy(signal), torch.from_numpy(ch_state))[0].double()


def test_an_answer_holds_everything(served):
    bundle = load_bundle(served.bundle)
    (answer,) = run(bundle, windows_of_file(bundle, str(served.edf)))
    (window,) = windows_of_file(bundle, str(served.edf))
    wanted = (torch_logits(served.model, [window]) / 1.5).softmax(-1)[0].numpy()  # 1.5: the temperature
    np.testing.assert_allclose(list(answer.class_probabilities.values()), wanted, atol=1e-4)
    assert answer.predicted_class == bundle.classes[wanted.argmax()]
    assert answer.confidence == pytest.approx(wanted.max(), abs=1e-4)
    assert answer.uncertainty["total"] == pytest.approx(-(wanted * np.log(wanted)).sum(), abs=1e-3)
    assert (answer.uncertainty["aleatoric"], answer.uncertainty["epistemic"]) == (None, None)
    held = [name for name, p in zip(bundle.classes, wanted, strict=True) if p >= (0 if name == "Other" else 0.1)]
    assert list(answer.prediction_set) == held
    assert "research use only" in answer.clinical_recommendation


def test_an_ensemble_is_the_mean_of_its_members(served, second_model, tmp_path):
    agreement = export(load_models([served.model, second_model]), [served.shards], tmp_path / "b", n_windows=20)
    assert agreement.ok
    bundle, windows = load_bundle(tmp_path / "b"), list(windows_of_shards([served.shards], n_windows=5))
    assert (bundle.kind, len(bundle.graphs)) == ("ensemble", 2)
    members = [torch_logits(folder, windows).softmax(-1).numpy() for folder in (served.model, second_model)]
    mean_answer = answer_batch(bundle, windows)
    np.testing.assert_allclose(mean_answer.probabilities, np.mean(members, axis=0), atol=1e-4)
    np.testing.assert_allclose(
        mean_answer.uncertainty.total, mean_answer.uncertainty.aleatoric + mean_answer.uncertainty.epistemic
    )
    assert mean_answer.uncertainty.epistemic.max() > 0.01
    assert bundle.calibration.temperature == 1.0  # a member's calibration is not the ensemble's


@pytest.mark.parametrize(
    ("probs", "held", "says"),
    [
        ([0.15, 0.17, 0.17, 0.17, 0.17, 0.17], ("Seizure",), "abstains, its confidence is below 0.20"),
        ([0.5, 0.4, 0.0, 0.0, 0.0, 0.1], ("Seizure", "LPD"), "cannot tell apart Seizure, LPD"),
        ([0.9, 0.0, 0.0, 0.0, 0.0, 0.1], ("Seizure",), "possible Seizure"),
        ([0.12, 0.0, 0.0, 0.0, 0.0, 0.88], ("Other",), "Seizure is not ruled out"),
        ([0.02, 0.0, 0.0, 0.0, 0.0, 0.98], ("Other",), "no flag"),
    ],
)
def test_who_should_look(served, probs, held, says):
    answer = recommendation(load_bundle(served.bundle), np.array(probs), held)
    assert says in answer
    assert answer.endswith("(research use only)")
    assert answer.startswith("flag for expert review") == (says != "no flag")


def edf(path, names, seconds):
    rng = np.random.default_rng(0)
    data = np.cumsum(rng.normal(size=(len(names), seconds * 200)), axis=1)
    data = 20 * (data - data.mean(axis=1, keepdims=True)) / data.std()
    write_edf(path, [data], file_format="edf", ch_names=names, sfreq=200, patient="X", record_onsets_s=range(seconds))
    return path


@pytest.mark.parametrize(
    ("names", "seconds", "says"),
    [
        (["Fp1", "F3", "C3", "P3", "F7", "T3", "T5", "O1"], 1, "too_short"),
        (["EMG1", "EMG2"], 60, "no_eeg_channels"),
        (["Fp1", "F3", "C3"], 60, "too_few_channels"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(served, tmp_path, capsys, names, seconds, says):
    assert main([str(served.bundle), str(edf(tmp_path / "x.edf", names, seconds))]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_windows_of_another_length_or_montage_are_refused(served):
    bundle = load_bundle(served.bundle)
    (window,) = windows_of_shards([served.shards], n_windows=1)
    with pytest.raises(BundleError, match="a window has 1 s, the bundle takes 30 s or more, in steps of 1 s"):
        probabilities(bundle, [replace(window, data=window.data[:, :256])])
    with pytest.raises(BundleError, match="3 channels of eeg_1020, the bundle takes 19"):
        probabilities(bundle, [replace(window, data=window.data[:3], ch_state=window.ch_state[:3])])


def test_a_changed_number_in_bundle_json_is_noticed(served, tmp_path):
    import shutil

    shutil.copytree(served.bundle, tmp_path / "b")
    about = json.loads((tmp_path / "b" / "bundle.json").read_text())
    about["calibration"]["temperature"] = 0.5
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(about))
    with pytest.raises(BundleError, match="was changed after the export"):
        load_bundle(tmp_path / "b")
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(about | {"schema_version": 1}))
    with pytest.raises(BundleError, match="schema version 1, this code reads 2: export it again"):
        load_bundle(tmp_path / "b")


def test_a_bundle_names_no_subject(served):
    about = json.loads((served.bundle / "bundle.json").read_text())
    (member,) = about["provenance"]["members"]
    assert member["n_train_subjects"] == 2
    assert "train_subjects" not in member
    # Marks recognise a subject whose id is known; ids themselves stand nowhere.
    assert member["trained_on"] == sorted([mark("a"), mark("b")])
    assert not {"a", "b"} & set(member["trained_on"])
    assert load_bundle(served.bundle).trained_on == {mark("a"), mark("b")}


def test_a_graph_that_is_replaced_after_loading_is_never_run(served, tmp_path):
    shutil.copytree(served.bundle, tmp_path / "b")
    windows = list(windows_of_shards([served.shards], n_windows=2))
    before = probabilities(load_bundle(served.bundle), windows)
    save_model(tmp_path / "fresh", seed=77)  # of which no session is kept yet
    export(load_models([tmp_path / "fresh"]), [served.shards], tmp_path / "other", n_windows=24)
    # Loaded, answered, replaced: the session of the checked bytes goes on.
    bundle = load_bundle(tmp_path / "b")
    np.testing.assert_array_equal(probabilities(bundle, windows), before)
    shutil.copy(tmp_path / "other" / "model.onnx", tmp_path / "b" / "model.onnx")
    np.testing.assert_array_equal(probabilities(bundle, windows), before)
    # Replaced between loading and the first answer: refused.
    late = load_bundle(tmp_path / "other")
    (tmp_path / "other" / "model.onnx").write_bytes(b"another graph")
    with pytest.raises(BundleError, match="changed while it was read"):
        probabilities(late, windows)
    (tmp_path / "other" / "model.onnx").unlink()
    with pytest.raises(BundleError, match="is missing"):
        probabilities(late, windows)
    assert probabilities(load_bundle(served.bundle), windows).shape == before.shape


def test_without_a_threshold_the_model_never_abstains(served):
    bundle = load_bundle(served.bundle)
    unsure = np.full(6, 1 / 6)
    unsure[5] += 0.01
    never = replace(bundle, calibration=replace(bundle.calibration, abstain_below=None, conformal=None))
    always = replace(never, calibration=replace(never.calibration, abstain_below=1.0))
    assert "abstains" not in recommendation(never, unsure / unsure.sum(), None)
    assert "abstains, its confidence is below 1.00" in recommendation(always, unsure / unsure.sum(), None)
    assert Calibration.from_dict({"temperature": 2.0, "abstain_below": None}).abstain_below is None


def test_a_bundle_that_cannot_be_filled_leaves_nothing(tmp_path):
    def fill(folder):
        (folder / "model.onnx").write_bytes(b"half")
        raise BundleError("no")

    with pytest.raises(BundleError):
        write_bundle(tmp_path / "b", fill)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_provider_is_reported_with_code_3(served, capsys, monkeypatch):
    import onnxruntime

    from cerebeam.bench import main as bench

    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has TensorRT")
    monkeypatch.setenv("CEREBEAM_PROVIDER", "Tensorrt")
    for command in (lambda: main([str(served.bundle), str(served.edf)]), lambda: bench([str(served.bundle)])):
        assert command() == 3
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "has no TensorrtExecutionProvider" in err


def test_a_stacked_ensemble_predicts_by_its_meta_learner(served, second_model, tmp_path):
    from model.stacking import Stacker

    torch.manual_seed(0)
    stacker = Stacker(("encoder", "encoder"), 6).eval()
    with torch.no_grad():
        stacker.gate[-1].weight.normal_()
        stacker.sharpness_M.copy_(torch.tensor([0.5, -0.5]))
    stacker.save(tmp_path / "stacker")
    what = load_models([served.model, second_model], stacker=tmp_path / "stacker")
    export(what, [served.shards], tmp_path / "b", n_windows=10)
    bundle, windows = load_bundle(tmp_path / "b"), list(windows_of_shards([served.shards], n_windows=4))
    members = [torch_logits(folder, windows).softmax(-1) for folder in (served.model, second_model)]
    with torch.no_grad():
        wanted = stacker(torch.stack(members, 1).float())[0].exp().numpy()
    np.testing.assert_allclose(probabilities(bundle, windows), wanted, atol=1e-4)
    with pytest.raises(BundleError, match="stacks encoder, encoder; the models given are encoder"):
        load_models([served.model], stacker=tmp_path / "stacker")
    with pytest.raises(BundleError, match="holds no meta-learner"):
        load_models([served.model, second_model], stacker=tmp_path)
