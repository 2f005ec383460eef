from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.scenarios.transfer import seeds_of, transfer_table
from evaluation.schemas.predictions import read_predictions
from model.encoder import Encoder
from model.encoder_config import sized
from signals.tasks import SIX_CLASS
from studies import transfer
from studies.baselines import candidates as methods
from studies.baselines.candidates import DEFAULT, METHODS, N_CANDIDATES, TRIVIAL, Bench, Method, prior
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled
from training.corpus.splits import check_classes, subject_folds
from training.recipes.sections import changed


@pytest.fixture(scope="module")
def shards(tmp_path_factory, request):
    write = request.getfixturevalue("write_shards")
    return write(tmp_path_factory.mktemp("toy"), n_sites=2, n_subjects=4, n_windows=3, window_s=50.0)


@pytest.fixture(scope="module")
def encoder_dir(tmp_path_factory):
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("encoder")
    Encoder(sized("tiny", dim=16, depth=2, n_heads=2, stem_dim=16)).save_pretrained(folder)
    return folder


def run(shards, output, *more):
    transfer.main(["--shards", str(shards), "--task", "six-class", "--output", str(output), *more])
    return read_predictions(output)


def test_every_method_stands_in_one_table(shards, encoder_dir, tmp_path, monkeypatch):
    for name in ("PROBE", "TUNE", "SCRATCH"):
        short = changed(
            getattr(methods, name), optim={"batch": 4, "micro_batch": 4}, schedule={"epochs": 1, "warmup_steps": 1}
        )
        monkeypatch.setattr(methods, name, short)
    made = run(shards, tmp_path / "t.parquet", "--encoder", str(encoder_dir), "--seeds", "2")
    assert set(seeds_of(made.models)) == set(DEFAULT)
    for name in DEFAULT:
        seeds = {f"{name}#seed0", f"{name}#seed1"} if METHODS[name].seeded else {name}
        assert seeds <= set(made.models)
    rows, differences = transfer_table(made, reference="prior", n_boot=10, seed=0)
    assert {row.model for row in rows} == set(DEFAULT)
    assert {difference.model for difference in differences} == set(DEFAULT) - {"prior"}
    assert made.meta["budget"] == {"candidates": 3, "inner_folds": 3, "rounds": 1}
    for name, about in made.meta["models"].items():
        assert about["cpu_seconds"] >= 0
        assert all(params in about["candidates"] for params in about["chosen"].values()), name
    data = labelled(Corpus.open(shards), SIX_CLASS)
    frame = made.of("prior")
    for fold in made.meta["folds"]:
        assert not set(fold["train_subjects"]) & set(fold["test_subjects"])
        expected = data.targets[np.isin(data.subjects, fold["train_subjects"])].mean(axis=0)
        got = frame[frame["fold"] == fold["name"]][[f"prob_{c}" for c in SIX_CLASS.classes]].to_numpy()
        np.testing.assert_allclose(got, np.tile(expected, (12, 1)), atol=1e-6)
    assert not (tmp_path / "t.parts").exists()


def test_all_are_tuned_alike():
    for name, method in METHODS.items():
        assert len(method.candidates) == (1 if name in TRIVIAL else N_CANDIDATES), name


def test_test_subjects_do_not_change_the_choice(shards, tmp_path, monkeypatch):
    data = labelled(Corpus.open(shards), SIX_CLASS)
    fits = []

    def spy(bench, rows, params, seed):
        def chosen(test):
            fits.append((set(data.subjects[rows]), set(data.subjects[test]), dict(params), seed))
            predicted = prior(bench, rows, params, seed)(test)
            return predicted if params["right"] else np.eye(6)[np.zeros(len(test), int)] * 0.94 + 0.01

        return chosen

    monkeypatch.setitem(METHODS, "spy", Method(fit=spy, candidates=({"right": False}, {"right": True})))
    more = ("--models", "spy", "--seeds", "2", "--inner-folds", "2", "--inner-rounds", "2")
    made = run(shards, tmp_path / "right.parquet", *more)
    assert len(fits) == 2 * (2 * 2 + 2)  # folds x (candidates x rounds + seeds)
    outer = [set(fold["test_subjects"]) for fold in made.meta["folds"]]
    inner = [(train, test) for train, test, _, _ in fits if test not in outer]
    assert len(inner) == 8
    for train, test in inner:
        assert not train & test
        assert any(not (train | test) & held_out for held_out in outer)
    assert [params for train, test, params, _ in fits if test in outer] == [{"right": True}] * 4


def test_an_interrupted_run_goes_on_and_ends_the_same(shards, tmp_path, monkeypatch):
    more = ("--models", "prior", "band-power/logistic", "--seeds", "1")
    whole = run(shards, tmp_path / "whole.parquet", *more)
    fitted, real = [], METHODS["band-power/logistic"]

    def counting(bench, rows, params, seed):
        fitted.append(params)
        if len(fitted) == 6:  # 3 candidates and a fit in the first fold, then within the second
            raise SystemExit(75)
        return real.fit(bench, rows, params, seed)

    monkeypatch.setitem(METHODS, "band-power/logistic", replace(real, fit=counting))
    with pytest.raises(SystemExit) as stopped:
        run(shards, tmp_path / "t.parquet", *more)
    assert stopped.value.code == 75
    assert not (tmp_path / "t.parquet").exists()
    with pytest.raises(SystemExit) as refused:  # parts of another tuning
        run(shards, tmp_path / "t.parquet", *more, "--inner-folds", "2")
    assert refused.value.code == 2
    resumed = run(shards, tmp_path / "t.parquet", *more)
    assert len(fitted) == 6 + 4  # the second fold alone, from its start
    columns = [f"prob_{c}" for c in SIX_CLASS.classes]
    for name in whole.models:
        assert (resumed.of(name)[columns].to_numpy() == whole.of(name)[columns].to_numpy()).all()


def test_a_class_of_one_side_only_is_refused():
    subjects = np.array(["a", "a", "b", "b", "c", "c"])
    labels = np.array([0, 1, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="class 'closed' cannot be learnt without fold"):
        check_classes(subject_folds(subjects, labels, n_folds=3, seed=0), labels, ("open", "closed"))
    labels[2] = 1
    check_classes(subject_folds(subjects, labels, n_folds=3, seed=0), labels, ("open", "closed"))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (["--models", "oracle"], "unknown models ['oracle']"),
        (["--models", "full/pretrained"], "without --encoder there is nothing to make 'full/pretrained' of"),
        (["--inner-rounds", "4"], "inner_rounds=4 must be at most inner_folds=3"),
        (["--encoder", "/nowhere"], "/nowhere is no model"),
        (["--task", "eyes"], "no window of"),
    ],
)
def test_mistakes_end_in_one_line_and_code_2(wrong, match, shards, tmp_path, capfd):
    with pytest.raises(SystemExit) as raised:
        run(shards, tmp_path / "out" / "t.parquet", *wrong)
    assert raised.value.code == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert match in line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_processes_change_nothing(shards, tmp_path):
    more = ("--models", "prior", "band-power/logistic", "features/boosting", "--seeds", "1")
    one = run(shards, tmp_path / "one.parquet", *more)
    two = run(shards, tmp_path / "two.parquet", *more, "--jobs", "2")
    columns = [f"prob_{c}" for c in SIX_CLASS.classes]
    for name in one.models:
        assert (one.of(name)[columns].to_numpy() == two.of(name)[columns].to_numpy()).all()


def test_random_weights_have_the_shape_of_the_encoder_that_they_are_compared_with(shards, encoder_dir, tmp_path):
    bench = Bench(labelled(Corpus.open(shards), SIX_CLASS), encoder_dir, tmp_path)
    pretrained, random, again = (bench.encoder(kind, 5)[0].state_dict() for kind in ("pretrained", "random", "random"))
    assert {n: v.shape for n, v in random.items()} == {n: v.shape for n, v in pretrained.items()}
    assert all(torch.equal(random[name], again[name]) for name in random)
    assert not torch.equal(random["stem.convs.0.weight"], pretrained["stem.convs.0.weight"])
    assert bench.encoder("random", 5)[1]["train"] == []
