"""Shards as a map-style torch dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from training.corpus.corpus import Corpus


@dataclass(frozen=True)
class _Shards(Dataset):
    uris: tuple[str, ...]
    exclude_sites: tuple[str, ...]

    @cached_property
    def corpus(self) -> Corpus:
        """Opened where it is used: in each worker process of a DataLoader by itself."""
        return Corpus.open(self.uris, exclude_sites=self.exclude_sites)

    def __getstate__(self) -> dict[str, Any]:
        return {"uris": self.uris, "exclude_sites": self.exclude_sites}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, number: int) -> dict[str, Any]:
        window = self.corpus.window(number)
        return {
            "signal": torch.from_numpy(window.data), "ch_state": torch.from_numpy(window.ch_state.copy()),
            "votes": torch.tensor(window.votes), "label": window.label, "subject_id": window.subject_id,
            "site_id": window.site_id, "key": window.key,
        }  # fmt: skip


def torch_dataset(shards: Path | str | Sequence[Path | str], *, exclude_sites: Sequence[str] = ()) -> Dataset:
    """Return a map-style dataset over shard sets: dicts of one window each, for a `torch.utils.data.DataLoader`.

    signal: µV, float32, shape (n_chans, n_times), not normalised; ch_state: 0 absent, 1 interpolated, 2 measured,
    uint8, shape (n_chans,); votes: float32, shape (n_classes,) or (0,); label, subject_id, site_id, key: strings.
    Split by subject_id, never by window. Our own training reads through `training.corpus`, which deals shards to
    processes and resumes exactly. Raises signals.shards.manifest.ManifestError for what is no finished shard set,
    ValueError for one without windows.
    """
    given = [shards] if isinstance(shards, str | Path) else list(shards)
    dataset = _Shards(tuple(str(each) for each in given), tuple(exclude_sites))
    len(dataset)  # opens it here, so that a wrong folder is known now
    return dataset
