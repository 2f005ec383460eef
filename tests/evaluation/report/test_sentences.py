"""Every claim of the page is derived from a fact: change the fact, and the sentence changes."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.measures.calibration import fit_temperature
from evaluation.measures.metrics import kl_rows
from evaluation.report.__main__ import main
from evaluation.report.page import page
from evaluation.schemas.predictions import probabilities, targets, write_predictions
from signals.bundles.calibration import tempered
from studies.calibrate import calibration_of

FOLDS = [
    {"name": site, "train_subjects": [f"s{k:02d}" for k in range(8) if k % 2 != i],
     "test_subjects": [f"s{k:02d}" for k in range(8) if k % 2 == i]}
    for i, site in enumerate(("north", "south"))
]  # fmt: skip


@pytest.fixture
def report(tmp_path: Path, make_predictions: Any, read_report: Any) -> Any:
    """How to make a report from metadata, one task and further files; the audit may fail."""

    def make(
        *, task: str = "six-class", hard: bool = False, external: Any = None, options: Any = (), **meta: Any
    ) -> Any:
        predictions = make_predictions(task, n_subjects=8, sites=("north", "south"), **meta)
        if hard:
            names = [f"target_{c}" for c in predictions.classes]
            predictions.frame[names] = predictions.frame[names].to_numpy().round()
        write_predictions(tmp_path / "p.parquet", predictions)
        argv = [str(tmp_path / "p.parquet"), "--output", str(tmp_path / "out"), "--n-boot", "20", *options]
        if external is not None:
            write_predictions(tmp_path / "x.parquet", external)
            argv += ["--external", str(tmp_path / "x.parquet")]
        assert main(argv) in (0, 1)
        return read_report(tmp_path / "out")

    return make


@pytest.mark.parametrize(
    ("source", "hard", "noun", "limitation"),
    [
        ("experts", False, "expert votes", "disagreement between experts"),
        ("synthetic", False, "synthetic votes", "planted by a generator"),
        ("protocol", True, "labels", "follow from the protocol"),
        ("unknown", False, "the votes", "does not state who labelled"),
        ("experts", True, "expert labels", "single classes"),
        ("synthetic", True, "synthetic labels", "single classes"),
    ],
)
def test_votes_are_called_what_the_file_states_of_them(
    report: Any, source: str, hard: bool, noun: str, limitation: str
) -> None:
    made = report(label_source=source, hard=hard)
    assert f"{noun} was" in made.page.text["summary"]
    assert limitation in made.page.text["limitations"]
    assert ("expert" in made.page.text["summary"]) is (source == "experts")


def test_the_first_line_is_that_the_evaluation_is_transductive(report: Any) -> None:
    seen = report(pretrain_subjects=["s00", "s03", "someone"], grouping="site", folds=FOLDS)
    assert seen.page.text["summary"].strip().startswith("Transductive evaluation:")
    assert "2 of 8 test subjects (sites north, south)" in seen.page.text["summary"]
    unseen = report(pretrain_subjects=["someone"], grouping="site", folds=FOLDS)
    assert "ransductive" not in unseen.page.text["summary"]


def test_what_was_left_out_is_what_the_file_lists(report: Any) -> None:
    by_site = report(grouping="site", folds=FOLDS).page.text["summary"]
    assert "fitted without labels of that site" in by_site
    assert "lists no folds" not in by_site
    assert "by its own statement: it lists no folds" in report(grouping="site").page.text["summary"]
    assert "fitted without labels of that subject" in report(grouping="subject", folds=FOLDS).page.text["summary"]
    assert "does not state how training and test were separated" in report().page.text["summary"]


def test_external_data_are_said_to_be_apart_only_where_they_are(report: Any, make_predictions: Any) -> None:
    def external(prefix: str, **meta: Any) -> Any:
        return make_predictions("six-class", n_subjects=3, sites=("icu",), prefix=prefix, **meta)

    listed = {"folds": [{"name": "test", "train_subjects": ["s00"]}], "pretrain_subjects": []}
    apart = report(external=external("x", **listed)).page
    assert "took no part in training, model choice or pretraining" in apart.text["external"]
    assert "external_overlap" not in apart.text["audit"]
    unlisted = report(external=external("x")).page
    assert "cannot be excluded" in unlisted.text["external"]
    shared = report(external=external("", label_source="experts")).page
    assert "of which 36 took part in training" in shared.text["external"]
    assert "no part" not in shared.text["external"]
    assert "external_overlap" in shared.text["audit"]
    assert "must not be used" in shared.text["summary"]


def test_the_predictions_file_is_no_external_data(
    tmp_path: Path, make_predictions: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "p.parquet")
    write_predictions(tmp_path / "p.parquet", make_predictions("eyes", n_subjects=2, sites=("x",)))
    assert main([path, "--external", path, "--output", str(tmp_path / "out")]) == 2
    assert "is the predictions file itself" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_main_model_can_be_chosen(report: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "encoder reached a balanced accuracy" in report().page.text["summary"]
    made = report(options=["--main-model", "prior"])
    assert "prior reached a balanced accuracy" in made.page.text["summary"]
    assert made.facts["main_model"] == "prior"
    assert "--main-model prior" in made.facts["provenance"]["command"]
    argv = [str(tmp_path / "p.parquet"), "--output", str(tmp_path / "no"), "--main-model", "oracle"]
    assert main(argv) == 2
    assert "model 'oracle' is not in the predictions, which have encoder, prior" in capsys.readouterr().err


def test_a_stale_calibration_fails_the_audit(report: Any, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"temperature": 2.0, "fitted_on": {"model": "encoder", "n_windows": 96}}))
    assert "stale_calibration" not in report(options=["--calibration", str(path)]).page.text["audit"]
    path.write_text(json.dumps({"temperature": 2.0, "fitted_on": {"model": "encoder", "n_windows": 95}}))
    assert "stale_calibration" in report(options=["--calibration", str(path)]).page.text["audit"]


def test_refusals_of_a_stress_run_are_counted_and_named(with_files: Any) -> None:
    facts = json.loads(json.dumps(with_files.facts))
    assert "refused none" in with_files.page.text["robustness"]
    level = facts["stress"][0]["levels"][2]
    level["n_windows"], level["n_refused"] = 0, 60
    text = page(facts, title="t")
    assert "refused 60 disturbed windows; each counts as a guess" in text
    assert "Refused altogether: <b>mains hum, 3 µV</b>" in text
    level["n_windows"], level["n_refused"] = 50, 10
    text = page(facts, title="t")
    assert "Refused altogether" not in text
    assert "<td>10 of 60<small>at 3 µV</small></td>" in text


def test_rates_per_hour_are_claimed_only_with_onsets(tmp_path: Path, make_predictions: Any, read_report: Any) -> None:
    predictions = make_predictions("six-class", n_subjects=4, sites=("a", "b"))
    order = predictions.frame.groupby(["subject_id", "model"]).cumcount()
    predictions.frame["start_s"], predictions.frame["hop_s"] = order * 400.0, 10.0
    write_predictions(tmp_path / "p.parquet", predictions)
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "o"), "--n-boot", "10"]) == 0
    made = read_report(tmp_path / "o")
    assert made.page.tables["alarms"].columns[1:4] == [
        "Sensitivity at 1 per day", "False alarms at 1 per day", "Sensitivity at 1 per hour",
    ]  # fmt: skip
    assert "per hour of recording" in made.page.text["alarms"]
    # 12 windows of 10 s in each of 4 recordings, too far apart to merge: two of each class, 480 s together.
    assert made.page.tables["alarms"].at("Seizure", "Class").below == "8 events in 0.1 h"


def test_p_values_state_what_the_resamples_can_show(with_files: Any, six_class: Any) -> None:
    facts = json.loads(json.dumps(six_class.facts))
    assert {row["second"] for row in facts["differences"]} == {"prior"}  # chance would be the same comparison again
    for row in facts["differences"]:
        row["p_value"], row["p_holm"], row["at_floor"] = 2 / 51, 8 / 51, True
    text = page(facts, title="t")
    assert "<td>≤ 0.039</td><td>≤ 0.157</td>" in text
    assert "prior-only baseline, p ≤ 0.157)" in text
    for row in facts["differences"]:
        row["at_floor"] = False
    text = page(facts, title="t")
    assert "<td>0.039</td><td>0.157</td>" in text
    assert "prior-only baseline, p = 0.157)" in text
    assert {row["second"] for row in with_files.facts["differences"]} == {"chance"}


def test_a_choice_on_the_same_windows_is_stated(with_files: Any) -> None:
    facts = json.loads(json.dumps(with_files.facts))
    assert "was chosen on the other folds" in with_files.page.text["selective"]
    for row in facts["selective"]["limited"]:
        row["nested"] = False
    assert "chosen on these very windows" in page(facts, title="t")


def test_what_was_left_out_and_what_was_chosen_on_is_what_the_file_has(with_files: Any) -> None:
    def shown(**changed: Any) -> str:
        html = page({**json.loads(json.dumps(with_files.facts)), **changed}, title="t")
        return html.split('<script type="application/json"')[0]

    shared, may = "Training and test share sites", "Training and test may share sites"
    for grouping, words, limit in (
        ("site", "Leave-one-site-out: each row is a site", ""),
        ("subject", "models have met other subjects of the same site", shared),
        ("apart", "one model that was fitted on other data", ""),
        ("unknown", "does not state whether models had met other subjects of a site", may),
    ):
        text = shown(grouping=grouping)
        assert words in text
        assert [each for each in (shared, may) if each in text] == ([limit] if limit else [])
        assert ("as a new hospital would get it" in text) is (grouping == "site")
        assert ("the gap between sites" in text) is (grouping == "site")
        is_new = grouping in ("site", "apart")
        assert ("is to be expected</b>" in text) is is_new
        assert ("at one more of them is to be expected" in text) is is_new
        assert ("<td>A new hospital" in text) is is_new
        known = "training and test share sites. Across sites" in text, "may share sites. Across sites" in text
        assert known == (grouping == "subject", grouping == "unknown")
    # One fold: five groups of patients are left out in its place.
    for chosen_on, gives in (("folds", "a new fold’s windows give"), ("patients", "new patients’ windows give")):
        text = shown(chosen_on=chosen_on)
        assert f"was chosen on the other {chosen_on}, as the highest" in text
        assert f"abstains was chosen on the other {chosen_on}, so both columns are what {gives}" in text


def test_the_first_screen_says_what_a_new_hospital_may_expect(six_class: Any) -> None:
    new = six_class.facts["across_sites"]["encoder"]["balanced_accuracy"]["new_hospital"]
    words = f"At a new hospital {new['low']:.2f} to {new['high']:.2f} is to be expected (95% prediction interval from 2 sites)"
    assert words in six_class.page.text["summary"]
    facts = json.loads(json.dumps(six_class.facts))
    facts["data"]["n_sites"] = 1
    text = page(facts, title="t")
    assert "prediction interval" not in text.split("<nav")[0]
    assert "nothing here shows how the model does at another one" in text


@pytest.mark.parametrize(
    ("mean", "accuracy", "words"),
    [(0.46, 0.68, "under-confident"), (0.9, 0.7, "over-confident"), (0.71, 0.7, "well calibrated on average")],
)
def test_confidence_is_compared_with_accuracy(six_class: Any, mean: float, accuracy: float, words: str) -> None:
    facts = json.loads(json.dumps(six_class.facts))
    facts["confidence"] = {"mean": mean, "accuracy": accuracy}
    text = page(facts, title="t")
    assert f"The model is <b>{words}</b>: its mean confidence is {mean:.2f}" in text


SHIPPED = {
    "temperature": 0.77, "fitted_to": "votes", "abstain_below": 0.4, "risk": 0.1,
    "abstention": {"answered": 0.5, "risk": 0.083}, "sets": {"method": "class-conditional", "alpha": 0.1},
    "applied": {"temperatures": [0.7, 0.81], "by": "folds"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "words", "absent"),
    [
        ({}, "calibrated: those of each fold with the temperature that the other folds gave (0.70 to 0.81)", "uncalib"),
        ({"applied": {"temperatures": [0.7], "by": "patients"}}, "the other patients gave (0.70)", "uncalib"),
        ({"applied": None}, "all probabilities on this page are uncalibrated", "those of each fold"),
        ({}, "temperature of 0.77, fitted to the votes on all folds", "majority"),
        ({"fitted_to": "majority"}, "fitted to the majority label", "the votes on all"),
        (
            {},
            "abstains below a confidence of 0.40 (aim: at most 10% errors): 50% of these windows are answered, 8.3%",
            "",
        ),
        ({"abstain_below": None, "abstention": None}, "has no threshold and never abstains", "abstains below"),
        ({}, "Its class-conditional prediction sets may miss 10% of labels", "no prediction sets"),
        ({"sets": None}, "It gives no prediction sets", "may miss"),
    ],
)
def test_what_calibration_is_shipped_is_stated(six_class: Any, changed: Any, words: str, absent: str) -> None:
    assert "uncalibrated; no calibration file was given" in six_class.page.text["calibration"]
    facts = json.loads(json.dumps(six_class.facts))
    facts["calibration"] = {**SHIPPED, **changed}
    text = page(facts, title="t").split('id="calibration"')[1].split("</section>")[0]
    assert words in text
    assert not absent or absent not in text


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory, make_predictions: Any, read_report: Any) -> Any:
    """A report with a calibration that asks for half the temperature: the raw model is under-confident."""
    folder = tmp_path_factory.mktemp("calibrated")
    predictions = make_predictions("six-class", n_subjects=8, sites=("north", "south"), grouping="site")
    names = [f"prob_{c}" for c in predictions.classes]
    main_rows = predictions.frame["model"] == "encoder"
    soft = np.sqrt(predictions.frame.loc[main_rows, names].to_numpy())
    predictions.frame.loc[main_rows, names] = soft / soft.sum(axis=1, keepdims=True)
    write_predictions(folder / "p.parquet", predictions)
    about = calibration_of(replace(predictions, meta={**predictions.meta, "folds": FOLDS}), "encoder", risk=0.4)
    (folder / "c.json").write_text(json.dumps(about))
    options = ["--calibration", str(folder / "c.json"), "--n-boot", "20"]
    assert main([str(folder / "p.parquet"), "--output", str(folder / "out"), *options]) == 0
    return predictions, about, read_report(folder / "out")


def test_probabilities_of_the_page_are_those_that_other_folds_calibrate(calibrated: Any) -> None:
    predictions, about, made = calibrated
    rows = predictions.of("encoder")
    prob, target = probabilities(rows, predictions.classes), targets(rows, predictions.classes)
    north = (rows["fold"] == "north").to_numpy()
    expected = {fit_temperature(prob[mask], target[mask]) for mask in (north, ~north)}
    assert made.facts["calibration"]["applied"]["temperatures"] == pytest.approx(sorted(expected))
    scaled = prob.copy()
    for inside in (north, ~north):
        scaled[inside] = tempered(prob[inside], fit_temperature(prob[~inside], target[~inside]))
    known = made.facts["models"]["encoder"]["metrics"]
    assert known["kl"]["value"] == pytest.approx(kl_rows(target, scaled).mean())
    assert made.facts["uncalibrated"]["metrics"]["kl"]["value"] == pytest.approx(kl_rows(target, prob).mean())
    assert known["kl"]["value"] < made.facts["uncalibrated"]["metrics"]["kl"]["value"]
    # A temperature changes no decision, and the baseline keeps its own probabilities.
    right = prob.argmax(axis=1) == rows["label"].map(list(predictions.classes).index)
    assert known["accuracy"]["value"] == pytest.approx(right.mean())
    prior = predictions.of("prior")
    expected_kl = kl_rows(targets(prior, predictions.classes), probabilities(prior, predictions.classes)).mean()
    assert made.facts["models"]["prior"]["metrics"]["kl"]["value"] == pytest.approx(expected_kl)
    below = about["abstain_below"]
    answered = scaled.max(axis=1) >= below
    assert made.facts["calibration"]["abstention"]["answered"] == pytest.approx(answered.mean())
    assert made.facts["calibration"]["abstention"]["risk"] == pytest.approx(1 - right[answered].mean())


def test_the_table_of_calibration_has_before_and_after(calibrated: Any) -> None:
    made = calibrated[2]
    table = made.page.tables["calibration"]
    before, after = made.facts["uncalibrated"], made.facts
    for metric, heading in (("ece", "ECE ↓"), ("brier", "Brier score ↓"), ("kl", "KL divergence ↓")):
        assert table.at("Before calibration", heading).text == f"{before['metrics'][metric]['value']:.3f}"
        assert table.at("Calibrated", heading).text == f"{after['models']['encoder']['metrics'][metric]['value']:.3f}"
    assert table.at("Before calibration", "Mean confidence").text == f"{before['confidence']['mean']:.2f}"
    assert table.at("Calibrated", "Mean confidence").text == f"{after['confidence']['mean']:.2f}"
    assert before["confidence"]["mean"] < after["confidence"]["mean"]
    assert {"reliability", "reliability-uncalibrated"} <= set(made.page.figures)
    assert "stale_calibration" not in made.page.text["audit"]


def test_a_calibration_of_another_model_is_not_applied(report: Any, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"temperature": 2.0, "fitted_on": {"model": "prior", "n_windows": 96}}))
    made = report(options=["--calibration", str(path)])
    assert made.facts["uncalibrated"] is None
    assert "uncalibrated" in made.page.text["calibration"]
    assert "calibration" not in made.page.tables


def test_external_answers_are_those_of_the_shipped_temperature(
    report: Any, tmp_path: Path, make_predictions: Any
) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"temperature": 2.0, "fitted_on": {"model": "encoder", "n_windows": 96}}))
    outside = make_predictions("six-class", n_subjects=4, sites=("x",), prefix="x")
    made = report(external=outside, options=["--calibration", str(path)])
    rows = outside.of("encoder")
    prob = tempered(probabilities(rows, outside.classes), 2.0)
    expected = kl_rows(targets(rows, outside.classes), prob).mean()
    assert made.facts["external"]["models"]["encoder"]["metrics"]["kl"]["value"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"encoder": "random"}, "trained from random weights"),
        ({"encoder": "pretrained", "pretrain_subjects": ["a", "b"]}, "pretrained without labels on 2 subjects"),
        ({"pretrain_subjects": []}, "without pretraining"),
        ({}, "does not state whether the model was pretrained"),
        (
            {
                "encoder": "pretrained",
                "pretrain_subjects": [],
                "folds": [fold | {"pretrain_subjects": list("abcd")[: 3 + k]} for k, fold in enumerate(FOLDS)],
            },
            "2 folds had an encoder of their own, pretrained without labels on 3 to 4 subjects",
        ),
    ],
)
def test_the_model_is_described_as_the_file_has_it(report: Any, meta: dict[str, Any], words: str) -> None:
    made = report(recipe={"name": "probe", "epochs": 40, "secret": 1}, **meta)
    assert words in made.page.text["model"]
    assert words in made.card
    assert "40" in made.page.text["model"]
    assert "secret" not in made.page.text["model"]
    assert re.search(r"Predictions of \d{4}-\d\d-\d\d", made.page.text["model"])


def test_the_pipelines_counts_are_the_flow(report: Any, tmp_path: Path) -> None:
    site = {
        "windows": 50,
        "windows_rejected": 3,
        "hours": {"written": 1.5},
        "readers": {"edf": 4},
        "native_sfreqs": {"256": 4},
    }
    counts = {
        "files": {"in": 20, "quarantined": 2, "by_reason": {"truncated": 2}},
        "sites": {"north": site, "south": site},
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"counts": counts}))
    made = report(options=["--pipeline", str(tmp_path / "manifest.json")])
    flow, cohort = made.page.tables["flow"], made.page.tables["cohort"]
    assert [flow.at(step, "Number").text for step in ("Files found", "Files quarantined", "Windows written", "Windows rejected")] == [
        "20", "2", "100", "6",
    ]  # fmt: skip
    assert flow.at("Files quarantined", "Step").below == "truncated 2"
    assert cohort.at("north", "Site").below == "edf; 256 Hz"
    assert cohort.at("north", "Hours").text == "1.5"


def test_a_class_that_a_site_does_not_have_has_no_windows_there(
    tmp_path: Path, make_predictions: Any, read_report: Any
) -> None:
    made = make_predictions("six-class", n_subjects=8, sites=("north", "south"))
    missing = (made.frame["site_id"] == "north") & (made.frame["label"] == "LPD")
    assert missing.any()
    write_predictions(tmp_path / "p.parquet", replace(made, frame=made.frame[~missing].reset_index(drop=True)))
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "out"), "--n-boot", "20"]) in (0, 1)
    cohort = read_report(tmp_path / "out").page.tables["cohort"]
    assert cohort.at("north", "LPD").text == "0"
    assert int(cohort.at("south", "LPD").text) > 1


def test_folds_that_are_sites_are_shown_once(report: Any) -> None:
    assert "folds" not in report(grouping="site").page.text


def test_folds_of_subjects_are_shown(tmp_path: Path, make_predictions: Any, read_report: Any) -> None:
    predictions = make_predictions("six-class", n_subjects=4, sites=("a", "b"))
    predictions.frame["fold"] = "f" + predictions.frame["subject_id"].str[-1]
    write_predictions(tmp_path / "p.parquet", predictions)
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "o"), "--n-boot", "10"]) == 0
    table = read_report(tmp_path / "o").page.tables["folds"]
    assert [row[0].text for row in table.rows] == ["f0", "f1", "f2", "f3"]


def test_devices_are_listed_only_where_one_is_known(tmp_path: Path, make_predictions: Any, read_report: Any) -> None:
    predictions = make_predictions("eyes", n_subjects=4, sites=("a", "b"))
    for devices, words in ((["", ""], "does not record devices"), (["", "BioSemi"], "Devices: BioSemi.")):
        predictions.frame["device"] = predictions.frame["site_id"].map(dict(zip("ab", devices, strict=True)))
        write_predictions(tmp_path / "p.parquet", predictions)
        assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "out"), "--n-boot", "10"]) == 0
        assert words in read_report(tmp_path / "out").page.text["cohort"]


def test_a_recipe_within_a_recipe_is_rows_of_its_own(report: Any) -> None:
    made = report(recipe={"name": "probe", "model": {"name": "encoder", "weights": "", "rank": 8}})
    assert "{" not in made.page.text["model"]
    assert re.search(r"model\.name\s*encoder\s*model\.rank\s*8", made.page.text["model"])
    assert "model.weights" not in made.page.text["model"]  # nothing to state


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (
            "python -m studies.loso --shards /home/a/shards/six --output out/p.parquet",
            "--shards six --output out/p.parquet",
        ),
        ("study --final=/data/files/final --task=rest", "--final=final --task=rest"),
        ("study --shards gs://bucket/set/ --reference probe/pretrained", "--shards set/ --reference probe/pretrained"),
        ("study --out ../x/y ~/a/b ./c/d", "--out y b d"),
    ],
)
def test_a_command_names_files_without_their_folders(report: Any, command: str, shown: str) -> None:
    made = report(command=command)
    assert shown in made.page.text["reproducibility"]
    assert shown in made.facts["meta"]["command"]


def test_what_is_folded_on_the_screen_is_printed(six_class: Any) -> None:
    css = six_class.page.html.split("<style>")[1].split("</style>")[0]
    assert "details::details-content{display:block;content-visibility:visible}" in css.split("@media print")[-1]
