"""Honest evidence: train without a site (or without a group of subjects), then predict it; once for every site.

`python -m studies.loso --shards DIR --task six-class --encoder DIR --group site --output OUT/predictions.parquet`
writes rows of the recipe's model ("encoder", or a network by name) and of "prior" (the training fold's mean target),
and the model trained on all sites into OUT/final or `--final DIR`, for export, with the temperature and thresholds
that the predictions say (`studies.calibrate`). The model of each fold stays in OUT/folds/<fold>, for
`studies.stress`.

Exit code 75: a signal stopped it; the same command goes on from there (OUT/<name>.parts, OUT/folds/*.checkpoints).
"""

import json
import logging
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd

from evaluation.audit.confounds import SIGNAL_PROBES, signal_columns
from evaluation.audit.fingerprint import content_hash, fingerprint, pack
from evaluation.schemas.predictions import Predictions, read_predictions, write_predictions
from signals.files import file_sha256
from signals.shards.index import IndexRow
from signals.shards.manifest import RECORDINGS
from signals.version import code_version
from signals.window import MEASURED
from studies.calibrate import calibration_of, summary, write_calibration
from studies.parts import Parts, parts_folder
from training.command import Sections, parse_command, run_alone
from training.corpus import storage
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled, task_named, with_contrast
from training.corpus.splits import Fold, Grouping, describe, site_folds, split_digest, subject_folds
from training.finetune import without_encoder
from training.fitting.fit import NOT_PRETRAINED, Fitting, pretraining_meta
from training.fitting.inference import predict
from training.parallel.distributed import Processes
from training.recipes.finetuning import RECIPES, FinetuneRecipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LosoCommand:
    """Leave one site (or one group of subjects) out, in turn, and predict it."""

    shards: Path
    """Shard set that pipelines.preprocess wrote, with labels."""
    task: str
    """Name of a task of signals.tasks."""
    encoder: Path | None
    """Folder of a pretrained encoder; `--no-encoder` for random weights."""
    output: Path
    """Predictions file."""
    final: Path | None = None
    """Folder for the model trained on everything; `final` beside the predictions without."""
    group: Grouping = "site"
    """What is left out."""
    folds: int = 4
    """Number of groups of subjects; sites make one fold each."""
    recipe: str
    """Name of the recipe that gave the configuration."""
    config: Annotated[FinetuneRecipe, Sections]
    """The recipe, with overrides."""


def leave_out(command: LosoCommand, processes: Processes, *, command_line: str) -> bool:
    """Train and predict every fold, then train the final model; returns False if a signal stopped it.

    `command_line` goes into the metadata. The final model is trained only after all predictions are written.
    """
    task, recipe = task_named(command.task), command.config
    data = with_contrast(labelled(Corpus.open(command.shards), task))
    fitting = Fitting(data, command.encoder, seed=recipe.seed, processes=processes)
    folds = make_folds(data, command.group, n_folds=command.folds, seed=recipe.seed)
    folder = command.output.parent
    parts = Parts(parts_folder(command.output), run_config(command, data, folds))
    for fold in folds:
        if parts.read(fold.name) is None:
            kept = folder / "folds" / fold.name
            log = kept.with_suffix(".jsonl")
            model = fitting.fit(fold.train, recipe, metrics=log, name=f"without {fold.name}")
            if model is None:
                return False
            model.save_pretrained(kept)
            probabilities, _ = predict(model, data.shards, data.windows[fold.test])
            parts.write(fold.name, {"probabilities": probabilities.tolist()})
    meta = {
        **split_meta(data, folds, command.group, fitting.pretraining),
        "encoder": "random" if command.encoder is None else "pretrained",
        "recipe": {"name": command.recipe, **asdict(command.config)},
        "command": command_line,
        "seed": command.config.seed,
    }
    frame = pd.concat([rows for fold in folds for rows in _fold_rows(data, fold, parts, recipe.model.name)])
    write_predictions(command.output, Predictions(frame=frame, task=task.name, classes=task.classes, meta=meta))
    everything, log = np.arange(len(data.windows)), folder / "folds" / "final.jsonl"
    final = fitting.fit(everything, recipe, metrics=log, name="final")
    if final is None:
        return False
    final.save_pretrained(command.final or folder / "final")
    calibration = calibration_of(read_predictions(command.output), recipe.model.name)
    write_calibration(command.final or folder / "final", calibration)
    logger.info("%s", summary(calibration))
    shutil.rmtree(parts.folder)
    return True


def run_config(command: Any, data: Labelled, folds: Sequence[Fold]) -> dict[str, Any]:
    """Return all that decides a command's folds, besides the code outside of signals/: parts of another are refused."""
    encoder = command.encoder
    return {
        **{name: value for name, value in asdict(command).items() if name not in _DECIDES_NO_FOLD},
        "manifest_digest": data.shards.manifest.digest,
        "encoder_sha256": None if encoder is None else file_sha256(encoder / "model.safetensors"),
        "split_digest": split_meta(data, folds, command.group, NOT_PRETRAINED)["split_digest"],
        "code_version": code_version(),
    }


_DECIDES_NO_FOLD = {"shards", "encoder", "output", "final", "models", "seeds", "jobs"}
"""Fields of commands that do not change a finished part, or that digests stand for."""


def _fold_rows(data: Labelled, fold: Fold, parts: Parts, model_name: str) -> Iterator[pd.DataFrame]:
    finished = parts.read(fold.name)
    assert finished is not None
    windows, classes = window_rows(data, fold.test), data.task.classes
    prior = data.targets[fold.train].astype(np.float64).mean(axis=0)
    predicted = {model_name: np.array(finished["probabilities"]), "prior": np.tile(prior, (len(windows), 1))}
    for model, probabilities in predicted.items():
        yield prediction_rows(windows, probabilities, classes, model=model, fold=fold.name)


def make_folds(data: Labelled, group: Grouping, *, n_folds: int, seed: int) -> list[Fold]:
    """Return the folds over rows of `data`."""
    if group == "subject":
        return subject_folds(data.subjects, data.labels, n_folds=n_folds, seed=seed)
    sites = np.array([data.shards.entries[i].site_id for i in data.windows])
    return site_folds(sites, data.subjects)


def window_rows(data: Labelled, rows: np.ndarray) -> pd.DataFrame:
    """Return the columns of a predictions file that do not depend on a model."""
    classes = data.task.classes
    entries = [data.shards.entries[i] for i in data.windows[rows]]
    targets = data.targets[rows].astype(np.float64)
    targets /= targets.sum(axis=1, keepdims=True)
    windows = [data.shards.window(int(i)) for i in data.windows[rows]]
    known = recording_rows(data.shards)
    about = [known.get(entry.recording_id, {}) for entry in entries]
    probes = [signal_columns(w.data[w.eeg_state == MEASURED], w.sfreq, h_freq=w.band[1]) for w in windows]
    return pd.DataFrame(
        {
            "window_key": [entry.key for entry in entries],
            "recording_id": [entry.recording_id for entry in entries],
            "subject_id": [entry.subject_id for entry in entries],
            "site_id": [entry.site_id for entry in entries],
            "label": [classes[k] for k in targets.argmax(axis=1)],
            "n_votes": data.n_votes[rows],
            "content_hash": [content_hash(window) for window in windows],
            "fingerprint": [pack(fingerprint(w.data, w.sfreq, w.eeg_state)) for w in windows],
            "start_s": [entry.start_s for entry in entries],
            "hop_s": hops(data, rows),
            "device": [str(row.get("device") or "") for row in about],
            "file_order": np.array([row.get("file_order") for row in about], dtype=np.float64),
            **{name: [probe[name] for probe in probes] for name in SIGNAL_PROBES},
            **{f"target_{name}": targets[:, k] for k, name in enumerate(classes)},
        }
    )


def recording_rows(shards: Corpus) -> dict[str, dict[str, Any]]:
    """Return what the pipeline reported of each recording, by id; nothing of sets that a generator wrote."""
    paths = [storage.join(uri, RECORDINGS) for uri in shards.uris]
    lines = [line for path in paths if storage.exists(path) for line in storage.read_bytes(path).splitlines()]
    return {row["recording_id"]: row for row in map(json.loads, lines)}


def hops(data: Labelled, rows: np.ndarray) -> np.ndarray:
    """Return the time from each window to the recording's next labelled one, seconds, shape (n_rows,).

    At most a window's length: nobody watches what lies between distant windows. The last one's hop is the profile's.
    """
    entries = [data.shards.entries[i] for i in data.windows]
    window_s = data.task.window_s
    by_recording: dict[str, list[float]] = {}
    for entry in entries:
        by_recording.setdefault(entry.recording_id, []).append(entry.start_s)
    after = {name: np.unique(starts) for name, starts in by_recording.items()}
    last = min(float(data.shards.manifest.profile["hop_s"]), window_s)

    def hop(entry: IndexRow) -> float:
        later = after[entry.recording_id]
        place = int(np.searchsorted(later, entry.start_s)) + 1
        return min(float(later[place] - entry.start_s), window_s) if place < len(later) else last

    return np.array([hop(entries[row]) for row in rows])


def prediction_rows(
    windows: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str], *, model: str, **columns: Any
) -> pd.DataFrame:
    """Return rows of a predictions file: `window_rows`, probabilities, and further columns, such as `fold`."""
    predicted = {f"prob_{name}": probabilities[:, k] for k, name in enumerate(classes)}
    return windows.assign(model=model, **columns, **predicted)


def split_meta(data: Labelled, folds: Sequence[Fold], group: str, pretraining: Mapping[str, Any]) -> dict[str, Any]:
    """Return who stood on which side, for a predictions file's metadata."""
    recordings = np.array([data.shards.entries[i].recording_id for i in data.windows])
    described = describe(folds, data.subjects, recordings)
    subjects = set(data.subjects.tolist())
    return {
        "grouping": group,
        "folds": described,
        "split_digest": split_digest(described),
        "manifest_digest": data.shards.manifest.digest,
        "pretrain_overlap": len(subjects & set(pretraining["train"])),
        **label_meta(data),
        **pretraining_meta(pretraining),
    }


def label_meta(data: Labelled) -> dict[str, str]:
    """Return who labelled the windows, and the salt of their subjects' ids."""
    return {"label_source": data.shards.manifest.label_source, "salt_id": data.shards.manifest.salt_id}


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    prog = "studies.loso"
    arguments = without_encoder(sys.argv[1:] if argv is None else argv)
    command = parse_command(LosoCommand, RECIPES, arguments, default_recipe="probe", prog=prog)
    command_line = f"python -m {prog} {shlex.join(arguments)}"
    run_alone(prog, lambda processes: leave_out(command, processes, command_line=command_line))


if __name__ == "__main__":
    main()
