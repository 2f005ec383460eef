"""Page and card are made from facts.json alone, and files of another kind are refused."""

import copy
from pathlib import Path
from typing import Any

import pytest

from evaluation.report.__main__ import main
from evaluation.report.card import model_card
from evaluation.report.page import page

TITLE = "Cerebeam evaluation: rest-or-task"


def test_page_and_card_are_made_from_facts_alone(with_files: Any) -> None:
    facts = copy.deepcopy(with_files.facts)
    assert page(facts, title=TITLE) == with_files.page.html
    assert model_card(facts, title=TITLE) == with_files.card
    facts["selective"]["aurc"]["value"] = 0.987
    assert "(AURC) 0.987 (" in page(facts, title=TITLE).replace("<b>", "").replace("</b>", "")


def test_names_of_files_do_not_become_tags(with_files: Any) -> None:
    assert "probe <b>" not in with_files.page.html.split('<script type="application/json"')[0]
    assert "probe <b>" in with_files.page.text["transfer"]
    assert len(with_files.facts["provenance"]["sha256"]) == 5


def test_card_has_use_data_evidence_and_limitations(with_files: Any) -> None:
    card, facts = with_files.card, with_files.facts
    header = card.split("---\n")[1]
    value = facts["models"]["encoder"]["metrics"]["balanced_accuracy"]["value"]
    assert f'- type: balanced_accuracy\n      name: "Balanced accuracy"\n      value: {value:.4f}\n' in header
    assert "license: mit" in header
    for heading in ("Intended use", "Data", "Evidence", "Leak audit", "Limitations", "Reproducibility"):
        assert f"## {heading}\n" in card
    assert "not a medical device" in card
    assert facts["provenance"]["sha256"]["predictions"] in card
    assert "no_fingerprints" in card


def test_header_of_the_card_is_about_the_main_model(with_files: Any) -> None:
    facts = copy.deepcopy(with_files.facts)
    facts["models"]["chance"]["metrics"]["kl"]["value"] = 9.8765
    facts["models"]["encoder"]["metrics"]["kl"]["value"] = 0.1234
    header = model_card(facts, title=TITLE).split("---\n")[1]
    assert "value: 0.1234" in header
    assert "9.8765" not in header


def test_a_file_of_another_kind_is_one_line(with_files: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder: Path = with_files.folder.parent
    for option, name in (("--stress", "p"), ("--embeddings", "s"), ("--transfer", "e1")):
        argv = [str(folder / "p.parquet"), "--output", str(folder / "no"), option, str(folder / f"{name}.parquet")]
        assert main(argv) == 2
        err = capsys.readouterr().err
        assert "holds" in err
        assert err.count("\n") == 1
    assert not (folder / "no").exists()
