"""Where a run's numbers go: JSON lines always, W&B and MLflow by choice. Only the main process logs.

W&B writes offline by default: `wandb sync OUT/wandb/offline-run-*` uploads it later. MLflow writes to a local SQLite
file in OUT unless MLFLOW_TRACKING_URI names a server.
"""

import importlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from signals.files import atomic_file

TrackerName = Literal["wandb", "mlflow"]


class Tracker(Protocol):
    """Takes a run's numbers, step by step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step; steps come in order, and again after a resume from an earlier one."""

    def close(self) -> None:
        """Finish; nothing is logged afterwards."""


class JsonLines:
    """One line a step in a file; going on from a step drops the lines after it, so every step stands there once."""

    def __init__(self, path: Path, *, after_step: int) -> None:
        old = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in old if _step_of(line) <= after_step]
        with atomic_file(path) as file:
            file.write("".join(line + "\n" for line in kept).encode())
        self._file = path.open("a", encoding="utf-8")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class WandbTracker:
    """A run of Weights & Biases, offline unless WANDB_MODE says otherwise; a resumed run keeps its id."""

    def __init__(self, folder: Path, *, config: Mapping[str, Any], project: str) -> None:
        wandb = _imported("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=project,
            dir=str(folder),
            config=dict(config),
            id=_kept(folder / "wandb_run_id", lambda: secrets.token_hex(4)),
            resume="allow",
            mode=os.environ.get("WANDB_MODE", "offline"),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log at a step; W&B ignores steps that it has seen already."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class MlflowTracker:
    """A run of MLflow, in a local file or on the server that MLFLOW_TRACKING_URI names; a resumed run keeps its id."""

    def __init__(self, folder: Path, *, config: Mapping[str, Any], project: str) -> None:
        client = _imported("mlflow.tracking")
        folder.mkdir(parents=True, exist_ok=True)
        uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{(folder / 'mlflow.db').resolve()}")
        self._client = client.MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self._client.create_experiment(project)
        self._run_id = _kept(folder / "mlflow_run_id", lambda: self._client.create_run(experiment).info.run_id)
        for name, value in config.items():
            self._client.log_param(self._run_id, name, value)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log at a step; after a resume MLflow keeps both values of a step that was taken again."""
        for name, value in values.items():
            self._client.log_metric(self._run_id, name, float(value), step=step)

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run_id)


class Trackers:
    """Several trackers as one; without any, nothing is logged."""

    def __init__(self, trackers: Sequence[Tracker] = ()) -> None:
        self._trackers = list(trackers)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Tell all of them."""
        for tracker in self._trackers:
            tracker.log(step, values)

    def close(self) -> None:
        """Close all of them."""
        for tracker in self._trackers:
            tracker.close()


def open_trackers(
    path: Path,
    *,
    also: Sequence[TrackerName] = (),
    after_step: int,
    active: bool,
    config: Mapping[str, Any],
    project: str = "cerebeam",
) -> Trackers:
    """Return a run's trackers: JSON lines in `path`, and those of `also` in its folder; none where not active.

    Raises ValueError, saying what to install, for a tracker whose package is missing.
    """
    if not active:
        return Trackers()
    made: dict[TrackerName, Any] = {"wandb": WandbTracker, "mlflow": MlflowTracker}
    others = [made[name](path.parent, config=config, project=project) for name in also]
    return Trackers([JsonLines(path, after_step=after_step), *others])


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise ValueError(f"{package} is not installed ({error}): pip install {package}, or leave it out") from error


def _kept(path: Path, make: Any) -> str:
    """Return the text kept in a file, made and written the first time."""
    if not path.exists():
        path.write_text(str(make()), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _step_of(line: str) -> float:
    """Return the step of a line, or infinity for a line that a killed process left unfinished."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return float("inf")
