"""Recordings and a label file become shards and classes before a study starts; shards that are there stay."""

import subprocess
from pathlib import Path

import pytest

from cerebeam import study
from signals.shards.manifest import COMPLETED


def labels(folder: Path, *names: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("site,subject,file,label\n" + "".join(f"s,p{n},f{n}.edf,{name}\n" for n, name in enumerate(names)))
    return path


def test_classes_are_the_labels_that_a_file_names(tmp_path: Path) -> None:
    assert study.classes_of(labels(tmp_path, "still", "moving", " still ", "")) == ("moving", "still")
    with pytest.raises(ValueError, match="names 1 labels; a task has 2 to 20"):
        study.classes_of(labels(tmp_path, "still", "still"))
    with pytest.raises(ValueError, match="names 21 labels"):
        study.classes_of(labels(tmp_path, *(f"l{n}" for n in range(21))))
    (tmp_path / "labels.csv").write_text("site,subject\na,b\n")
    with pytest.raises(ValueError, match="has no column 'label'"):
        study.classes_of(tmp_path / "labels.csv")


def test_shards_that_are_there_are_used_and_a_new_task_gets_its_classes(tmp_path: Path) -> None:
    file, shards = labels(tmp_path, "still", "moving"), tmp_path / "out" / "shards"
    shards.mkdir(parents=True)
    (shards / COMPLETED).touch()
    base = ["--input", str(tmp_path), "--labels", str(file), "--output", str(tmp_path / "out" / "fair.parquet")]
    found = study.with_shards("fair", [*base, "--task", "movement", "--seeds", "2"])
    assert found == ["--shards", str(shards), "--task", "movement", "--classes", "moving", "still", "--output",
                     str(tmp_path / "out" / "fair.parquet"), "--seeds", "2"]  # fmt: skip
    assert "--classes" not in study.with_shards("fair", [*base, "--task", "six-class"])
    given = study.with_shards("fair", [*base, "--task", "movement", "--classes", "moving", "still"])
    assert given.count("--classes") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fair", "--input", "/nowhere", "--labels", "/nowhere.csv", "--task", "t", "--output", "o"], "does not exist"),
        (["fair", "--input", "."], "--labels"),
        (["oracle"], "no study 'oracle'"),
    ],
)
def test_mistakes_end_in_code_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        study.main(arguments)
    assert refused.value.code == 2
    assert words in capsys.readouterr().err


def test_what_the_pipeline_refuses_ends_with_its_code(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = labels(tmp_path, "still", "moving")
    empty = tmp_path / "recordings"
    empty.mkdir()
    with pytest.raises(SystemExit) as refused:
        study.main(["fair", "--input", str(empty), "--labels", str(file), "--task", "movement", "--output",
                    str(tmp_path / "out" / "fair.parquet")])  # fmt: skip
    assert refused.value.code not in (0, None)
    assert not (tmp_path / "out" / "fair.parquet").exists()


def test_labels_with_an_onset_get_a_window_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[bytes]:
        started.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(study.subprocess, "run", run)
    whole, placed = labels(tmp_path, "still", "moving"), tmp_path / "placed.csv"
    placed.write_text("file,label,onset_s\nf0.edf,still,0\nf0.edf,moving,60\n")
    for file in (whole, placed):
        study.with_shards("fair", ["--input", str(tmp_path), "--labels", str(file), "--task", "movement", "--output",
                                   str(tmp_path / "out" / "fair.parquet")])  # fmt: skip
    at_onsets = ["--set windows=labelled" in " ".join(command) for command in started]
    assert at_onsets == [False, True]
