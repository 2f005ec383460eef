"""Reports made by the command line, and their pages parsed: tables by name, column and row, figures by name."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from evaluation.report.__main__ import main
from evaluation.scenarios.stress import write_stress
from evaluation.schemas.embeddings import Embeddings, write_embeddings
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.tasks import TASKS

CLASSES = ("rest", "task")


@dataclass
class Entry:
    """A table cell as a reader sees it."""

    text: str = ""
    below: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class ParsedTable:
    """Columns, and rows of cells; `at` finds a cell by the text of its row's first cell."""

    columns: list[str] = field(default_factory=list)
    rows: list[list[Entry]] = field(default_factory=list)
    main: list[bool] = field(default_factory=list)

    def at(self, row: str, column: str) -> Entry:
        [found] = [cells for cells in self.rows if cells[0].text == row]
        assert self.columns.count(column) == 1, self.columns
        return found[self.columns.index(column)]


class Page(HTMLParser):
    """A report's page: `tables` by name, `figures` (SVG elements) by name, `text` of each section by anchor."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.tables, self.text = html, dict[str, ParsedTable](), dict[str, str]()
        self._table: ParsedTable | None = None
        self._cell: Entry | None = None
        self._part = ""
        self._section = ""
        self.feed(html.split('<script type="application/json"')[0])
        svgs = re.findall(r'<figure id="figure-([^"]+)"><figcaption>.*?</figcaption>(<svg.*?</svg>)', html, re.S)
        self.figures = {name: ElementTree.fromstring(svg) for name, svg in svgs}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "section":
            self._section = given["id"]
            self.text[self._section] = ""
        elif tag == "table" and given.get("id", "").startswith("table-"):
            self._table = self.tables[given["id"].removeprefix("table-")] = ParsedTable()
        elif self._table is not None and tag == "thead":
            self._part = "head"
        elif self._table is not None and tag == "tbody":
            self._part = "body"
        elif self._table is not None and tag == "tr" and self._part == "body":
            self._table.rows.append([])
            self._table.main.append("main" in given.get("class", ""))
        elif self._table is not None and tag in ("td", "th"):
            self._cell = Entry(attributes=given)
            if self._part == "body":
                self._table.rows[-1].append(self._cell)
        elif tag == "small" and self._cell is not None:
            self._part = "small"

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._table, self._part = None, ""
        elif tag in ("td", "th") and self._cell is not None and self._table is not None:
            if self._part == "head":
                self._table.columns.append(self._cell.text)
            self._cell = None
        elif tag == "small" and self._part == "small":
            self._part = "body"
        elif tag == "section":
            self._section = ""
        if self._section and tag in ("p", "li", "td", "th", "h2", "h3", "small", "figcaption"):
            self.text[self._section] += " "

    def handle_data(self, data: str) -> None:
        if self._section:
            self.text[self._section] += data
        if self._cell is not None and self._part == "small":
            self._cell.below += data
        elif self._cell is not None:
            self._cell.text += data

    @property
    def all_text(self) -> str:
        """Everything that a reader sees, in order."""
        return " ".join(self.text.values())


@dataclass(frozen=True)
class Made:
    """A report in a folder."""

    folder: Path
    facts: dict[str, Any]
    page: Page

    @property
    def card(self) -> str:
        return (self.folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def read(folder: Path) -> Made:
    """Read a report back."""
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return Made(folder=folder, facts=facts, page=Page((folder / "report.html").read_text(encoding="utf-8")))


def make_predictions(
    task: str, *, n_subjects: int, sites: tuple[str, ...], prefix: str = "", **meta: Any
) -> Predictions:
    """Return predictions of "encoder" and "prior", twelve windows per subject; `prefix` makes others of them."""
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
                    {"window_key": f"{prefix}{s}-{w}", "recording_id": f"{prefix}r{s}", "subject_id": f"{prefix}s{s:02d}",
                     "site_id": sites[s % len(sites)], "fold": sites[s % len(sites)], "model": name,
                     "label": classes[true], **dict(zip((f"target_{c}" for c in classes), target, strict=True)),
                     **dict(zip((f"prob_{c}" for c in classes), prob / prob.sum(), strict=True))}
                )  # fmt: skip
    return Predictions(frame=pd.DataFrame(rows), task=task, classes=classes, meta=meta)


def two_class_rows(model: str, *, skill: float, seed: int = 0, **more: object) -> pd.DataFrame:
    """Return ten windows of six subjects at two sites, of two classes; probabilities lean to the label by `skill`."""
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
    """Return rows as a file of the task rest-or-task."""
    frame = pd.concat(frames, ignore_index=True)
    return Predictions(frame=frame, task="rest-or-task", classes=CLASSES, meta={"grouping": "site"})


@pytest.fixture(scope="session", name="make_predictions")
def _make_predictions() -> Callable[..., Predictions]:
    """How to make predictions of a known task."""
    return make_predictions


@pytest.fixture(scope="session")
def read_report() -> Callable[[Path], Made]:
    """How to read a report back."""
    return read


@pytest.fixture(scope="session")
def six_class(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Report of six classes at two sites, with a second data set and a training log."""
    folder = tmp_path_factory.mktemp("six")
    sites = ("north <b>", "south")
    write_predictions(folder / "p.parquet", make_predictions("six-class", n_subjects=8, sites=sites, grouping="site"))
    outside = make_predictions("six-class", n_subjects=6, sites=("icu",), prefix="x", unknown_subject_sites=["icu"])
    write_predictions(folder / "e.parquet", outside)
    (folder / "h.jsonl").write_text("\n".join(json.dumps({"step": i, "loss": 3.0 - i / 10}) for i in range(9)))
    files = ["--external", str(folder / "e.parquet"), "--history", str(folder / "h.jsonl")]
    assert main([str(folder / "p.parquet"), "--output", str(folder / "out"), "--n-boot", "50", *files]) == 0
    return read(folder / "out")


@pytest.fixture(scope="session")
def with_files(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Report of two classes with transfer, stress and two embeddings files; its inputs lie beside its folder."""
    folder = tmp_path_factory.mktemp("files")
    write_predictions(folder / "p.parquet", file_of(two_class_rows("encoder", skill=1.0)))
    ways = [two_class_rows(f"probe <b>#seed{k}", skill=1.0, seed=k) for k in range(2)]
    write_predictions(folder / "t.parquet", file_of(*ways, two_class_rows("majority", skill=0.0)))
    # The score falls, and comes back a little at the last level.
    levels = [
        two_class_rows("encoder", skill=skill, stress="mains hum", level=x, unit="µV", level_name="").drop(
            columns="fold"
        )
        for x, skill in ((0.0, 1.0), (1.0, 0.1), (3.0, 0.4))
    ]
    write_stress(folder / "s.parquet", file_of(*levels))
    frame = two_class_rows("encoder", skill=1.0)[["window_key", "recording_id", "subject_id", "site_id", "label"]]
    values = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    for name in ("e1", "e2"):
        meta = {"model": name, "encoder": "random"}
        write_embeddings(folder / f"{name}.parquet", Embeddings(frame=frame, values=values, meta=meta))
    argv = [str(folder / "p.parquet"), "--output", str(folder / "out"), "--n-boot", "40", "--reference", "majority"]
    argv += ["--transfer", str(folder / "t.parquet"), "--stress", str(folder / "s.parquet")]
    argv += ["--embeddings", str(folder / "e1.parquet"), str(folder / "e2.parquet")]
    assert main(argv) == 0
    return read(folder / "out")
