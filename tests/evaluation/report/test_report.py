"""The report: every number of facts.json on the page, nothing from the network, bad input refused."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.report.__main__ import main
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.pages.svg import ticks


class Loads(HTMLParser):
    """Collects everything that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {k}={v}" for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "data")]
        self.found = [load for load in self.found if not load.startswith("a href=#")]  # an anchor of this page


def test_page_loads_nothing(six_class: Any) -> None:
    html = six_class.page.html
    loads = Loads()
    loads.feed(html)
    assert loads.found == []
    assert not re.search(r"https?://|@import|url\(", html)


def test_page_shows_every_digest_and_finding(six_class: Any) -> None:
    shown = six_class.page.all_text
    for digest in six_class.facts["provenance"]["sha256"].values():
        assert digest in shown
    for finding in six_class.facts["audit"]["findings"]:
        assert finding["message"] in six_class.page.text["audit"]
        assert finding["code"] in six_class.page.text["audit"]


def test_page_embeds_facts_and_escapes_names(six_class: Any) -> None:
    html = six_class.page.html
    embedded = html.split('id="facts">')[1].split("</script>")[0]
    assert json.loads(embedded) == six_class.facts
    assert "north <b>" not in html
    assert "north &lt;b&gt;" in html


def test_unknown_patients_are_resampled_by_segment(six_class: Any) -> None:
    outside = six_class.facts["external"]
    assert (outside["n_unknown"], outside["n_clusters"]) == (72, 6)
    assert "not known" in six_class.page.all_text


def test_chance_is_one_over_the_number_of_classes(six_class: Any) -> None:
    chance = six_class.facts["models"]["chance"]["metrics"]
    assert chance["balanced_accuracy"]["value"] == pytest.approx(1 / 6)
    assert chance["kappa"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert chance["auroc_macro"]["value"] == pytest.approx(0.5, abs=1e-12)
    assert chance["log_loss"]["value"] == pytest.approx(np.log(6))


def test_same_input_and_seed_give_the_same_page(tmp_path: Path, make_predictions: Any) -> None:
    write_predictions(tmp_path / "p.parquet", make_predictions("eyes", n_subjects=3, sites=("x",), grouping="subject"))
    for name in ("one", "two"):
        assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / name), "--n-boot", "20"]) == 0
    pages = [(tmp_path / name / "report.html").read_bytes() for name in ("one", "two")]
    assert pages[0] == pages[1]
    assert b"All data come from one site" in pages[0]


def test_undefined_is_null_with_a_reason(tmp_path: Path, make_predictions: Any) -> None:
    predictions = make_predictions("eyes", n_subjects=1, sites=("x",))
    frame = predictions.frame[predictions.frame["label"] == "eyes_open"]
    write_predictions(tmp_path / "p.parquet", Predictions(frame=frame, task="eyes", classes=predictions.classes))
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "o"), "--n-boot", "20"]) == 0
    known = json.loads((tmp_path / "o" / "facts.json").read_text())["models"]["encoder"]["metrics"]
    assert known["balanced_accuracy"]["value"] is None
    assert known["balanced_accuracy"]["reason"] == "fewer than two classes among the labels"
    assert known["kl"]["low"] is None
    assert "one subject" in known["kl"]["reason"]


def test_one_prediction_per_patient_where_a_patient_has_one_class(
    tmp_path: Path, make_predictions: Any, read_report: Any
) -> None:
    predictions = make_predictions("epilepsy", n_subjects=8, sites=("x",), grouping="subject")
    frame = predictions.frame
    ill = (frame["subject_id"].str[-1].astype(int) % 2).to_numpy()
    frame["label"] = np.where(ill, "Epilepsy", "Control")
    frame["target_Epilepsy"], frame["target_Control"] = ill.astype(float), 1.0 - ill
    write_predictions(tmp_path / "p.parquet", predictions)
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "o"), "--n-boot", "20"]) == 0
    report = read_report(tmp_path / "o")
    patients = report.facts["subjects"]["models"]["encoder"]
    assert np.sum(patients["counts"]) == 8
    value = patients["metrics"]["balanced_accuracy"]["value"]
    assert report.page.tables["patients"].at("encoder", "Balanced accuracy ↑").text == f"{value:.3f}"


@pytest.mark.parametrize("bad", ["missing", "text", "table", "history", "manifest", "other_task"])
def test_bad_input_is_one_line_and_exit_code_2(
    bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], make_predictions: Any
) -> None:
    good, junk = tmp_path / "good.parquet", tmp_path / "junk"
    write_predictions(good, make_predictions("eyes", n_subjects=2, sites=("x",)))
    junk.write_text("[1, 2]\nno json")
    argv = [str(good)]
    if bad == "missing":
        argv = [str(tmp_path / "nothing.parquet")]
    elif bad == "text":
        argv = [str(junk)]
    elif bad == "table":
        pd.DataFrame({"a": [1]}).to_parquet(junk)
        argv = [str(junk)]
    elif bad == "history":
        argv += ["--history", str(junk)]
    elif bad == "manifest":
        argv += ["--pipeline", str(junk)]
    else:
        write_predictions(tmp_path / "adhd.parquet", make_predictions("adhd", n_subjects=2, sites=("x",)))
        argv += ["--external", str(tmp_path / "adhd.parquet")]
    assert main([*argv, "--output", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("cerebeam report: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_leak_stands_on_top_of_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make_predictions: Any, read_report: Any
) -> None:
    folds = [{"name": "x", "train_subjects": ["s00"], "test_subjects": ["s00", "s01"]}]
    predictions = make_predictions("eyes", n_subjects=2, sites=("x",), grouping="subject", folds=folds)
    write_predictions(tmp_path / "p.parquet", predictions)
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "o"), "--n-boot", "20"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "subject_on_two_sides" in err
    card = (tmp_path / "o" / "MODEL_CARD.md").read_text()
    assert "must not be used" in card
    assert "model-index" not in card
    shown = read_report(tmp_path / "o").page.all_text
    assert shown.index("must not be used") < shown.index("reached a balanced accuracy")
    assert "subject_on_two_sides" in shown


def test_unknown_option_is_exit_code_2(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path), "--output", str(tmp_path), "--colour"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.43, 0.7), (0.0, 0.0), (0.3, 0.3), (1.0, 1.0), (1.0, 1.0 + 1e-9), (3.0, 250.0)]
)
def test_ticks_cover_the_range(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert marks[0] <= low
    assert marks[-1] >= high
    assert 2 <= len(marks) <= 9
    assert len({*marks}) == len(marks)


def test_options_of_the_command_line_reach_the_report(
    tmp_path: Path, make_predictions: Any, read_report: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predictions(tmp_path / "p.parquet", make_predictions("eyes", n_subjects=4, sites=("x", "y"), grouping="site"))
    made = {}
    for name, options in (("plain", []), ("other", ["--n-boot", "30", "--seed", "5", "--title", "Eyes & <more>"])):
        argv = [str(tmp_path / "p.parquet"), "--output", str(tmp_path / name), "--n-boot", "20", *options]
        assert main(argv) == 0
        out = capsys.readouterr()
        assert out.out.split() == [
            str(tmp_path / name / file) for file in ("report.html", "facts.json", "MODEL_CARD.md")
        ]
        assert out.err == ""
        made[name] = read_report(tmp_path / name)
    assert made["plain"].facts["bootstrap"] == {**made["other"].facts["bootstrap"], "n_boot": 20, "seed": 0}
    assert (made["other"].facts["bootstrap"]["n_boot"], made["other"].facts["bootstrap"]["seed"]) == (30, 5)
    assert "<title>Cerebeam evaluation: eyes</title>" in made["plain"].page.html
    assert "<title>Eyes &amp; &lt;more&gt;</title>" in made["other"].page.html
    command = made["other"].facts["provenance"]["command"]
    assert command == "python -m evaluation.report p.parquet --output DIR --n-boot 30 --seed 5"
    assert str(tmp_path) not in made["other"].page.html


@pytest.mark.parametrize("n_boot", ["0", "-3"])
def test_no_resamples_are_refused_in_a_line(n_boot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "o"), "--n-boot", n_boot])
    assert stopped.value.code == 2
    assert f"--n-boot {n_boot} must be at least 1" in capsys.readouterr().err


def test_one_resample_is_enough_to_write(tmp_path: Path, make_predictions: Any, capsys: Any) -> None:
    write_predictions(tmp_path / "p.parquet", make_predictions("eyes", n_subjects=2, sites=("x",)))
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "o"), "--n-boot", "1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["audit_errors"] == []
    assert all(Path(path).is_file() for path in printed["files"].values())
    assert set(printed["files"]) == {path.name for path in (tmp_path / "o").iterdir() if path.is_file()}


def test_each_file_is_named_with_its_own_digest(with_files: Any) -> None:
    folder = with_files.folder.parent
    names = {
        "predictions": "p",
        "transfer": "t",
        "stress": "s",
        "embeddings e1.parquet": "e1",
        "embeddings e2.parquet": "e2",
    }
    assert with_files.facts["provenance"]["sha256"] == {
        name: hashlib.sha256((folder / f"{file}.parquet").read_bytes()).hexdigest() for name, file in names.items()
    }


def test_a_model_without_a_mistake_has_a_page(tmp_path: Path, make_predictions: Any) -> None:
    predictions = make_predictions("epilepsy", n_subjects=2, sites=("x",))
    for name in predictions.classes:  # every error rate is 0: an axis of one value
        predictions.frame[f"prob_{name}"] = predictions.frame[f"target_{name}"].round()
    write_predictions(tmp_path / "p.parquet", predictions)
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "o"), "--n-boot", "3"]) in (0, 1)
    assert ">1.000<" in (tmp_path / "o" / "report.html").read_text()
