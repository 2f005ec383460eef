"""Page and card are made from facts.json alone, and files of another kind are refused."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from evaluation.report.__main__ import main
from evaluation.report.card import model_card
from evaluation.report.drawing.abbreviations import MEANINGS, used_in
from evaluation.report.drawing.tables import Row, Table, words
from evaluation.report.page import page, phone_labels

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


def table(name: str, *columns: str) -> Table:
    return Table(name=name, columns=columns, rows=(Row(cells=tuple(words("1") for _ in columns)),))


def test_on_a_phone_each_number_of_a_wide_table_has_its_columns_name() -> None:
    css = phone_labels([table("wide", "Model", "KL", "ECE ↓", "n"), table("narrow", "Model", "AUROC", "F1")])
    rules = re.findall(r'\[id="table-(\w+)"\] td:nth-child\((\d)\)::before\{content:"([^"]*)"\}', css)
    assert rules == [("wide", "2", "KL"), ("wide", "3", "ECE ↓"), ("wide", "4", "n")]
    assert css.startswith("@media screen and (max-width:720px){")


def test_no_name_ends_the_style_sheet() -> None:
    css = phone_labels([table('x"]{}', "a", 'b"}</style><script>', "c\\", "d\n")])
    inside = css.removeprefix("@media screen and (max-width:720px){").removesuffix("}")
    assert "<" not in css
    assert "\n" not in css
    # Escapes are hexadecimal: 22 the quotation mark, 5c the backslash, 3c and 3e the brackets, a the end of a line.
    assert 'content:"b\\22 }\\3c /style\\3e \\3c script\\3e "' in inside
    assert 'content:"c\\5c "' in inside
    assert 'content:"d\\a "' in inside
    assert inside.count('"') % 2 == 0


def test_only_abbreviations_that_are_used_are_explained() -> None:
    known = dict(used_in("Macro AUROC of LPDs, not LPDX, pre-ROC; t-SNE"))
    assert list(known) == ["AUROC", "LPD", "t-SNE"]
    assert known["LPD"] == "lateralised periodic discharges"
    assert dict(used_in("")) == {}


def test_the_page_explains_its_own_abbreviations(six_class: Any, with_files: Any) -> None:
    text = six_class.page.text["abbreviations"]
    for short in ("AUROC", "KL", "GRDA", "κ", "PPV", "ECE"):
        assert f"{short}: {MEANINGS[short]}" in text
    assert "t-SNE" not in text  # no embeddings were given
    assert "GRDA" not in with_files.page.text["abbreviations"]
    assert "t-SNE: " in with_files.page.text["abbreviations"]
    # Everything that is explained stands somewhere else, too.
    rest = " ".join(text for name, text in six_class.page.text.items() if name != "abbreviations")
    assert all(short in rest for short in re.findall(r"(\S+): ", text) if short in MEANINGS)
