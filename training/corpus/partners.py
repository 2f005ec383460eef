"""Another stretch of the same recording for each window of a step: what contrasting recordings compares it with.

A partner is drawn uniformly among the windows of the recording that begin at least `FAR_S` before or after, where there
are any: what stays the same for a minute or more is the person and the state, not a single wave. Where there are none
it is drawn among those that do not overlap; a window without such has no partner. The draw depends on seed and sample
number alone. Of a corpus that is too large to be listed (`training.corpus.lanes`) partners come from the window's own
shard, which holds half an hour of a recording at most, so that no further index is read.

A partner is one more window to read: a step decodes twice as many where the corpus does not keep them in memory.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from model.pretraining.draws import Draws
from training.corpus.corpus import Corpus
from training.corpus.order import MicroBatch

FAR_S = 60.0
"""Between the beginnings of a window and its partner, where the recording allows."""
_SHARDS_KEPT = 64


@dataclass(frozen=True, kw_only=True)
class Stretches:
    """Chosen windows, those of one recording and length together in order of time, and the partners of each.

    Arrays of int64, shape (n,). The partners of row r are the rows `first[r]` to `first[r] + n_before[r]`, and those
    from `after[r]` to `stop[r]`; ends are left out.
    """

    numbers: np.ndarray
    subjects: np.ndarray
    """`subject_code` of whom each is."""
    first: np.ndarray
    n_before: np.ndarray
    after: np.ndarray
    stop: np.ndarray
    rows: Mapping[int, int]
    """Row of each window by its number."""

    def partner(self, number: int, share: float) -> int | None:
        """Return the partner at a share, of at least 0 and less than 1, of a window's; None where it has none."""
        row = self.rows[number]
        n_before, n_after = int(self.n_before[row]), int(self.stop[row] - self.after[row])
        if not n_before + n_after:
            return None
        k = min(int(share * (n_before + n_after)), n_before + n_after - 1)
        return int(self.numbers[self.first[row] + k if k < n_before else self.after[row] + k - n_before])


class Partners:
    """Partners of the chosen windows of a corpus."""

    def __init__(
        self,
        corpus: Corpus,
        keep: Callable[[pa.Table], np.ndarray],
        *,
        crop_times: int,
        seed: tuple[int, ...],
        is_listed: bool = True,
    ) -> None:
        """`keep`: which windows of an index take part, bool; `is_listed`: whether all indexes are read at once."""
        self._corpus, self._keep, self._crop_times, self._seed = corpus, keep, crop_times, seed
        self._is_listed = is_listed
        self._kept = lru_cache(maxsize=_SHARDS_KEPT)(self._read)

    def of(self, micro: MicroBatch) -> MicroBatch:
        """Return the partners of a micro-batch's windows, with their sample numbers; windows without are left out."""
        shares = Draws(self._seed, torch.tensor(micro.samples, dtype=torch.int64)).uniform("partner")[:, 0].tolist()
        drawn = [self._stretches(w).partner(w, share) for w, share in zip(micro.windows, shares, strict=True)]
        found = [(partner, s) for partner, s in zip(drawn, micro.samples, strict=True) if partner is not None]
        return MicroBatch(
            windows=tuple(window for window, _ in found), samples=tuple(s for _, s in found), n_times=micro.n_times
        )

    def identified(
        self, raw: Mapping[str, Tensor], micro: MicroBatch, *, source: int, n_sources: int
    ) -> dict[str, Tensor]:
        """Return raw samples with "pair_B", the same of a window and its partner alone, and "subject_B", int64."""
        window_of = dict(zip(micro.samples, micro.windows, strict=True))
        windows = [window_of[sample] for sample in raw["sample_B"].tolist()]
        codes = []
        for window in windows:
            stretches = self._stretches(window)
            codes.append(int(stretches.subjects[stretches.rows[window]]))
        subject_B = torch.tensor(codes, dtype=torch.int64, device=raw["sample_B"].device)
        return {**raw, "pair_B": raw["sample_B"] * n_sources + source, "subject_B": subject_B}

    def paired(self) -> tuple[int, set[int]] | None:
        """Return how many windows have a partner, and the codes of their subjects; None of a corpus not listed."""
        if not self._is_listed:
            return None
        found = self._kept(None)
        has = found.n_before + found.stop - found.after > 0
        return int(has.sum()), set(found.subjects[has].tolist())

    def _stretches(self, window: int) -> Stretches:
        return self._kept(None if self._is_listed else self._corpus.place(window)[0])

    def _read(self, shard: int | None) -> Stretches:
        shards = range(len(self._corpus.shards)) if shard is None else [shard]
        return _read_stretches(self._corpus, shards, self._keep, self._crop_times)


def check_pairs(partners: Sequence[Partners]) -> None:
    """Raise ValueError where no window has a partner, or all that have one are of one person."""
    found = [pairs for one in partners if (pairs := one.paired()) is not None]
    if len(found) < len(partners):
        return  # too large to be listed
    n_windows, subjects = sum(n for n, _ in found), set[int]().union(*(codes for _, codes in found))
    if len(subjects) < 2:
        raise ValueError(
            f"recording_contrast: {n_windows} windows to train on, of {len(subjects)} people, have another of their "
            "recording, as long and not overlapping; windows of two people are needed: cut recordings into more windows"
        )


def subject_code(subject_id: str) -> int:
    """Return a number of 64 bits that stands for a subject in any corpus."""
    return int.from_bytes(hashlib.sha256(subject_id.encode()).digest()[:8], "little", signed=True)


def _read_stretches(
    corpus: Corpus, shards: Iterable[int], keep: Callable[[pa.Table], np.ndarray], crop_times: int
) -> Stretches:
    numbers, names, n_times, starts = [], [], [], []
    for shard in shards:
        index = corpus.index(shard)
        kept = np.flatnonzero(keep(index))
        numbers.append(corpus.numbers(shard).start + kept)
        table = index.take(pa.array(kept))
        names += list(zip(table["subject_id"].to_pylist(), table["recording_id"].to_pylist(), strict=True))
        n_times.append(table["n_times"].to_numpy().astype(np.int64))
        starts.append(table["start_s"].to_numpy())
    recordings = {name: place for place, name in enumerate(dict.fromkeys(names))}
    recording = np.array([recordings[name] for name in names], dtype=np.int64)
    codes = np.array([subject_code(subject) for subject, _ in recordings], dtype=np.int64)
    length = np.concatenate(n_times)
    order = np.lexsort((np.concatenate(starts), length.clip(max=crop_times), recording))
    place, length, start_s = recording[order], length[order], np.concatenate(starts)[order]
    sfreq = corpus.manifest.modality.sfreq
    spans = _partners(place, length.clip(max=crop_times), start_s, length / sfreq)
    found = np.concatenate(numbers)[order].astype(np.int64)
    rows = {int(number): row for row, number in enumerate(found)}
    return Stretches(numbers=found, subjects=codes[place], rows=rows, **spans)


def _partners(
    recording: np.ndarray, length: np.ndarray, start_s: np.ndarray, window_s: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the fields of `Stretches` that bound the partners of each row; rows are in the order of `Stretches`."""
    n = len(recording)
    changes = np.flatnonzero((np.diff(recording) != 0) | (np.diff(length) != 0)) + 1
    spans = {name: np.zeros(n, dtype=np.int64) for name in ("first", "n_before", "after", "stop")}
    for first, stop in zip([0, *changes], [*changes, n], strict=True):
        group, times = slice(first, stop), start_s[first:stop]
        longest_s = window_s[group].max(initial=0.0)
        n_before, after = _beyond(times, max(FAR_S, longest_s))
        near_before, near_after = _beyond(times, longest_s)
        has_far = n_before + len(times) - after > 0
        spans["first"][group], spans["stop"][group] = first, stop
        spans["n_before"][group] = np.where(has_far, n_before, near_before)
        spans["after"][group] = first + np.where(has_far, after, near_after)
    return spans


def _beyond(times: np.ndarray, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of sorted times are at least so much before each, and the place of the first as much after it."""
    rounding = 1e-6
    before = np.searchsorted(times, times - apart + rounding, side="right")
    return before, np.searchsorted(times, times + apart - rounding, side="left")
