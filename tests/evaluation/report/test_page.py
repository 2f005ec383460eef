"""The sections of further files, and the model card: every number of facts.json, and nothing but it."""

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.measures.stress import write_stress
from evaluation.report.__main__ import main
from evaluation.report.card import model_card
from evaluation.report.figures import number
from evaluation.report.page import page
from evaluation.schemas.embeddings import Embeddings, write_embeddings
from evaluation.schemas.predictions import Predictions, write_predictions

CLASSES = ("rest", "task")


def rows_of(model: str, *, skill: float, seed: int = 0, **more: object) -> pd.DataFrame:
    rng, rows = np.random.default_rng(seed), []
    for s in range(6):
        for w in range(10):
            p = 1 / (1 + np.exp(-skill * (2 * (w % 2) - 1) - rng.normal()))
            rows.append(
                {"window_key": f"{s}-{w}", "recording_id": f"r{s}", "subject_id": f"s{s}", "site_id": "ab"[s % 2],
                 "fold": "ab"[s % 2], "model": model, "label": CLASSES[w % 2], "target_rest": 1.0 - w % 2,
                 "target_task": float(w % 2), "prob_rest": 1 - p, "prob_task": p, **more}
            )  # fmt: skip
    return pd.DataFrame(rows)


def file_of(*frames: pd.DataFrame) -> Predictions:
    frame = pd.concat(frames, ignore_index=True)
    return Predictions(frame=frame, task="rest-or-task", classes=CLASSES, meta={"grouping": "site"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_predictions(folder / "p.parquet", file_of(rows_of("encoder", skill=1.0)))
    ways = [rows_of(f"probe <b>#seed{k}", skill=1.0, seed=k) for k in range(2)]
    write_predictions(folder / "t.parquet", file_of(*ways, rows_of("majority", skill=0.0)))
    levels = [
        rows_of("encoder", skill=1.0 - x / 4, stress="mains hum", level=x, unit="µV", level_name="").drop(
            columns="fold"
        )
        for x in (0.0, 1.0, 3.0)
    ]
    write_stress(folder / "s.parquet", file_of(*levels))
    frame = rows_of("encoder", skill=1.0)[["window_key", "recording_id", "subject_id", "site_id", "label"]]
    values = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    for name in ("e1", "e2"):
        meta = {"model": name, "encoder": "random"}
        write_embeddings(folder / f"{name}.parquet", Embeddings(frame=frame, values=values, meta=meta))
    argv = [str(folder / "p.parquet"), "--output", str(folder / "out"), "--n-boot", "40", "--reference", "majority"]
    argv += ["--transfer", str(folder / "t.parquet"), "--stress", str(folder / "s.parquet")]
    argv += ["--embeddings", str(folder / "e1.parquet"), str(folder / "e2.parquet")]
    assert main(argv) == 0
    return folder / "out"


def shown_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", html.split('<script type="application/json"')[0]))


def test_numbers_of_the_sections_are_those_of_facts(made: Path) -> None:
    facts, shown = json.loads((made / "facts.json").read_text()), shown_of((made / "report.html").read_text())
    wanted = [number(row["metrics"]["kl"]["value"], 3) for row in facts["transfer"]["rows"]]
    wanted += [number(row["value"], 3) for row in facts["transfer"]["differences"]]
    wanted += [number(curve["retained"]["balanced_accuracy"]["value"], 2) for curve in facts["stress"]]
    wanted += [number(gap["coral"], 3) for e in facts["embeddings"] for gap in e["gap"]["gaps"]]
    wanted += [number(e["geometry"]["separability"], 2) for e in facts["embeddings"]]
    wanted += [f"{row['coverage']['value']:.1%}" for row in facts["conformal"]["folds"]]
    wanted += [number(facts["selective"]["aurc"]["value"], 3)]
    wanted += [number(row["sensitivity"]["value"], 2) for row in facts["alarms"]]
    assert len(wanted) > 25
    for words in wanted:
        assert words in shown, words
    assert "probe <b>" in shown  # escaped: a name of a file does not become a tag
    assert len(facts["provenance"]["sha256"]) == 5


def test_page_and_card_are_made_from_facts_alone(made: Path) -> None:
    facts = json.loads((made / "facts.json").read_text())
    title = "Cerebeam evaluation: rest-or-task"
    assert page(facts, title=title) == (made / "report.html").read_text()
    assert model_card(facts, title=title) == (made / "MODEL_CARD.md").read_text()
    facts["selective"]["aurc"]["value"] = 0.987
    assert "0.987" in shown_of(page(facts, title=title))


def test_card_says_use_data_evidence_and_limits(made: Path) -> None:
    card, facts = (made / "MODEL_CARD.md").read_text(), json.loads((made / "facts.json").read_text())
    header = card.split("---\n")[1]
    value = facts["models"]["encoder"]["metrics"]["balanced_accuracy"]["value"]
    assert f"value: {value:.4f}" in header
    assert "license: mit" in header
    for heading in ("Intended use", "Data", "Evidence", "Leak audit", "Limits", "How to repeat"):
        assert f"## {heading}\n" in card
    assert "no medical device" in card
    assert facts["provenance"]["sha256"]["predictions"] in card
    assert "no_fingerprints" in card


def test_a_file_of_another_kind_is_one_line(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made.parent
    for option, name in (("--stress", "p"), ("--embeddings", "s"), ("--transfer", "e1")):
        argv = [str(folder / "p.parquet"), "--output", str(folder / "no"), option, str(folder / f"{name}.parquet")]
        assert main(argv) == 2
        err = capsys.readouterr().err
        assert "holds" in err
        assert err.count("\n") == 1
    assert not (folder / "no").exists()
