"""A corpus as pretraining reads it: which windows take part, how they are scaled, and micro-batches of raw samples."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from model.montage import Montage
from signals.description.quality import GOOD
from signals.shards.normalise import Normaliser
from signals.shards.records import quantise_channels
from signals.tasks import TASKS
from signals.window import Window
from training.corpus.corpus import Corpus
from training.corpus.order import MicroBatch
from training.objectives.preparation import crop_starts

LISTED_MOST = 1 << 20
"""Windows of a corpus whose rows one process lists; larger ones are read index by index (`training.corpus.lanes`)."""


@dataclass(frozen=True)
class Rows:
    """Chosen windows of a corpus."""

    numbers: np.ndarray
    """int64, shape (n,)."""
    shards: np.ndarray
    n_times: np.ndarray


@dataclass(kw_only=True)
class Source:
    """A corpus with its scaling, which gives micro-batches of raw samples; the same on every process."""

    corpus: Corpus
    normaliser: Normaliser
    crop_times: int
    seed: tuple[int, ...]
    resident: "Resident | None" = field(default=None, repr=False)

    @property
    def sfreq(self) -> float:
        """Samples a second."""
        return self.corpus.manifest.modality.sfreq

    def raw(self, micro: MicroBatch) -> dict[str, Tensor]:
        """Return "x_BCT" in µV, "inverse_scale_BC", "sample_B", "sleep_target_B" (-1 without) and the montage.

        Windows whose records cannot be read are left out. Shapes: (B, C, crop_times) at most.
        """
        if self.resident is not None:
            return self.resident.raw(micro)
        read = self.corpus.readable(micro.windows)
        samples = torch.tensor([micro.samples[place] for place, _ in read], dtype=torch.int64)
        lengths = torch.tensor([window.data.shape[1] for _, window in read])
        starts = crop_starts(self.seed, samples, lengths, micro.n_times).tolist() if read else []
        crops = [w.data[:, start : start + micro.n_times] for (_, w), start in zip(read, starts, strict=True)]
        return self.tensors([window for _, window in read], crops, samples, micro.n_times)

    def tensors(
        self, windows: list[Window], crops: list[np.ndarray], samples: Tensor, n_times: int
    ) -> dict[str, Tensor]:
        """Return the tensors of crops of windows."""
        modality = self.corpus.manifest.modality
        shape = (modality.n_chans, n_times)
        states = np.array([w.ch_state for w in windows], dtype=np.int64).reshape(-1, modality.n_chans)
        scales = np.array([inverse_scales(w, self.normaliser) for w in windows], np.float32).reshape(states.shape)
        return {
            "x_BCT": torch.from_numpy(np.stack(crops) if crops else np.empty((0, *shape), dtype=np.float32)),
            "inverse_scale_BC": torch.from_numpy(scales),
            "sample_B": samples,
            "sleep_target_B": torch.tensor([sleep_stage(w.label) for w in windows], dtype=torch.int64),
            **Montage.of(modality, torch.from_numpy(states)).tensors(),
        }


def inverse_scales(window: Window, normaliser: Normaliser) -> np.ndarray:
    """Return what `Normaliser.apply` multiplies each channel by, float32, shape (n_chans,)."""
    scales = normaliser.scales_of(window.data, window.ch_state, window.subject_id, window.site_id, window.sensor_types)
    return (1.0 / scales).astype(np.float32)


def sleep_stage(label: str) -> int:
    """Return the place of a label's sleep stage among the classes of the task "sleep", -1 without."""
    stage = TASKS["sleep"].class_of(label)
    return -1 if stage is None else TASKS["sleep"].classes.index(stage)


class Resident:
    """Windows kept as int16 on a device or in RAM, decoded once: a micro-batch is then a gather."""

    def __init__(self, source: Source, rows: Rows, device: torch.device, *, chunk: int = 256) -> None:
        """Read the windows. Raises ValueError where none can be read."""
        self._source, self._crop_times = source, source.crop_times
        values: dict[int, list[Tensor]] = {}
        self._place: dict[int, tuple[int, int]] = {}
        about: dict[int, list[dict[str, Tensor]]] = {}
        for start in range(0, len(rows.numbers), chunk):
            numbers = rows.numbers[start : start + chunk].tolist()
            for place, window in source.corpus.readable(numbers):
                stored, steps = quantise_channels(window.data, window.sensor_types)
                length = window.data.shape[1]
                self._place[numbers[place]] = (length, len(values.setdefault(length, [])))
                values[length].append(torch.from_numpy(stored))
                made = source.tensors([window], [window.data[:, :0]], torch.zeros(1, dtype=torch.int64), 0)
                step_C = torch.from_numpy(np.broadcast_to(steps, len(stored)).copy())
                about.setdefault(length, []).append({**made, "step_BC": step_C[None]})
        if not values:
            raise ValueError(f"no windows of {source.corpus.names} are left to train on")
        self._values = {length: torch.stack(parts).to(device) for length, parts in values.items()}
        self._about = {
            length: {name: torch.cat([part[name] for part in parts]).to(device) for name in parts[0]}
            for length, parts in about.items()
        }
        self.n_bytes = sum(part.numel() * 2 for part in self._values.values())

    def raw(self, micro: MicroBatch) -> dict[str, Tensor]:
        """Return what `Source.raw` does, on the device."""
        known = [(w, s) for w, s in zip(micro.windows, micro.samples, strict=True) if w in self._place]
        by_length: dict[int, list[tuple[int, int]]] = {}
        for window, sample in known:
            length, place = self._place[window]
            by_length.setdefault(length, []).append((place, sample))
        if not by_length:  # none could be read
            by_length = {next(iter(self._values)): []}
        parts = [self._part(length, pairs, micro.n_times) for length, pairs in by_length.items()]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _part(self, length: int, pairs: list[tuple[int, int]], n_times: int) -> dict[str, Tensor]:
        values = self._values[length]
        place_B, sample_B = torch.tensor(pairs, dtype=torch.int64, device=values.device).reshape(-1, 2).unbind(1)
        start_B = crop_starts(self._source.seed, sample_B, torch.full_like(sample_B, length), n_times)
        at_BT = start_B[:, None] + torch.arange(n_times, device=values.device)
        rows_BC1 = torch.arange(values.shape[1], device=values.device)[None, :, None]
        about = {name: value[place_B] for name, value in self._about[length].items()}
        step_BC1 = about.pop("step_BC")[..., None]
        crop_BCT = values[place_B[:, None, None], rows_BC1, at_BT[:, None]].float() * step_BC1
        return {**about, "x_BCT": crop_BCT, "sample_B": sample_B}


class Choice:
    """Which windows of a corpus take part: those of some subjects, of a quality of at least so much, or good ones."""

    def __init__(self, subjects: Collection[str], *, min_quality: float = 0.0, good_only: bool = False) -> None:
        """`good_only`: windows with a reason against them (`signals.description.quality.REASONS`) take no part."""
        self.subjects, self.min_quality, self.good_only = sorted(subjects), min_quality, good_only

    @cached_property
    def _names(self) -> pa.Array:
        return pa.array(self.subjects, pa.string())

    def __call__(self, index: pa.Table) -> np.ndarray:
        """Return which windows of an index take part, bool, shape (n,); one without measured channels has quality 0.

        Raises ValueError for `good_only` where windows were written before that was decided of them.
        """
        kept = pc.is_in(index["subject_id"], value_set=self._names)
        if self.min_quality > 0:
            kept = pc.and_(kept, pc.greater_equal(pc.fill_null(index["quality"], 0.0), self.min_quality))
        if self.good_only:
            if index["quality_verdict"].null_count:
                raise ValueError(
                    "good_only: the shards were written before decisions on quality were stored; preprocess the "
                    "recordings again, or choose min_quality instead"
                )
            kept = pc.and_(kept, pc.equal(index["quality_verdict"], GOOD))
        return np.asarray(kept.to_numpy(zero_copy_only=False), dtype=bool)

    def rows(self, corpus: Corpus, *, most: int | None = None) -> Rows:
        """Return the windows that take part, by reading indexes; with `most`, of evenly spaced shards until enough.

        Raises ValueError where there are none.
        """
        numbers, shards, n_times, n = [], [], [], 0
        order = range(len(corpus.shards)) if most is None else spread(len(corpus.shards))
        for shard in order:
            table = corpus.index(shard)
            kept = np.flatnonzero(self(table))
            numbers.append(corpus.numbers(shard).start + kept)
            shards.append(np.full(len(kept), shard))
            n_times.append(table["n_times"].to_numpy()[kept])
            n += len(kept)
            if most is not None and n >= most:
                break
        if not n:
            raise ValueError(f"no windows of {corpus.names} are left to train on or to be scored")
        place = np.argsort(np.concatenate(numbers), kind="stable")
        return Rows(*(np.concatenate(parts)[place] for parts in (numbers, shards, n_times)))


def spread(n: int) -> list[int]:
    """Return 0 to n - 1 in an order whose beginnings are spread over all of them: bits reversed."""
    width = max(1, (n - 1).bit_length())
    return [k for k in (int(f"{i:0{width}b}"[::-1], 2) for i in range(1 << width)) if k < n]
