"""The engine: what is finished stays finished, also in the middle of a fit, and every model has the same rows."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.schemas.predictions import probabilities, read_predictions
from signals.tasks import SIX_CLASS
from studies import transfer
from studies.baselines.candidates import METHODS, PROBE
from studies.engine.bench import Bench, Fitted, Method
from studies.engine.folds import make_folds, of_subjects
from studies.engine.parts import Parts
from studies.engine.study import Design, about_models, run_study
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled
from training.trainer.stopping import RESUME_EXIT
from training.trainer.train import Trainer

CLASSES = SIX_CLASS.classes


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    write = request.getfixturevalue("write_shards")
    return write(tmp_path_factory.mktemp("toy"), n_sites=2, n_subjects=4, n_windows=3, window_s=50.0)


@pytest.fixture
def data(shards: Path) -> Labelled:
    return labelled(Corpus.open(shards), SIX_CLASS)


def design(data: Labelled, folder: Path, models: dict[str, Method], **more: Any) -> Design:
    folds = make_folds(data, "site", n_folds=2, seed=0)
    return Design(bench=Bench(data, None, folder / "logs"), folds=folds, models=models, parts=Parts(folder, {}), **more)


def run_transfer(shards: Path, output: Path) -> int | None:
    """Return the exit code of a study of one network, None for one that ended well."""
    options = ["--task", "six-class", "--models", "prior", "eegnet", "--seeds", "1", "--inner-folds", "2",
               "--schedule.epochs", "2", "--optim.batch", "4", "--optim.micro-batch", "4"]  # fmt: skip
    try:
        transfer.main(["--shards", str(shards), "--output", str(output), *options])
    except SystemExit as end:
        return int(end.code or 0)
    return None


def test_a_study_goes_on_in_the_middle_of_a_fit(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    real = Trainer.take_step
    stop_at = 0

    def take_step(self: Trainer, *args: Any) -> dict[str, float] | None:
        taken.append(self.step)
        if len(taken) == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, *args)

    monkeypatch.setattr(Trainer, "take_step", take_step)
    assert run_transfer(shards, tmp_path / "whole.parquet") is None
    # In the second half, after a step of a fit: before the first there is nothing to save.
    stop_at = 1 + next(i for i in range(len(taken) // 2, len(taken)) if taken[i] >= 1)
    taken.clear()
    cut = tmp_path / "cut.parquet"
    assert run_transfer(shards, cut) == RESUME_EXIT
    assert not cut.exists()
    assert list((tmp_path / "cut.parts" / "logs").rglob("*.checkpoints/**/*.pt"))
    taken.clear()
    stop_at = 0
    assert run_transfer(shards, cut) is None
    begun = [step for before, step in pairwise([-2, *taken]) if step != before + 1]
    assert max(begun) > 0  # one fit went on; the others of its tuning began anew
    first, second = read_predictions(tmp_path / "whole.parquet"), read_predictions(cut)
    for name in first.models:
        assert np.array_equal(probabilities(first.of(name), CLASSES), probabilities(second.of(name), CLASSES))
    assert not (tmp_path / "cut.parts").exists()


def test_windows_without_an_answer_have_no_row_and_facts_are_kept(data: Labelled, tmp_path: Path) -> None:
    def fit(bench: Bench, rows: np.ndarray, params: Any, seed: int) -> Fitted:
        silent: dict[str, int] = {}

        def predicted(test: np.ndarray) -> np.ndarray:
            silent["first"] = 1
            answers = np.full((len(test), 6), 1 / 6)
            answers[0] = np.nan
            return answers

        return Fitted(predict=predicted, n_parameters=7, n_learnt=5, facts={"refused": silent})

    made = design(data, tmp_path, {"shy": Method(fit=fit, seeded=False, may_refuse=True), "prior": METHODS["prior"]})
    frame = run_study(made)
    assert frame["model"].value_counts().to_dict() == {"prior": 24, "shy": 22}  # one of each of two folds
    about = about_models(made)["shy"]
    assert (about["refused"], about["n_parameters"], about["n_learnt"]) == ({"first": 1}, 7, 5)
    assert about["device"] == "cpu"


def test_a_setting_that_fails_is_not_chosen_and_a_fit_that_fails_is_no_silence(data: Labelled, tmp_path: Path) -> None:
    def fit(bench: Bench, rows: np.ndarray, params: Any, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda test: np.full((len(test), 6), np.nan if params["fails"] else 1 / 6)

    two = Method(fit=fit, candidates=({"fails": True}, {"fails": False}), seeded=False)
    made = design(data, tmp_path / "two", {"two": two})
    run_study(made)
    assert set(map(str, about_models(made)["two"]["chosen"].values())) == {"{'fails': False}"}
    broken = design(data, tmp_path / "one", {"one": replace(two, candidates=({"fails": True},))})
    with pytest.raises(ValueError, match="one gives no finite probabilities in fold site0, seed0"):
        run_study(broken)


def test_further_work_comes_after_the_fits_in_one_process(data: Labelled, tmp_path: Path) -> None:
    done: list[str] = []

    def fit(bench: Bench, rows: np.ndarray, params: Any, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        done.append(bench.unit.fold)
        return METHODS["prior"].fit(bench, rows, params, seed)

    made = design(data, tmp_path, {"counted": Method(fit=fit)})
    run_study(made, beside=[lambda given: done.append("beside" if given is made else "another design")])
    assert done == ["site0", "site1", "beside"]
    run_study(made, beside=[lambda given: done.append("again")])
    assert done[3:] == ["again"]  # folds are not fitted again


def test_finished_models_stay_when_others_join(data: Labelled, tmp_path: Path) -> None:
    fitted: list[int] = []

    def fit(bench: Bench, rows: np.ndarray, params: Any, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        fitted.append(seed)
        return METHODS["prior"].fit(bench, rows, params, seed)

    models = {"counted": Method(fit=fit)}
    run_study(design(data, tmp_path, models, seeds=2))
    assert fitted == [0, 1, 0, 1]  # seeds within a fold
    more = run_study(design(data, tmp_path, {**models, "uniform": METHODS["uniform"]}, seeds=3))
    assert fitted[4:] == [2, 2]
    assert set(more["model"]) == {"counted#seed0", "counted#seed1", "counted#seed2", "uniform"}


def test_few_people_are_nested_and_hold_every_class_they_can(data: Labelled) -> None:
    rows = np.arange(len(data.windows))
    drawn = [of_subjects(data, rows, n_subjects=n, seed=3) for n in (2, 4, 8)]
    people = [set(data.subjects[d].tolist()) for d in drawn]
    assert [len(p) for p in people] == [2, 4, 8]
    assert people[0] < people[1] < people[2]
    assert set(of_subjects(data, rows, n_subjects=2, seed=4).tolist()) != set(drawn[0].tolist())
    # A class of one person is among the first as often as any other.
    rare = replace(
        data, targets=np.eye(6, dtype=np.float32)[(data.subjects == np.unique(data.subjects)[5]).astype(int)]
    )
    assert set(rare.labels[of_subjects(rare, rows, n_subjects=2, seed=0)].tolist()) == {0, 1}
    with pytest.raises(ValueError, match="n_subjects=9 is more than the 8"):
        of_subjects(data, rows, n_subjects=9, seed=0)


def test_a_model_of_few_people_is_tuned_on_them_alone(data: Labelled, tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def fit(bench: Bench, rows: np.ndarray, params: Any, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        def predicted(test: np.ndarray) -> np.ndarray:
            seen.append(set(data.subjects[rows].tolist()) | set(data.subjects[test].tolist()))
            return np.full((len(test), 6), 1 / 6)

        return predicted

    few = Method(fit=fit, candidates=({"a": 1}, {"a": 2}), n_subjects=3)
    made = design(data, tmp_path, {"few": few}, seeds=2)
    run_study(made)
    test_sides = [set(data.subjects[fold.test].tolist()) for fold in made.folds]
    tuning = [people for people in seen if not any(people & side == side for side in test_sides)]
    assert len(tuning) == 2 * 2 * 2  # settings x folds x seeds: each seed draws its own people
    assert all(len(people) == 3 for people in tuning)


def test_settings_of_recipes_hold_for_every_model_that_trains(data: Labelled, tmp_path: Path) -> None:
    bench = Bench(data, None, tmp_path, settings=("--schedule.epochs", "2"))
    assert bench.recipe(PROBE) == replace(PROBE, schedule=replace(PROBE.schedule, epochs=2))
    assert Bench(data, None, tmp_path).recipe(PROBE) is PROBE
    tiny = Bench(data, None, tmp_path, settings=("--optim.batch", "8"), tiny=True).recipe(PROBE)
    assert (tiny.schedule.epochs, tiny.optim.batch, tiny.optim.learning_rate) == (1, 8, PROBE.optim.learning_rate)


@pytest.mark.slow
def test_a_process_that_is_stopped_ends_the_study(shards: Path, tmp_path: Path) -> None:
    # Processes are real ones, so the network is slow enough to be met in the middle.
    import subprocess
    import sys
    import time

    command = [sys.executable, "-m", "studies.study", "transfer", "--shards", str(shards), "--task", "six-class",
               "--output", str(tmp_path / "p.parquet"), "--models", "resnet-gru", "--seeds", "1", "--jobs", "2",
               "--inner-folds", "2", "--schedule.epochs", "50"]  # fmt: skip
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 600
    logs = tmp_path / "p.parts" / "logs"
    while not any(path.read_text().count("\n") > 1 for path in logs.rglob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert time.monotonic() < deadline, "no step was taken in ten minutes"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == RESUME_EXIT
    assert list(logs.rglob("*.pt"))


@pytest.mark.parametrize(
    ("module", "options", "words"),
    [
        ("loso", ["--no-encoder", "--encoders", "."], "the final model, of all sites, needs --encoder too"),
        ("loso", ["--no-encoder", "--recipe", "oracle"], "unknown recipe 'oracle'"),
        ("loso", ["--no-encoder", "--classes", "a", "b"], "task 'six-class' has classes of its own"),
        ("loso", [], "--encoder"),
        ("crossval", ["--recipes", "probe", "--jobs", "0"], "jobs=0 must be at least 1"),
        ("transfer", ["--encoders", "/nowhere", "--models", "prior"], "/nowhere/site0 is no model"),
        ("transfer", ["--schedule.epoch", "3"], "unknown option '--schedule.epoch'"),
        ("stress", ["--model", "m", "--input", "i", "--oracle"], "unknown option '--oracle'"),
    ],
)
def test_mistakes_of_any_study_end_in_one_line(
    module: str, options: list[str], words: str, shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import importlib

    task = [] if module == "stress" else ["--task", "six-class"]
    with pytest.raises(SystemExit) as refused:
        importlib.import_module(f"studies.{module}").main(
            ["--shards", str(shards), *task, "--output", str(tmp_path / "out" / "p.parquet"), *options]
        )
    assert refused.value.code == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()
