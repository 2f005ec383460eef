"""Values of options, looked at before any work."""

import argparse
from pathlib import Path

import pytest

from signals.command_line import Parser, count, known_file, known_folder, new_file, positive, whole


@pytest.mark.parametrize(
    ("convert", "text"),
    [(positive, text) for text in ("-5", "0", "nan", "inf", "-inf", "much", "")]
    + [(count, text) for text in ("0", "-1", "2.5", "", "many", "1e3")]
    + [(whole, text) for text in ("-1", "2.5", "")],
)
def test_a_number_that_cannot_be_is_refused_with_its_rule(convert, text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be a"):
        convert(text)


def test_numbers_that_can_be_are_taken():
    assert (positive("0.5"), count("1"), whole("0")) == (0.5, 1, 0)


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for name in ("", ".", "file/below", "file/below/further"):
        with pytest.raises(argparse.ArgumentTypeError, match="is a folder|cannot be written"):
            new_file(str(tmp_path / name) if name else "")
    for name in ("new", "file", "folder/to/be/made"):
        assert new_file(str(tmp_path / name)) == tmp_path / name
    assert not (tmp_path / "folder").exists()  # looked at, not made


def test_what_is_to_be_read_must_be_there(tmp_path):
    (tmp_path / "file").touch()
    assert known_file(str(tmp_path / "file")) == tmp_path / "file"
    assert known_folder(str(tmp_path)) == tmp_path
    for convert, name in ((known_file, "missing"), (known_file, ""), (known_folder, "missing"), (known_folder, "file")):
        with pytest.raises(argparse.ArgumentTypeError, match="does not exist|is a folder|is no folder"):
            convert(str(tmp_path / name))


def test_a_page_has_choices_defaults_and_what_is_required(capsys):
    parser = Parser(prog="x", description="y")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--one", type=Path, help="a place")
    group.add_argument("--two", help="words (default in the text)", default="w")
    parser.add_argument("--kind", choices=["a", "b"], default="a", help="100%% of it")
    parser.add_argument("--hidden", help=argparse.SUPPRESS)
    parser.epilog = "More."
    page = parser.page()
    assert page.one_of == (("--one", "--two"),)
    assert [(o.names, o.metavar, o.choices, o.default) for o in page.options] == [
        (("--one",), "PATH", (), ""), (("--two",), "TEXT", (), ""), (("--kind",), "TEXT", ("a", "b"), "a"),
    ]  # fmt: skip
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "--kind {a,b}" in shown
    assert "100% of it (default: a)" in shown
    assert shown.endswith("One of --one, --two is required.\n\nMore.\n")
    with pytest.raises(SystemExit):
        parser.parse_args(["--kind", "c", "--one", "p"])
    assert "usage" not in capsys.readouterr().err
