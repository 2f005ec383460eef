"""Rows of predictions need a few windows in memory at a time, and state of each what its samples say."""

import gc
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from evaluation.audit.confounds import SIGNAL_PROBES
from evaluation.audit.fingerprint import content_hash
from signals.tasks import SIX_CLASS
from signals.window import Window
from studies.engine import rows
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled


def test_windows_are_let_go_once_their_row_is_written(
    write_shards: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_shards(tmp_path / "shards", n_sites=2, n_subjects=4, n_windows=3, window_s=50.0)
    corpus = Corpus.open(folder, cache_bytes=1)
    data, read, most = labelled(corpus, SIX_CLASS), list[weakref.ref[Window]](), [0]
    windows_of = corpus.windows

    def windows(numbers: Iterable[int]) -> list[Window]:
        gc.collect()
        most[0] = max(most[0], sum(one() is not None for one in read))
        made = windows_of(numbers)
        read.extend(map(weakref.ref, made))
        return made

    monkeypatch.setattr(corpus, "windows", windows)
    monkeypatch.setattr(rows, "_AT_ONCE", 3)
    chosen = np.arange(len(data.windows))[::-1]
    frame = rows.window_rows(data, chosen)
    assert len(read) == 24
    assert most[0] <= 4  # the last few, and what the cache keeps at least
    assert frame["content_hash"].tolist() == [content_hash(corpus.window(int(i))) for i in data.windows[chosen]]
    assert frame[list(SIGNAL_PROBES)].notna().all().all()
