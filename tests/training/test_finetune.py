import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluation.audit.confounds import signal_columns
from evaluation.audit.exposure import exposure
from evaluation.schemas.origin import origin_of
from evaluation.schemas.predictions import Predictions, read_predictions
from model.classifier import Classifier, new_classifier
from model.encoder import Encoder
from model.saved import load_task_model
from signals.shards.normalise import Normaliser
from signals.shards.writer import write_set
from signals.tasks import SIX_CLASS, Task
from signals.window import MEASURED
from signals.windows.profiles import PRETRAIN, Profile
from signals.windows.profiles import SIX_CLASS as SIX_CLASS_PROFILE
from studies import loso, predict
from studies.engine import rows
from tests.toy_shards import toy_window
from training import finetune, pretrain
from training.corpus.corpus import Corpus
from training.corpus.frozen import FrozenTokens
from training.corpus.labelled import labelled, target_of, with_contrast
from training.fitting import fit, inference
from training.objectives.augment import mirror_order
from training.provenance import SUBJECTS_FILE
from training.recipes.finetuning import RECIPES

HARD = Task(name="hard", classes=("a", "b"), window_s=10.0)


@pytest.fixture(scope="module")
def long_shards(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    write = request.getfixturevalue("write_shards")
    return write(tmp_path_factory.mktemp("long"), n_sites=2, n_subjects=4, n_windows=3, window_s=50.0)


@pytest.fixture(scope="module")
def encoder_dir(toy_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("pretrained")
    pretrain.main(["--tiny", "--shards", str(toy_shards), "--output", str(output), "--max-steps", "1"])
    return output / "encoder"


def test_votes_come_before_labels() -> None:
    assert target_of("LPD", (1, 3, 0, 0, 0, 0), SIX_CLASS) == pytest.approx([0.25, 0.75, 0, 0, 0, 0])
    assert target_of("LPD", (), SIX_CLASS) == pytest.approx([0, 1, 0, 0, 0, 0])
    assert target_of("LPD", (0, 0, 0, 0, 0, 0), SIX_CLASS) == pytest.approx([0, 1, 0, 0, 0, 0])
    assert target_of("b", (5, 0), HARD) == pytest.approx([0, 1])
    assert target_of("rest", (), HARD) is None


def test_only_windows_of_the_task_count(toy_shards: Path, long_shards: Path) -> None:
    data = labelled(Corpus.open(long_shards), SIX_CLASS)
    assert data.has_votes
    assert data.targets.shape == (24, 6)
    with pytest.raises(ValueError, match="needs windows of 12800 samples"):
        labelled(Corpus.open(toy_shards), SIX_CLASS)
    with pytest.raises(ValueError, match="no window of .* has a label of task 'hard'; labels there: .*GPD"):
        labelled(Corpus.open(toy_shards), HARD)


@pytest.mark.parametrize(("profile", "hinted"), [(PRETRAIN, True), (SIX_CLASS_PROFILE, False)])
def test_tiles_without_any_label_hint_at_labels_with_an_onset(profile: Profile, hinted: bool, tmp_path: Path) -> None:
    window = toy_window(np.random.default_rng(0), site="a", subject="s", number=0, label="LPD", window_s=10.0)
    write_set(tmp_path / "shards", {"a": [iter([replace(window, label="", votes=())])]}, profile=profile)
    with pytest.raises(ValueError, match="labels there: ") as refused:
        labelled(Corpus.open(tmp_path / "shards"), HARD)
    assert ("preprocess --set windows=labelled" in str(refused.value)) == hinted


def test_a_site_of_one_class_teaches_the_site_and_is_left_out(long_shards: Path) -> None:
    data = labelled(Corpus.open(long_shards), SIX_CLASS)
    sites = np.array([data.shards.entries[i].site_id for i in data.windows])
    only_seizures = (sites != "site0") | (data.labels == data.labels[sites == "site0"][0])
    one_class = replace(data, windows=data.windows[only_seizures], targets=data.targets[only_seizures])
    kept = with_contrast(one_class)
    assert {data.shards.entries[i].site_id for i in kept.windows} == set(sites) - {"site0"}
    assert len(kept.windows) == len(kept.targets) == (sites != "site0").sum()
    alone = data.labels == data.labels[0]
    with pytest.raises(ValueError, match="no site has two classes"):
        with_contrast(replace(data, windows=data.windows[alone], targets=data.targets[alone]))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_trains(name: str, long_shards: Path, encoder_dir: Path, tmp_path: Path) -> None:
    finetune.main(
        ["--recipe", name, "--tiny", "--shards", str(long_shards), "--task", "six-class", "--encoder", str(encoder_dir),
         "--output", str(tmp_path)]
    )  # fmt: skip
    model = load_task_model(tmp_path)
    assert tuple(model.config.classes) == SIX_CLASS.classes
    assert model.normaliser.kind == "window"
    assert len(model.config.provenance["train_subjects"]) == 8
    if not isinstance(model, Classifier):
        assert model.config.network == RECIPES[name](tiny=True).model.name
        return
    assert model.head.span_tokens == (20, 30)
    pretrained = Encoder.from_pretrained(encoder_dir, local_files_only=True).state_dict()
    trained = model.encoder.state_dict()
    same = all(torch.equal(value, trained[key]) for key, value in pretrained.items())
    assert same == ("trunk" in RECIPES[name]().regularise.freeze)
    assert (tmp_path / "encoder").is_dir() != same
    if not same:
        check_kept_encoder(tmp_path / "encoder", model, before=encoder_dir)


def check_kept_encoder(folder: Path, model: Classifier, *, before: Path) -> None:
    """What has learnt is an encoder to start from, and names whom it and the one before it have seen."""
    kept = Encoder.from_pretrained(folder, local_files_only=True).state_dict()
    assert all(torch.equal(value, kept[key]) for key, value in model.encoder.state_dict().items())
    facts, former = (json.loads((one / SUBJECTS_FILE).read_text()) for one in (folder, before))
    assert set(facts["train"]) == {*former["train"], *model.config.provenance["train_subjects"]}
    assert set(facts["recordings"]) == {*former["recordings"], *model.config.provenance["train_recordings"]}
    assert (facts["task"], facts["salt_id"]) == ("six-class", former["salt_id"])


def test_leaving_sites_out_writes_honest_predictions(
    long_shards: Path, encoder_dir: Path, toy_shards: Path, tmp_path: Path
) -> None:
    output = tmp_path / "predictions.parquet"
    loso.main(
        ["--tiny", "--shards", str(long_shards), "--task", "six-class", "--encoder", str(encoder_dir), "--output",
         str(output)]
    )  # fmt: skip
    predictions = read_predictions(output)
    check_folds(predictions, long_shards)
    check_origin(predictions, long_shards, encoder_dir)
    check_final_model(predictions, long_shards, tmp_path)


def check_folds(predictions: Predictions, long_shards: Path) -> None:
    """Each site is left out once, and the prior is the mean label of the subjects that were trained on."""
    assert predictions.models == ("encoder", "prior")
    encoder, prior = predictions.of("encoder"), predictions.of("prior")
    assert len(encoder) == len(prior) == 24
    assert (encoder["fold"] == encoder["site_id"]).all()
    meta = predictions.meta
    assert meta["grouping"] == "site"
    for fold in meta["folds"]:
        assert not set(fold["train_subjects"]) & set(fold["test_subjects"])
        data = labelled(Corpus.open(long_shards), SIX_CLASS)
        rows = np.isin(data.subjects, fold["train_subjects"])
        expected = data.targets[rows].mean(axis=0)
        got = prior[prior["fold"] == fold["name"]][[f"prob_{c}" for c in SIX_CLASS.classes]].to_numpy()
        np.testing.assert_allclose(got, np.tile(expected, (12, 1)), atol=1e-6)


def check_origin(predictions: Predictions, long_shards: Path, encoder_dir: Path) -> None:
    """All that a report derives its sentences from comes from the run."""
    meta, encoder = predictions.meta, predictions.of("encoder")
    assert meta["pretrain_subjects"]
    assert meta["pretrain_overlap"] == len(set(meta["pretrain_subjects"]) & set(encoder["subject_id"]))
    assert len(meta["split_digest"]) == len(meta["manifest_digest"]) == 64
    pretrained = json.loads((encoder_dir / "pretrain_subjects.json").read_text())
    assert (meta["label_source"], meta["encoder"]) == ("synthetic", "pretrained")
    assert meta["pretrain_subjects"] == pretrained["train"]
    assert meta["pretrain_recordings"] == sorted(f"rec-{subject}" for subject in pretrained["train"])
    assert meta["pretrain_sites"] == sorted({subject.split("-")[0] for subject in pretrained["train"]})
    seen = exposure(encoder, predictions.origin)
    assert (seen.status, seen.n_recordings) == ("transductive", meta["pretrain_overlap"])
    assert list(encoder["hop_s"].unique()) == [50.0]  # three windows of 50 s, one behind the other
    assert encoder.groupby("recording_id")["start_s"].apply(sorted).iloc[0] == [0.0, 50.0, 100.0]
    of_window = {entry.key: number for number, entry in enumerate(Corpus.open(long_shards).entries)}
    window = Corpus.open(long_shards).window(of_window[encoder["window_key"].iloc[0]])
    known = signal_columns(window.data[window.ch_state == MEASURED], 256.0, h_freq=50.0)
    assert encoder.iloc[0][list(known)].to_dict() == pytest.approx(known)


def check_final_model(predictions: Predictions, long_shards: Path, tmp_path: Path) -> None:
    """The model of all sites predicts the same windows, and names what it was trained on."""
    meta = predictions.meta
    predict.main(
        ["--model", str(tmp_path / "final"), "--shards", str(long_shards), "--output", str(tmp_path / "p.parquet")]
    )
    again = read_predictions(tmp_path / "p.parquet")
    assert again.meta["train_overlap"] == 8
    assert again.meta["folds"][0]["train_recordings"] == again.meta["folds"][0]["test_recordings"]
    facts = ("label_source", "encoder", "pretrain_subjects", "pretrain_recordings", "pretrain_sites", "salt_id")
    assert {name: again.meta[name] for name in facts} == {name: meta[name] for name in facts}
    final = Classifier.from_pretrained(tmp_path / "final", local_files_only=True)
    shards = Corpus.open(long_shards)
    expected, _ = inference.predict(final, shards, range(24), batch=5)
    by_key = {entry.key: row for row, entry in enumerate(shards.entries)}
    frame = again.of("encoder")
    got = frame[[f"prob_{c}" for c in SIX_CLASS.classes]].to_numpy()
    np.testing.assert_allclose(got, expected[[by_key[key] for key in frame["window_key"]]], atol=1e-5)


def test_leaving_out_goes_on_after_the_last_finished_fold(
    long_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ["--tiny", "--shards", str(long_shards), "--task", "six-class", "--no-encoder"]
    loso.main([*base, "--output", str(tmp_path / "whole" / "p.parquet")])
    real, names = fit.Fitting.fit, []

    def stopped_in_the_second_fold(*args: Any, **kwargs: Any) -> Classifier | None:
        names.append(kwargs["name"])
        return None if len(names) == 2 else real(*args, **kwargs)

    monkeypatch.setattr(fit.Fitting, "fit", stopped_in_the_second_fold)
    output = tmp_path / "run" / "p.parquet"
    with pytest.raises(SystemExit) as raised:
        loso.main([*base, "--output", str(output)])
    assert raised.value.code == 75
    assert not output.exists()
    with pytest.raises(SystemExit) as raised:  # parts of another seed
        loso.main([*base, "--output", str(output), "--seed", "1"])
    assert raised.value.code == 2
    loso.main([*base, "--output", str(output)])
    assert names == ["without site0", "without site1", "without site1", "final"]
    columns = [f"prob_{c}" for c in SIX_CLASS.classes]
    whole, resumed = (read_predictions(path).of("encoder") for path in (tmp_path / "whole" / "p.parquet", output))
    assert (whole[columns].to_numpy() == resumed[columns].to_numpy()).all()
    assert (tmp_path / "run" / "folds" / "site1" / "model.safetensors").is_file()
    assert not (tmp_path / "run" / "p.parts").exists()


@pytest.mark.slow
def test_leaving_out_in_two_processes_changes_nothing(long_shards: Path, tmp_path: Path) -> None:
    base = ["--tiny", "--shards", str(long_shards), "--task", "six-class", "--no-encoder"]
    outputs = [tmp_path / jobs / "p.parquet" for jobs in ("1", "2")]
    for output in outputs:
        loso.main([*base, "--output", str(output), "--jobs", output.parent.name])
    columns = [f"prob_{c}" for c in SIX_CLASS.classes]
    one, two = (read_predictions(output).of("encoder")[columns].to_numpy() for output in outputs)
    assert (one == two).all()
    finals = [load_task_model(output.parent / "final").state_dict() for output in outputs]
    assert all(torch.equal(value, finals[1][name]) for name, value in finals[0].items())
    assert (outputs[1].parent / "final" / "calibration.json").is_file()


def test_subject_folds_with_hard_labels_and_no_encoder(make_toy_shards: Callable[..., Path], tmp_path: Path) -> None:
    shards = make_toy_shards(n_sites=1, n_subjects=4, n_windows=2, window_s=50.0, votes=False)
    loso.main(
        ["--tiny", "--shards", str(shards), "--task", "six-class", "--no-encoder", "--group", "subject", "--folds", "2",
         "--output", str(tmp_path / "p.parquet"), "--final", str(tmp_path / "model")]
    )  # fmt: skip
    predictions = read_predictions(tmp_path / "p.parquet")
    assert predictions.meta["encoder"] == "random"
    assert predictions.meta["pretrain_subjects"] == []
    assert len(predictions.meta["folds"]) == 2
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_hops_reach_to_the_next_labelled_window_and_no_further_than_a_window(long_shards: Path) -> None:
    data = labelled(Corpus.open(long_shards), SIX_CLASS)
    # Recording 0 keeps its windows at 0 and 100 s, recording 1 the one at 50 s; the profile's hop is 50 s.
    kept = replace(data, windows=data.windows[[0, 2, 4]], targets=data.targets[[0, 2, 4]])
    starts = [kept.shards.entries[i].start_s for i in kept.windows]
    assert starts == [0.0, 100.0, 50.0]
    assert rows.hops(kept, np.array([0, 1, 2])).tolist() == [50.0, 50.0, 50.0]
    near = {**kept.shards.manifest.profile, "hop_s": 10.0}
    kept.shards.manifest = replace(kept.shards.manifest, profile=near)
    assert rows.hops(kept, np.array([2, 0])).tolist() == [10.0, 50.0]


def test_an_encoder_that_lists_nobody_counts_as_unknown_not_as_not_pretrained(
    encoder_dir: Path, long_shards: Path, tmp_path: Path
) -> None:
    shutil.copytree(encoder_dir, tmp_path / "bare")
    (tmp_path / "bare" / "pretrain_subjects.json").unlink()
    meta = fit.pretraining_meta(fit.start_encoder(tmp_path / "bare", seed=0)[1])
    assert meta["pretrain_subjects"] is None
    assert origin_of(meta).pretrain_subjects is None
    assert fit.pretraining_meta(fit.start_encoder(None, seed=0)[1])["pretrain_subjects"] == []
    older = {"train": ["a"], "manifest_digest": "m"}  # written before recordings and sites were
    assert fit.pretraining_meta(older) == {"pretrain_subjects": ["a"], "pretrain_manifest_digest": "m"}


def test_members_of_which_one_does_not_state_its_pretraining_are_unknown_together() -> None:
    stated = {
        "pretrain_subjects": ["a"],
        "pretrain_recordings": ["r"],
        "pretrain_sites": ["x"],
        "pretrain_salt_id": "1",
    }
    none = {"pretrain_subjects": [], "pretrain_recordings": [], "pretrain_sites": []}
    both = predict.pretraining_meta_of([stated, none])
    assert (both["encoder"], both["pretrain_subjects"], both["pretrain_salt_id"]) == ("pretrained", ["a"], "1")
    assert predict.pretraining_meta_of([none])["encoder"] == "random"
    lost = predict.pretraining_meta_of([stated, {**stated, "pretrain_subjects": None}])
    assert (lost["encoder"], lost["pretrain_subjects"]) == ("unknown", None)


def test_a_head_on_a_frozen_encoder_distinguishes_the_toy_rhythms(long_shards: Path, tmp_path: Path) -> None:
    base = ["--shards", str(long_shards), "--task", "six-class", "--no-encoder", "--output", str(tmp_path)]
    finetune.main(
        [*base, "--recipe", "probe", "--schedule.epochs", "40", "--optim.batch", "4", "--optim.micro-batch", "4"]
    )
    data = labelled(Corpus.open(long_shards), SIX_CLASS)
    probabilities, _ = inference.predict(Classifier.from_pretrained(tmp_path), data.shards, data.windows)
    assert (probabilities.argmax(axis=1) == data.labels).mean() > 0.5  # chance is 1/6


def test_tokens_that_another_process_left_are_not_computed_again(
    long_shards: Path, encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = labelled(Corpus.open(long_shards), SIX_CLASS)
    encoder, _ = fit.start_encoder(encoder_dir, seed=0)
    classifier = new_classifier(
        encoder, SIX_CLASS, data.shards.manifest.modality, Normaliser(kind="window"), dropout=0.0, profile={},
        provenance={},
    ).eval()  # fmt: skip
    chosen = ([5, 0, 3, 0], [False, True, False, False])
    tokens, state = FrozenTokens(data.shards, classifier, exchange=tmp_path).batch(classifier, *chosen)
    computed: list[int] = []
    real = classifier.tokens
    monkeypatch.setattr(classifier, "tokens", lambda x, *more: computed.append(len(x)) or real(x, *more))
    again = FrozenTokens(data.shards, classifier, exchange=tmp_path).batch(classifier, *chosen)
    assert not computed
    assert torch.equal(again[0], tokens)
    assert torch.equal(again[1], state)
    with torch.no_grad():
        classifier.encoder.norm.weight.mul_(2)  # another encoder
    other, _ = FrozenTokens(data.shards, classifier, exchange=tmp_path).batch(classifier, *chosen)
    assert len(computed) == 4
    assert not torch.equal(other, tokens)


def test_kept_tokens_are_those_of_the_encoder(long_shards: Path, encoder_dir: Path) -> None:
    data = labelled(Corpus.open(long_shards), SIX_CLASS)
    encoder, _ = fit.start_encoder(encoder_dir, seed=0)
    classifier = new_classifier(
        encoder,
        SIX_CLASS,
        data.shards.manifest.modality,
        Normaliser(kind="window"),
        dropout=0.0,
        profile={},
        provenance={},
    ).eval()
    torch.nn.init.normal_(classifier.head.classes.weight)
    kept = FrozenTokens(data.shards, classifier)
    for _ in range(2):  # computed, then remembered
        expected = inference.predict(classifier, data.shards, data.windows, batch=24)
        got = inference.predict(classifier, data.shards, data.windows, batch=24, frozen=kept)
        np.testing.assert_allclose(got[0], expected[0], atol=1e-5)
    batch = data.shards.batch([0], classifier.normaliser)
    order = mirror_order(classifier.modality)
    mirrored, state = kept.batch(classifier, [0], [True])
    with torch.no_grad():
        direct = classifier.tokens(
            torch.from_numpy(batch.x_BCT[:, order]), torch.from_numpy(batch.ch_state_BC[:, order])
        )
    torch.testing.assert_close(mirrored, direct, atol=1e-4, rtol=1e-4)
    assert torch.equal(state, torch.from_numpy(batch.ch_state_BC[:, order]))


def test_encoder_of_other_code_is_refused(encoder_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(encoder_dir, tmp_path / "old")
    weights = load_file(tmp_path / "old" / "model.safetensors")
    del weights["stem.spectrum_SF"]
    save_file(weights, tmp_path / "old" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"does not fit this code's encoder: stem\.spectrum_SF"):
        fit.start_encoder(tmp_path / "old", seed=0)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (["--task", "seven-class"], "unknown task 'seven-class'"),
        (["--encoder", "/nowhere"], "/nowhere is no model"),
        (["--regularise.freeze", "stam"], "stam"),
    ],
)
def test_mistakes_end_in_one_line_and_code_2(
    wrong: list[str], match: str, long_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = ["--shards", str(long_shards), "--task", "six-class", "--no-encoder", "--output", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as raised:
        finetune.main([*base, *wrong])
    assert raised.value.code == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert match in lines[0]
    assert not (tmp_path / "run").exists()
