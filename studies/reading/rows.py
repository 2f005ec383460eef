"""What a six-class reader is fitted and chosen on: windows of generators' families, each whole and as ten seconds.

A ten-second recording is read as a window around which nothing was recorded (`signals.windows.margins`). Every window
of a corpus therefore counts twice: as it is, and as if only the seconds that its label speaks of were there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from signals.tasks import SIX_CLASS
from signals.window import Window
from signals.windows.margins import as_if_short
from studies.baselines.patterns import pattern_table
from synthetic.segments.families import HELD_OUT, TRAINED
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled

SPAN_S = SIX_CLASS.label_span_s or (0.0, SIX_CLASS.window_s)
"""The seconds of a window that a ten-second recording fills."""


@dataclass(frozen=True)
class Reading:
    """A corpus of families: which windows members learn from, and which they are chosen, stacked and calibrated on."""

    data: Labelled
    features: Path | None = None
    """File that keeps pattern features."""

    @classmethod
    def open(cls, corpus: Path, features: Path | None = None) -> "Reading":
        """Return a corpus; raises ValueError for one with fewer than two families to choose on, or none to learn."""
        reading = cls(labelled(Corpus.open(corpus), SIX_CLASS), features)
        if not reading.learn.size or len(np.unique(reading.families[reading.held_out])) < 2:
            raise ValueError(
                f"{corpus} needs families to learn from and at least two to choose on: make it with "
                "synthetic.critical_corpus, --segments and --held-out above 0, --simulate-missing without carriers"
            )
        return reading

    @cached_property
    def families(self) -> np.ndarray:
        """Family of each window, shape (n,)."""
        return self.data.sites

    @cached_property
    def learn(self) -> np.ndarray:
        """Rows that members learn from."""
        return np.flatnonzero(np.isin(self.families, [family.name for family in TRAINED]))

    @cached_property
    def held_out(self) -> np.ndarray:
        """Rows that no member learns from."""
        return np.flatnonzero(np.isin(self.families, [family.name for family in HELD_OUT]))

    def patterns(self, rows: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """Return names and values of pattern features, (2 n, n_features): rows as they are, then as ten seconds."""
        spans = (None, SPAN_S)
        tables = [
            pattern_table(self.data.shards, self.data.windows[rows], keep=self.features, recorded_s=span)
            for span in spans
        ]
        return tables[0][0], np.concatenate([values for _, values in tables])

    def windows(self, rows: np.ndarray) -> Iterator[Window]:
        """Yield windows of rows as they are, then as ten seconds."""
        for change in (lambda window: window, short):
            yield from (change(self.data.shards.window(int(i))) for i in self.data.windows[rows])


def short(window: Window) -> Window:
    """Return a window as if only `SPAN_S` of it had been recorded."""
    start, stop = (round(second * window.sfreq) for second in SPAN_S)
    return replace(window, data=np.ascontiguousarray(as_if_short(window.data, start, stop)))


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Members' answers to windows of families that none of them learnt from, whole ones first, then ten seconds."""

    names: tuple[str, ...]
    """Members, in order."""
    logits: np.ndarray = field(repr=False)
    """Shape (n_members, n, n_classes)."""
    target: np.ndarray = field(repr=False)
    """Shares of votes, float64, shape (n, n_classes)."""
    family: np.ndarray = field(repr=False)
    """Shape (n,)."""
    subject: np.ndarray = field(repr=False)
    """Shape (n,): whole and short windows of a subject stay together."""
    is_short: np.ndarray = field(repr=False)
    """bool, shape (n,)."""

    @property
    def label(self) -> np.ndarray:
        """Class of most votes, shape (n,)."""
        return np.asarray(self.target.argmax(axis=1))

    def of(self, names: tuple[str, ...]) -> "HeldOut":
        """Return the answers of some members."""
        return replace(self, names=names, logits=self.logits[[self.names.index(name) for name in names]])


def held_out(reading: Reading, names: tuple[str, ...], logits: np.ndarray) -> HeldOut:
    """Return members' answers to `reading.windows(reading.held_out)` with what is known of those windows."""
    rows = np.tile(reading.held_out, 2)
    target = reading.data.targets[rows].astype(np.float64)
    return HeldOut(
        names=names, logits=logits, target=target / target.sum(axis=1, keepdims=True), family=reading.families[rows],
        subject=reading.data.subjects[rows], is_short=np.arange(len(rows)) >= len(reading.held_out),
    )  # fmt: skip
