"""docs/sites.md does what it promises: files are written, commands run and printed output compared, as on the page."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from cerebeam.cli import main
from signals.shards.manifest import read_manifest
from signals.sites.card_file import read_card

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sites.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def write_log(path, *, seconds, seed):
    """Write a log of the Cyton: a counter of 0 to 255, four channels in µV, a time."""
    x = 15 * np.random.default_rng(seed).normal(size=(250 * seconds, 4)).cumsum(axis=0) % 150 - 75
    names = ["Sample Index", *(f"EXG Channel {k}" for k in range(4)), "Timestamp"]
    rows = (",".join([str(k % 256), *(f"{value:.3f}" for value in row), f"{k / 250:.3f}"]) for k, row in enumerate(x))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(names), *rows]) + "\n")


def run(command, capsys):
    """Run a command line of the page, and return what it prints."""
    program, *args = shlex.split(command)
    assert program == "cerebeam"
    code = main(args)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


def test_the_walk_through_does_what_the_page_states(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "ulm" / "p7_rest.csv", seconds=30, seed=1)
    write_log(tmp_path / "ulm" / "p12_eyes.csv", seconds=25, seed=2)
    n_commands = 0
    for kind, name, content in BLOCKS:
        if name:
            (tmp_path / name).write_text(content, encoding="utf-8")
        if kind != "console":
            continue
        for part in content.split("$ ")[1:]:
            command, _, expected = part.partition("\n")
            printed = run(command, capsys)
            assert printed == expected or not expected, command
            n_commands += 1
    assert n_commands == 3
    manifest = read_manifest(tmp_path / "shards")
    assert manifest.counts["sites"]["ulm-cyton"]["windows"] == 5
    assert manifest.counts["sites"]["ulm-cyton"]["classes"] == {"absence": 2, "control": 3}
    assert len(manifest.subjects) == 2


def test_the_draft_has_what_the_page_keeps_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "ulm" / "p7_rest.csv", seconds=10, seed=1)
    assert "`cerebeam site-card ulm/p7_rest.csv`" in PAGE
    text = run("cerebeam site-card ulm/p7_rest.csv", capsys)
    for inferred in ("subject: '^(p[0-9]+)'", "formats: 'csv'", "rate: 250.0", 'counter: ["Sample Index", 256]'):
        assert inferred in text
    for question in ("mains: detect # ?", "# ? reference:", "channels: # ?", "# ? unit:"):
        assert question in text


def test_the_fault_on_the_page_is_the_one_that_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    card = next(content for _, name, content in BLOCKS if name == "ulm/site-card.yaml")
    write_log(tmp_path / "ulm" / "p7_rest.csv", seconds=11, seed=1)
    (tmp_path / "ulm" / "site-card.yaml").write_text(card.replace("reference", "refrence"), encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main(["dry-run", "--input", "ulm"])
    assert caught.value.code == 2
    (fault,) = re.findall(r"`(ulm/site-card.yaml line .*)`", PAGE)
    assert fault in capsys.readouterr().err.replace(f"{os.getcwd()}/", "")


def test_every_snippet_is_a_card(tmp_path):
    snippets = [content for kind, name, content in BLOCKS if kind == "yaml" and not name]
    assert snippets
    for content in snippets:
        (tmp_path / "card.yaml").write_text("name: x\n" + content, encoding="utf-8")
        assert read_card(str(tmp_path / "card.yaml")).known("/a/signal-7.csv").subject == "GB007"


def test_every_key_stands_on_the_page():
    from signals.readers.channels.caps import CAP_NAMES
    from signals.sites.schema import KEYS, CardModel

    for key in (*CardModel.model_fields, *(key for section in KEYS.values() for key in section), *CAP_NAMES):
        assert f"`{key}`" in PAGE or f"`channels: {key}`" in PAGE, key


def test_as_many_example_cards_as_the_page_counts():
    assert len(list((ROOT / "docs" / "sites").glob("*.yaml"))) == 14
    assert "fourteen public collections" in PAGE
