import json
from pathlib import Path

import pytest

from training.monitors import tracking
from training.monitors.tracking import JsonLines, open_trackers


def logged(folder: Path, also: tuple[str, ...], *, after_step: int = 0, steps: range = range(1, 4)) -> None:
    trackers = open_trackers(
        folder / "metrics.jsonl", also=also, after_step=after_step, active=True, config={"recipe": "eeg_tiny"}
    )
    for step in steps:
        trackers.log(step, {"loss": 1.0 / step})
    trackers.close()


def test_json_lines_have_every_step_once_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    logged(tmp_path, ())
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # a killed process's last words
    logged(tmp_path, (), after_step=2, steps=range(3, 5))
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 4]
    JsonLines(path, after_step=1).close()
    assert len(path.read_text().splitlines()) == 1


def test_processes_but_the_first_log_nothing(tmp_path: Path) -> None:
    trackers = open_trackers(tmp_path / "metrics.jsonl", also=("wandb",), after_step=0, active=False, config={})
    trackers.log(1, {"loss": 1.0})
    trackers.close()
    assert list(tmp_path.iterdir()) == []


def test_wandb_writes_an_offline_run_that_a_resume_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra [track] is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    logged(tmp_path, ("wandb",))
    run_id = (tmp_path / "wandb_run_id").read_text()
    logged(tmp_path, ("wandb",), after_step=3, steps=range(4, 6))
    assert (tmp_path / "wandb_run_id").read_text() == run_id
    files = list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert files
    assert all(run_id in file.name and file.stat().st_size > 0 for file in files)


def test_mlflow_keeps_the_numbers_in_a_local_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow.tracking", reason="the extra [track] is not installed")
    pytest.importorskip("sqlalchemy", reason="the extra [track] is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logged(tmp_path, ("mlflow",))
    logged(tmp_path, ("mlflow",), after_step=3, steps=range(4, 5))
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    run_id = (tmp_path / "mlflow_run_id").read_text()
    assert [(m.step, m.value) for m in client.get_metric_history(run_id, "loss")] == [
        (1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3)), (4, 0.25),
    ]  # fmt: skip
    assert client.get_run(run_id).data.params == {"recipe": "eeg_tiny"}
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_missing_package_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(tracking.importlib, "import_module", missing)
    with pytest.raises(ValueError, match="wandb is not installed .*: pip install wandb, or leave it out"):
        logged(tmp_path, ("wandb",))
