"""A bundle: a folder that holds a model and everything needed to prepare its windows, each file with its digest.

bundle/model.onnx      inputs signal float32 (batch, n_chans, n_times), normalised; ch_state int64 (batch, n_chans)
                       outputs logits (batch, n_classes), representation (batch, width)
bundle/bundle.json     schema version, task, profile, normaliser, temperature, parity, provenance, sha256 of files
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signals.normalise import Normaliser
from signals.profiles import Profile
from signals.tasks import TASKS, Task

SCHEMA_VERSION = 1
ABOUT, MODEL = "bundle.json", "model.onnx"


class BundleError(ValueError):
    """A folder that is no usable bundle; the message is one line that says why."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A checked bundle, ready for `serving.runtime`."""

    path: Path
    task: Task
    profile: Profile
    normaliser: Normaliser
    temperature: float
    about: dict[str, Any] = field(repr=False)

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.path / MODEL


def load_bundle(path: Path) -> Bundle:
    """Return a bundle after checking its schema and the digest of every file.

    Raises BundleError for a folder without bundle.json, another schema version, an unknown task, a missing or a changed
    file.
    """
    about_path = Path(path) / ABOUT
    if not about_path.is_file():
        raise BundleError(f"{path} is no bundle: it has no {ABOUT}; make one with model.export")
    try:
        about = json.loads(about_path.read_text(encoding="utf-8"))
        version, files = about["schema_version"], about["files"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise BundleError(f"{about_path} is damaged: {error!r}") from None
    if version != SCHEMA_VERSION:
        raise BundleError(f"{path} has schema version {version}, this server reads {SCHEMA_VERSION}: export it again")
    for name, digest in files.items():
        file = Path(path) / name
        if not file.is_file():
            raise BundleError(f"{path} lacks the file {name}")
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise BundleError(f"{file} was changed after the export: its sha256 is not the one in {ABOUT}")
    if about["task"]["name"] not in TASKS:
        raise BundleError(f"{path} is for the unknown task {about['task']['name']!r}")
    return Bundle(
        path=Path(path),
        task=TASKS[about["task"]["name"]],
        profile=Profile.from_dict(about["profile"]),
        normaliser=Normaliser.from_dict(about["normaliser"]),
        temperature=float(about["temperature"]),
        about=about,
    )
