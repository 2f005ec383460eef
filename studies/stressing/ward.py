"""Saved models, and the recordings of people that they were not trained on, found again and prepared anew."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.saved import TaskModel, model_name
from signals.bundles.calibration import activated
from signals.readers.digests import source_sha256
from signals.readers.registry import open_recording
from signals.recording.recording import Recording, UnreadableError
from signals.shards.records import as_stored
from signals.tasks import is_multilabel
from signals.window import Window
from signals.windows.blocks import WindowStart, blocks
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_block
from signals.windows.profiles import Profile
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled, task_named
from training.fitting.inference import fields_of, load_on_device, reads_spectrogram


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
            if fields_of(model):
                raise ValueError(f"{path} reads {', '.join(fields_of(model))}; stress is for models on samples alone")
        self.recordings = self.data.recordings
        self.sources = self._find(inputs, per_site)

    def sources_of(self, rows: np.ndarray) -> list[Source]:
        """Return the recordings that rows of the labelled windows are of."""
        wanted = set(self.recordings[rows].tolist())
        return [source for source in self.sources if self.recordings[source.rows[0]] in wanted]

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
    return activated(logits_BK.double().cpu().numpy(), multilabel=is_multilabel(model.config.task))
