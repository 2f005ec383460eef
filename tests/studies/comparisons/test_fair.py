"""The fair table has a floor, states what each model saw and cost, and takes any task with labels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.schemas.predictions import read_predictions
from model.encoder import Encoder
from model.encoder_config import sized
from studies import study
from studies.comparisons import ablation, curve, fair
from studies.comparisons.table import by_unit, fair_table, markdown

MODELS = ("prior", "uniform", "band-power/logistic", "linear-probe/pretrained")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    write = request.getfixturevalue("write_shards")
    return write(tmp_path_factory.mktemp("toy"), n_sites=2, n_subjects=4, n_windows=3, window_s=10.0)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder per site, each pretrained on the other one; and two variants with two seeds."""
    root = tmp_path_factory.mktemp("encoders")
    for seed, name in enumerate(("apart/site0", "apart/site1", "full/0", "full/1", "bare/0", "bare/1")):
        torch.manual_seed(seed)
        folder = root / name
        Encoder(sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16)).save_pretrained(folder)
        other = {"site0": "site1", "site1": "site0"}.get(folder.name, "elsewhere")
        facts = {"train": [f"{other}-x"], "recordings": [f"rec-{other}"], "sites": [other], "salt_id": "toy"}
        (folder / "pretrain_subjects.json").write_text(json.dumps(facts))
    return root


def options(shards: Path, output: Path) -> list[str]:
    return ["--shards", str(shards), "--task", "toy", "--output", str(output)]


@pytest.fixture(scope="module")
def made(shards: Path, encoders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("fair") / "fair.parquet"
    labels = classes_of_toys(shards)
    study.main(["fair", *options(shards, output), "--classes", *labels, "--encoders", str(encoders / "apart"),
                "--models", *MODELS, "--n-boot", "50", "--inner-rounds", "1"])  # fmt: skip
    return output


def classes_of_toys(shards: Path) -> list[str]:
    from training.corpus.corpus import Corpus

    return sorted({entry.label for entry in Corpus.open(shards).entries} - {""})


def test_a_new_task_gets_its_table_by_one_command(made: Path) -> None:
    table = json.loads(made.with_suffix(".json").read_text())
    assert table["task"] == "toy"
    assert [row["model"] for row in table["rows"]] == list(MODELS)
    assert (table["n_windows"], table["units"], table["n_sites"], table["n_folds"]) == (24, "people", 2, 2)
    kl = {row["model"]: row["metrics"]["kl"]["value"] for row in table["rows"]}
    assert table["floor"] == min(("prior", "uniform"), key=lambda name: kl[name])
    for row in table["rows"]:
        assert (row["less_floor"] == {}) == (row["model"] == table["floor"])
        if row["less_floor"]:
            assert row["less_floor"]["kl"]["value"] == pytest.approx(kl[row["model"]] - kl[table["floor"]])
        assert (row["less_best"] == {}) == (row["model"] == table["best"])
        if row["less_best"]:
            assert row["less_best"]["kl"]["value"] == pytest.approx(kl[row["model"]] - min(kl.values()))
    cost = {row["model"]: (row["n_learnt"], row["device"]) for row in table["rows"]}
    assert cost["prior"] == (None, "cpu")
    assert cost["band-power/logistic"][0] > 0


def test_encoders_without_the_site_are_inductive_and_the_others_are_marked(made: Path) -> None:
    (row,) = [r for r in json.loads(made.with_suffix(".json").read_text())["rows"] if r["model"] == MODELS[3]]
    assert row["exposure"] == "inductive"
    predictions = read_predictions(made)
    for fold in predictions.meta["folds"]:  # as if each encoder had seen the site that it is tested on
        fold["pretrain_sites"] = [fold["name"]]
    again = fair_table(predictions, n_boot=20)
    assert {r.model: r.exposure for r in again.rows} == {**dict.fromkeys(MODELS, ""), MODELS[3]: "transductive"}
    assert "| linear-probe/pretrained (transductive) |" in markdown(again)


def test_the_page_states_command_commit_date_and_the_order_is_that_of_kl(made: Path) -> None:
    text, table = made.with_suffix(".md").read_text(), json.loads(made.with_suffix(".json").read_text())
    assert f"`{table['command']}`; commit {table['commit']}, {table['date']}." in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    values = {row["model"]: row["metrics"]["kl"]["value"] for row in table["rows"]}
    named = [row.split("|")[1].split(" (")[0].strip() for row in rows]
    assert named == sorted(MODELS, key=lambda name: values[name])
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    gap = {row["model"]: row["less_best"].get("kl") for row in table["rows"]}
    assert cells[0][7] == "0"
    assert cells[1][7].startswith(f"{gap[named[1]]['value']:+.3f} [{gap[named[1]]['low']:+.3f}")


def test_segments_are_resampled_where_people_are_not_known(made: Path) -> None:
    predictions = read_predictions(made)
    assert by_unit(predictions)[1] == "people"
    predictions.meta["unknown_subject_sites"] = ["site0", "site1"]
    clustered, unit = by_unit(predictions)
    assert unit == "segments"
    assert clustered.frame["subject_id"].nunique() == 24


def test_a_table_without_a_floor_is_refused(made: Path) -> None:
    predictions = read_predictions(made)
    frame = predictions.frame[predictions.frame["model"] == "band-power/logistic"]
    with pytest.raises(ValueError, match="give one of prior, uniform"):
        fair_table(type(predictions)(frame=frame, task="toy", classes=predictions.classes), n_boot=5)


def test_models_without_a_floor_are_refused_before_anything_is_fitted(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "fair.parquet"
    with pytest.raises(SystemExit) as refused:
        fair.main([*options(shards, output), "--classes", "a", "b", "--no-encoder", "--models", "band-power/logistic"])
    assert refused.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "the table needs a floor: give one of prior, uniform among --models" in line
    assert list(tmp_path.iterdir()) == []


def test_curves_have_a_model_per_number_of_people(shards: Path, tmp_path: Path) -> None:
    base = [*options(shards, tmp_path / "curve.parquet"), "--classes", *classes_of_toys(shards), "--seeds", "2",
            "--models", "band-power/logistic", "--inner-folds", "2", "--group", "subject", "--folds", "2"]  # fmt: skip
    curve.main([*base, "--subjects", "4", "64"])  # 64 is more than there are
    predictions = read_predictions(tmp_path / "curve.parquet")
    assert predictions.models == ("prior", "band-power/logistic@4#seed0", "band-power/logistic@4#seed1")
    with pytest.raises(SystemExit) as refused:
        curve.main([*base, "--subjects", "64"])
    assert refused.value.code == 2


def test_variants_are_compared_seed_by_seed_beside_floors(shards: Path, encoders: Path, tmp_path: Path) -> None:
    base = [*options(shards, tmp_path / "ablation.parquet"), "--classes", *classes_of_toys(shards), "--no-encoder",
            "--variants", str(encoders / "full"), str(encoders / "bare")]  # fmt: skip
    ablation.main([*base, "--seeds", "2"])
    predictions = read_predictions(tmp_path / "ablation.parquet")
    assert {"full#seed0", "full#seed1", "bare#seed0", "bare#seed1", "prior", "log-spectra/logistic"} <= set(
        predictions.models
    )
    columns = [f"prob_{name}" for name in predictions.classes]
    seeds = [predictions.of(f"full#seed{seed}")[columns].to_numpy() for seed in (0, 1)]
    assert not np.allclose(*seeds)
    with pytest.raises(SystemExit) as refused:  # there is no third seed
        ablation.main([*base[:-2], str(encoders / "full"), "--seeds", "3", "--output", str(tmp_path / "x.parquet")])
    assert refused.value.code == 2


def test_studies_are_found_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        study.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in study.STUDIES)
    for wrong in ([], ["oracle"]):
        with pytest.raises(SystemExit) as refused:
            study.main(wrong)
        assert refused.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "give one of fair, loso" in line
    assert study.STUDIES["fair"][0] == fair.__name__
    assert fair.PROG == "cerebeam study fair"
