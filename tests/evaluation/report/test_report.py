"""The report: every number of facts.json on the page, nothing from the network, bad input refused."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.report.__main__ import main
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.pages.svg import number, ticks
from signals.tasks import TASKS


def make_predictions(task: str, *, n_subjects: int, sites: tuple[str, ...], **meta: Any) -> Predictions:
    classes, rng = TASKS[task].classes, np.random.default_rng(0)
    n_classes, rows = len(classes), []
    for s in range(n_subjects):
        for w in range(12):
            true = w % n_classes
            model = np.exp(rng.normal(size=n_classes) + 1.5 * np.eye(n_classes)[true])
            prior = np.arange(1.0, n_classes + 1)
            target = np.eye(n_classes)[true] * 0.6 + 0.4 / n_classes
            for name, prob in (("encoder", model), ("prior", prior)):
                rows.append(
                    {"window_key": f"{s}-{w}", "recording_id": f"r{s}", "subject_id": f"s{s:02d}",
                     "site_id": sites[s % len(sites)], "fold": sites[s % len(sites)], "model": name,
                     "label": classes[true], **dict(zip((f"target_{c}" for c in classes), target, strict=True)),
                     **dict(zip((f"prob_{c}" for c in classes), prob / prob.sum(), strict=True))}
                )  # fmt: skip
    return Predictions(frame=pd.DataFrame(rows), task=task, classes=classes, meta=meta)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    sites = ("north <b>", "south")
    write_predictions(folder / "p.parquet", make_predictions("six-class", n_subjects=8, sites=sites, grouping="site"))
    outside = make_predictions("six-class", n_subjects=6, sites=("icu",), unknown_subject_sites=["icu"])
    write_predictions(folder / "e.parquet", outside)
    (folder / "h.jsonl").write_text("\n".join(json.dumps({"step": i, "loss": 3.0 - i / 10}) for i in range(9)))
    files = ["--external", str(folder / "e.parquet"), "--history", str(folder / "h.jsonl")]
    assert main([str(folder / "p.parquet"), "--output", str(folder / "out"), "--n-boot", "50", *files]) == 0
    return folder / "out"


class Loads(HTMLParser):
    """Collects everything that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {k}={v}" for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "data")]


def page_text(made: Path) -> str:
    html = (made / "report.html").read_text(encoding="utf-8").split('<script type="application/json"')[0]
    return unescape(re.sub(r"<[^>]+>", " ", html))


def test_page_loads_nothing(made: Path) -> None:
    html = (made / "report.html").read_text(encoding="utf-8")
    loads = Loads()
    loads.feed(html)
    assert loads.found == []
    assert not re.search(r"https?://|@import|url\(", html)


def test_page_shows_the_numbers_of_facts(made: Path) -> None:
    facts, shown = json.loads((made / "facts.json").read_text()), page_text(made)
    estimates = [
        entry["metrics"][name]
        for entry in facts["models"].values()
        for name in ("kl", "balanced_accuracy", "kappa", "weighted_f1", "auroc_macro", "ece", "brier", "log_loss")
    ]
    estimates += [facts["models"]["encoder"]["metrics"][f"auroc[{c}]"] for c in facts["task"]["classes"]]
    estimates += [row["metrics"][m] for row in facts["sites"]["encoder"] for m in ("kl", "balanced_accuracy")]
    estimates += [facts["external"]["models"]["encoder"]["metrics"]["balanced_accuracy"]]
    estimates += list(facts["differences"])
    assert len(estimates) > 40
    for estimate in estimates:
        for key in ("value", "low", "high"):
            assert number(estimate[key], 3) in shown
    for digest in facts["provenance"]["sha256"].values():
        assert digest in shown
    for finding in facts["audit"]["findings"]:
        assert finding["message"] in shown


def test_page_embeds_facts_and_escapes_names(made: Path) -> None:
    html = (made / "report.html").read_text(encoding="utf-8")
    embedded = html.split('id="facts">')[1].split("</script>")[0]
    assert json.loads(embedded) == json.loads((made / "facts.json").read_text())
    assert "north <b>" not in html
    assert "north &lt;b&gt;" in html


def test_unknown_patients_are_resampled_by_segment(made: Path) -> None:
    outside = json.loads((made / "facts.json").read_text())["external"]
    assert (outside["n_unknown"], outside["n_clusters"]) == (72, 6)
    assert "not known" in page_text(made)


def test_chance_is_one_over_the_number_of_classes(made: Path) -> None:
    chance = json.loads((made / "facts.json").read_text())["models"]["chance"]["metrics"]
    assert chance["balanced_accuracy"]["value"] == pytest.approx(1 / 6)
    assert chance["kappa"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert chance["auroc_macro"]["value"] == pytest.approx(0.5, abs=1e-12)
    assert chance["log_loss"]["value"] == pytest.approx(np.log(6))


def test_same_input_and_seed_give_the_same_page(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", make_predictions("eyes", n_subjects=3, sites=("x",), grouping="subject"))
    for name in ("one", "two"):
        assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / name), "--n-boot", "20"]) == 0
    pages = [(tmp_path / name / "report.html").read_bytes() for name in ("one", "two")]
    assert pages[0] == pages[1]
    assert b"All data come from one site" in pages[0]


def test_undefined_is_null_with_a_reason(tmp_path: Path) -> None:
    predictions = make_predictions("eyes", n_subjects=1, sites=("x",))
    frame = predictions.frame[predictions.frame["label"] == "eyes_open"]
    write_predictions(tmp_path / "p.parquet", Predictions(frame=frame, task="eyes", classes=predictions.classes))
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "o"), "--n-boot", "20"]) == 0
    known = json.loads((tmp_path / "o" / "facts.json").read_text())["models"]["encoder"]["metrics"]
    assert known["balanced_accuracy"]["value"] is None
    assert known["balanced_accuracy"]["reason"] == "fewer than two classes among the labels"
    assert known["kl"]["low"] is None
    assert "one subject" in known["kl"]["reason"]


def test_one_vote_a_person_where_a_person_has_one_class(tmp_path: Path) -> None:
    predictions = make_predictions("epilepsy", n_subjects=8, sites=("x",), grouping="subject")
    frame = predictions.frame
    ill = (frame["subject_id"].str[-1].astype(int) % 2).to_numpy()
    frame["label"] = np.where(ill, "Epilepsy", "Control")
    frame["target_Epilepsy"], frame["target_Control"] = ill.astype(float), 1.0 - ill
    write_predictions(tmp_path / "p.parquet", predictions)
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "o"), "--n-boot", "20"]) == 0
    people = json.loads((tmp_path / "o" / "facts.json").read_text())["subjects"]["models"]["encoder"]
    assert np.sum(people["counts"]) == 8
    assert "Person by person" in page_text(tmp_path / "o")


@pytest.mark.parametrize("bad", ["missing", "text", "table", "history", "manifest", "other_task"])
def test_bad_input_is_one_line_and_exit_code_2(bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert err.startswith("evaluation.report: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_leak_stands_on_top_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    shown = page_text(tmp_path / "o")
    assert shown.index("must not be used") < shown.index("reached a balanced accuracy")
    assert "subject_on_two_sides" in shown


def test_unknown_option_is_exit_code_2(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path), "--output", str(tmp_path), "--colour"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.43, 0.7), (1.0, 1.0), (3.0, 250.0)])
def test_ticks_cover_the_range(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert marks[0] <= low
    assert marks[-1] >= high
    assert len(marks) <= 9
