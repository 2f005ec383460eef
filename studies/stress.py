"""Stress: how predictions change as recordings get worse, through the very preparation that pipeline and server share.

    python -m studies.stress --model OUT/folds/* --shards DIR --input FOLDER --output stress.parquet

Recordings of the shard set are found again by their sha256, disturbed (`synthetic.perturb`), planned and prepared anew,
and predicted. Level 0 is the shard set itself; the command refuses to start where the undisturbed recording does not
give its windows bit for bit. A model predicts only subjects that it was not trained on: give the models of
studies.loso's folds.

This is a program of training/ since it needs a model and writes evidence: serving/ may import neither.
"""

import argparse
import logging
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from evaluation.scenarios.stress import write_stress
from evaluation.schemas.predictions import Predictions
from model.saved import TaskModel, model_name
from signals.command_line import Parser
from signals.readers.digests import source_sha256
from signals.readers.registry import open_recording
from signals.recording.recording import Recording, UnreadableError
from signals.shards.records import as_stored
from signals.window import Window
from signals.windows.blocks import WindowStart, blocks
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_block
from signals.windows.profiles import Profile
from studies.engine.rows import prediction_rows, window_rows
from synthetic.perturb import (
    NotPossibleError,
    add_artifact,
    add_hum,
    change_gains,
    record_at,
    remove_channels,
    rereference,
)
from training.command import run_main
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled, task_named
from training.fitting.inference import load_on_device, predict, reads_spectrogram

PROG = "studies.stress"
logger = logging.getLogger(__name__)
Seed = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Stress:
    """One way to make recordings worse."""

    unit: str
    """What levels count; empty where they are kinds."""
    levels: tuple[float, ...]
    """Above 0, in rising order."""
    apply: Callable[[Recording, float, Seed], Recording]
    """(recording, level, seed) -> recording."""
    names: tuple[str, ...] = ()
    """What levels are called, where they are kinds."""
    shorten: bool = False
    """Whether the level is the seconds that are cut off the window's end, and the recording stays as it is."""

    def name_of(self, level: float) -> str:
        """Return what a level is called on a page; empty for number and unit."""
        return self.names[self.levels.index(level)] if self.names and level else ""


def _artifact(kind: str) -> Stress:
    def apply(recording: Recording, level: float, seed: Seed) -> Recording:
        return add_artifact(recording, kind, amplitude_uv=level, seed=seed)

    return Stress(unit="µV", levels=(25.0, 50.0, 100.0, 200.0, 400.0), apply=apply)


def _hum(mains_hz: float) -> Stress:
    def apply(recording: Recording, level: float, seed: Seed) -> Recording:
        return add_hum(recording, mains_hz=mains_hz, amplitude_uv=level, seed=seed)

    return Stress(unit="µV", levels=(5.0, 20.0, 80.0, 320.0), apply=apply)


_REFERENCES, _RATES = ("Cz", "average"), (100.0, 128.0, 200.0, 500.0)


def stresses(profile: Profile) -> dict[str, Stress]:
    """Return every stress by name, for recordings that are prepared under a profile."""
    among = profile.signal.ch_names
    cuts = tuple(float(s) for s in (2, 4, 6, 10, 20) if profile.window_s - s >= _shortest(profile))
    return {
        "channels removed": Stress(
            unit="channels", levels=(1.0, 2.0, 4.0, 8.0, 12.0),
            apply=lambda r, level, seed: remove_channels(r, int(level), among=among, seed=seed),
        ),
        **{f"{kind.replace('_', ' ')} artifact": _artifact(kind) for kind in ("blink", "muscle", "pop", "drift")},
        "mains hum 50 Hz": _hum(50.0),
        "mains hum 60 Hz": _hum(60.0),
        "gain error": Stress(
            unit="%", levels=(10.0, 30.0, 100.0),
            apply=lambda r, level, seed: change_gains(r, level / 100, seed=seed),
        ),
        "reference": Stress(
            unit="", levels=(1.0, 2.0), names=_REFERENCES,
            apply=lambda r, level, seed: rereference(r, _REFERENCES[int(level) - 1]),
        ),
        "native rate": Stress(
            unit="", levels=_RATES, names=tuple(f"{rate:g} Hz" for rate in _RATES),
            apply=lambda r, level, seed: record_at(r, level),
        ),
        "window shortened": Stress(unit="s", levels=cuts, apply=lambda r, level, seed: r, shorten=True),
    }  # fmt: skip


def _shortest(profile: Profile) -> float:
    """Return the shortest window that still holds the label's span, or two seconds."""
    return profile.label_span_s[1] if profile.label_span_s else 2.0


@dataclass(frozen=True, kw_only=True)
class Source:
    """A recording of the shard set, found again, and the model that may predict it."""

    path: Path
    rows: np.ndarray
    """Rows of the labelled windows, in order of time."""
    model: int
    mains_hz: float | None
    """As the pipeline was given; None where it looked itself."""


class Ward:
    """Models, labelled windows and the recordings that they come from."""

    def __init__(
        self, models: Sequence[Path], shards_dir: Path, inputs: Sequence[Path], *, per_site: int | None
    ) -> None:
        self.models = [load_on_device(path) for path in models]
        self.model_name = model_name(self.models[0])
        self.data = labelled(Corpus.open(shards_dir), task_named(self.models[0].config.task))
        self.profile = Profile.from_dict(self.data.shards.manifest.profile)
        for path, model in zip(models, self.models, strict=True):
            if (model.config.task, model.config.modality) != (self.data.task.name, self.models[0].config.modality):
                raise ValueError(f"{path} is for another task or other channels than {models[0]}")
            if model_name(model) != self.model_name:
                raise ValueError(f"{path} is a model of the kind {model_name(model)}, {models[0]} a {self.model_name}")
            if reads_spectrogram(model):
                raise ValueError(
                    f"{path} reads spectrograms; stress disturbs samples, and makes no spectrograms of them"
                )
        self.recordings = np.array([self.data.shards.entries[i].recording_id for i in self.data.windows])
        self.sources = self._find(inputs, per_site)
        rows = np.concatenate([source.rows for source in self.sources])
        self.about = window_rows(self.data, rows).set_index(rows)

    def _find(self, inputs: Sequence[Path], per_site: int | None) -> list[Source]:
        wanted = {name: model for name in np.unique(self.recordings) if (model := self._stranger(name)) is not None}
        if not wanted:
            raise ValueError(
                "the models were trained on every subject of the shards: give those of studies.loso's folds"
            )
        files = {digest[:16]: (path, digest) for path, digest in _digests(inputs)}
        found: list[Source] = []
        taken: Counter[str] = Counter()
        for name in sorted(set(wanted) & set(files)):
            rows = np.flatnonzero(self.recordings == name)
            site = self._entry(rows[0]).site_id
            if per_site is not None and taken[site] == per_site:
                continue
            taken[site] += 1
            path, digest = files[name]
            rows = rows[np.argsort([self._window(int(row)).start_s for row in rows])]
            found.append(self._checked(path, digest, rows, wanted[name]))
        if not found:
            raise ValueError(f"none of the {len(wanted)} recordings to predict is among the files of the inputs")
        return found

    def _stranger(self, recording_id: str) -> int | None:
        """Return the first model that was not trained on the recording's subject."""
        subject = self._entry(int(np.flatnonzero(self.recordings == recording_id)[0])).subject_id
        knows = [subject in model.config.provenance["train_subjects"] for model in self.models]
        return knows.index(False) if False in knows else None

    def _checked(self, path: Path, digest: str, rows: np.ndarray, model: int) -> Source:
        """Return the source under the mains frequency that gives the shard set's own windows, exactly."""
        site = self.data.shards.manifest.counts.get("sites", {}).get(self._entry(rows[0]).site_id, {})
        given = [float(text.split()[0]) for text in site.get("mains_hz", ()) if text.endswith("given")]
        for mains_hz in (None, *given):
            source = Source(path=path, rows=rows, model=model, mains_hz=mains_hz)
            made = dict(self.windows(source, lambda recording: recording))
            if all(row in made and _as_in_shard(made[row], self._window(row)) for row in rows):
                return source
        raise ValueError(f"{path} does not give the shards' windows: they were prepared by other code or settings")

    def _entry(self, row: int) -> Any:
        return self.data.shards.entries[self.data.windows[row]]

    def _window(self, row: int) -> Window:
        return self.data.shards.window(int(self.data.windows[row]))

    def windows(
        self, source: Source, disturb: Callable[[Recording], Recording], *, shorter_s: float = 0.0
    ) -> Iterator[tuple[int, Window]]:
        """Yield (row, window) of the disturbed recording, as the pipeline and the server prepare it."""
        recording = disturb(open_recording(str(source.path)))
        entry, sfreq = self._entry(source.rows[0]), self.profile.signal.sfreq
        plan = plan_recording(
            recording,
            replace(self.profile, window_s=self.profile.window_s - shorter_s),
            site_id=entry.site_id,
            subject_id=entry.subject_id,
            source_sha256=self._window(source.rows[0]).provenance.source_sha256,
            mains_hz=source.mains_hz,
        )
        n_window = round(plan.profile.window_s * sfreq)
        starts, row_of = [], {}
        for row in source.rows:
            window = self._window(row)
            segment = window.provenance.segment
            length = plan.conditioner.n_times(recording.n_times(plan.picks[0], segment))
            if length < n_window:
                raise UnreadableError("too_short", f"{length} samples, a window takes {n_window}")
            start = round((window.start_s - recording.segments[segment].onset_s) * sfreq)
            # At another rate the last sample may fall short of a window's end by less than one native sample.
            start = min(start, length - n_window)
            starts.append(WindowStart(segment, start))
            row_of[round(recording.segments[segment].onset_s + start / sfreq, 6)] = int(row)
        for block in blocks(plan, starts):
            for window in prepare_block(recording, block).windows:
                yield row_of[window.start_s], window


def _as_in_shard(window: Window, stored: Window) -> bool:
    return np.array_equal(as_stored(window.data, window.sensor_types), stored.data)


def _digests(inputs: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the recordings among files and folders, with their sha256."""
    for item in inputs:
        if not item.exists():
            raise ValueError(f"input {item} does not exist")
        for path in sorted(p for p in item.rglob("*") if p.is_file()) if item.is_dir() else [item]:
            try:
                yield path, source_sha256(path)
            except UnreadableError:
                continue  # a side file, or no recording: only digests that the shards have are looked for


def predict_windows(model: TaskModel, windows: Sequence[Window]) -> np.ndarray:
    """Return class probabilities of windows in µV, float64, shape (n, n_classes): as from a shard."""
    scale = model.normaliser.apply
    types = model.modality.sensor_types
    x = np.stack([scale(as_stored(w.data, types), w.ch_state, w.subject_id, w.site_id, types) for w in windows])
    ch_state = np.stack([w.ch_state for w in windows]).astype(np.int64)
    device = next(model.parameters()).device
    with torch.no_grad():
        tensors = (torch.from_numpy(values).to(device) for values in (np.nan_to_num(x, copy=False), ch_state))
        logits_BK, _ = model(*tensors)
    return logits_BK.double().softmax(-1).cpu().numpy()


def curve(ward: Ward, name: str, stress: Stress, *, seed: int, bar: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows of one stress at every level, and how many windows gave no answer, by level and reason."""
    frames = [_rows(ward, rows, probs, name, stress, 0.0) for rows, probs in _undisturbed(ward)]
    refused: dict[str, dict[str, int]] = {}
    for level in stress.levels:
        silent: Counter[str] = Counter()
        for source in ward.sources:
            rows, probs, reasons = _disturbed(ward, source, stress, level, seed)
            silent += reasons
            if len(rows):
                frames.append(_rows(ward, rows, probs, name, stress, level))
            bar.update()
        if silent:
            refused[stress.name_of(level) or f"{level:g} {stress.unit}"] = dict(silent)
    return pd.concat(frames), refused


def _undisturbed(ward: Ward) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for source in ward.sources:
        windows = ward.data.windows[source.rows]
        yield source.rows, predict(ward.models[source.model], ward.data.shards, windows)[0]


def _disturbed(
    ward: Ward, source: Source, stress: Stress, level: float, seed: int
) -> tuple[np.ndarray, np.ndarray, Counter[str]]:
    """Return rows, their probabilities, and why the other windows of the source gave no answer."""
    own = (seed, int(ward.recordings[source.rows[0]][:8], 16))
    try:
        made = dict(
            ward.windows(source, lambda r: stress.apply(r, level, own), shorter_s=level if stress.shorten else 0.0)
        )
    except NotPossibleError:
        return np.zeros(0, int), np.zeros((0, 0)), Counter({"not_possible": len(source.rows)})
    except UnreadableError as error:
        return np.zeros(0, int), np.zeros((0, 0)), Counter({error.reason: len(source.rows)})
    lost = Counter({"window_rejected": len(source.rows) - len(made)} if len(made) < len(source.rows) else {})
    if not made:
        return np.zeros(0, int), np.zeros((0, 0)), lost
    return np.array(list(made)), predict_windows(ward.models[source.model], list(made.values())), lost


def _rows(ward: Ward, rows: np.ndarray, probs: np.ndarray, name: str, stress: Stress, level: float) -> pd.DataFrame:
    columns = {"stress": name, "level": level, "unit": stress.unit, "level_name": stress.name_of(level)}
    return prediction_rows(ward.about.loc[rows], probs, ward.data.task.classes, model=ward.model_name, **columns)


def run_stress(given: argparse.Namespace, *, command_line: str) -> None:
    """Write the stress file that a command line asks for."""
    ward = Ward(given.model, given.shards, given.input, per_site=given.recordings_per_site)
    known = stresses(ward.profile)
    if unknown := sorted(set(given.stress or ()) - set(known)):
        raise ValueError(f"unknown stress {unknown[0]!r}; stresses are {', '.join(known)}")
    chosen: Mapping[str, Stress] = {name: known[name] for name in given.stress or known}
    frames, refused = [], {}
    n_steps = len(ward.sources) * sum(len(stress.levels) for stress in chosen.values())
    with tqdm(total=n_steps, desc="stress", unit="recording", disable=None) as bar:
        for name, stress in chosen.items():
            frame, refused[name] = curve(ward, name, stress, seed=given.seed, bar=bar)
            frames.append(frame)
    task = ward.data.task
    meta = {
        "grouping": "stress",
        "manifest_digest": ward.data.shards.manifest.digest,
        "models": [str(path.name) for path in given.model],
        "n_recordings": len(ward.sources),
        "refused": refused,
        "seed": given.seed,
        "command": command_line,
    }
    write_stress(given.output, Predictions(frame=pd.concat(frames), task=task.name, classes=task.classes, meta=meta))


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog=PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, nargs="+", required=True, help="folders of fine-tuned models")
    parser.add_argument("--shards", type=Path, required=True, help="shard set with labels, made of the inputs")
    parser.add_argument("--input", type=Path, nargs="+", required=True, help="folders or files of the recordings")
    parser.add_argument("--output", type=Path, required=True, help="stress file to write")
    parser.add_argument("--stress", nargs="+", help="names of stresses; all by default")
    parser.add_argument("--recordings-per-site", type=int, help="at most so many recordings of a site; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of what is random in a stress")
    given = parser.parse_args(arguments)
    run_main(PROG, lambda: run_stress(given, command_line=f"python -m {PROG} {shlex.join(arguments)}"))


if __name__ == "__main__":
    main()
