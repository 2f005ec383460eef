"""Leads with the class of every sample, of generated hearts and of annotated WFDB records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.measures.boundaries import BOUNDARIES
from model.delineation.network import CLASSES, SFREQ
from model.delineation.waves import Found, prepared
from signals.modality import ECG_12
from synthetic.heart.leads import NoiseLevels, generate
from synthetic.heart.person import CONDITIONS

IGNORED = -100
"""Class of a sample that nothing is known of: before the first mark, and waves that a lead does not show."""
LEAST_MV = 0.03
"""Smallest wave of a generated lead, peak to peak, that is one on this lead."""
_SILENT = NoiseLevels(wander=0.0, mains=0.0, muscle=0.0)
_MARKS = {"p": "P", "N": "QRS", "t": "T"}
_EDGE_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Lead:
    """One lead of one person."""

    person: str
    name: str
    condition: str
    """What was generated; empty for a record."""
    x_mv: np.ndarray
    """Shape (n_times,)."""
    sfreq: float
    waves: tuple[Found, ...]
    """In order of their onsets."""
    unseen: tuple[Found, ...] = ()
    """Waves that are there, but not on this lead: neither right nor wrong."""

    @property
    def span_s(self) -> tuple[float, float]:
        """From the first mark to the last; before and behind it, waves may be unmarked."""
        return (self.waves[0].onset_s, self.waves[-1].offset_s) if self.waves else (0.0, 0.0)

    def target(self, n_times: int) -> np.ndarray:
        """Return the number of each sample's class, int64, shape (n_times,), at the network's rate."""
        t = np.arange(n_times) / SFREQ
        first, last = self.span_s
        target = np.where((t >= first - _EDGE_S) & (t <= last + _EDGE_S), 0, IGNORED)
        for waves, cls in ((self.unseen, IGNORED), (self.waves, None)):
            for wave in waves:
                inside = (t >= wave.onset_s) & (t < wave.offset_s)
                target[inside] = CLASSES.index(wave.kind) if cls is None else cls
        return target


def generated(
    n_people: int, *, seed: int, conditions: Sequence[str] = tuple(CONDITIONS), duration_s: float = 10.0,
    sfreq: float = SFREQ, leads: Sequence[str] = ECG_12.ch_names,
) -> Iterator[Lead]:  # fmt: skip
    """Yield the leads of generated people, conditions in turn, each with noise of its own."""
    for number in range(n_people):
        rng = np.random.default_rng((seed, number))
        levels = NoiseLevels(
            wander=rng.uniform(0.0, 0.25), mains=rng.uniform(0.0, 0.03), mains_hz=float(rng.choice([50.0, 60.0])),
            muscle=rng.uniform(0.0, 0.03),
        )  # fmt: skip
        condition = conditions[number % len(conditions)]
        noisy, clean = (
            generate(np.random.default_rng((seed, number, 1)), condition, duration_s=duration_s, sfreq=sfreq, noise=n)
            for n in (levels, _SILENT)
        )
        for name in leads:
            row = ECG_12.ch_names.index(name)
            seen: list[Found] = []
            unseen: list[Found] = []
            for wave in noisy.waves:
                inside = clean.x_mv[row, round(wave.onset_s * sfreq) : round(wave.offset_s * sfreq) + 1]
                shown = np.ptp(inside) >= LEAST_MV
                (seen if shown else unseen).append(Found(wave.kind, wave.onset_s, wave.offset_s))
            yield Lead(
                person=f"{seed}-{number}", name=name, condition=condition, x_mv=noisy.x_mv[row], sfreq=sfreq,
                waves=tuple(seen), unseen=tuple(unseen),
            )  # fmt: skip


def marked(folder: Path, *, leads: Sequence[str] = ECG_12.ch_names) -> Iterator[Lead]:
    """Yield the leads of annotated records (an annotation file a lead, with an onset, a peak and an offset a wave)."""
    import wfdb

    wanted = {name.lower() for name in leads}
    for header in sorted(folder.rglob("*.hea")):
        stem = str(header.with_suffix(""))
        marks = [name for name in sorted(wanted) if header.with_suffix(f".{name}").is_file()]
        if not marks:
            continue
        record = wfdb.rdrecord(stem)
        names = [name.lower() for name in record.sig_name]
        for name in marks:
            waves = tuple(_waves(wfdb.rdann(stem, name), record.fs))
            if waves and name in names:
                yield Lead(
                    person=header.stem, name=name, condition="", x_mv=record.p_signal[:, names.index(name)],
                    sfreq=float(record.fs), waves=waves,
                )  # fmt: skip


def _waves(marks: Any, sfreq: float) -> Iterator[Found]:
    """Yield the waves of an annotation: `(`, the peak, `)`; what is not whole is no wave."""
    symbols, samples = list(marks.symbol), list(marks.sample)
    for k in range(1, len(symbols) - 1):
        if symbols[k] in _MARKS and symbols[k - 1] == "(" and symbols[k + 1] == ")":
            yield Found(_MARKS[symbols[k]], samples[k - 1] / sfreq, samples[k + 1] / sfreq)


def boundaries(waves: Sequence[Found]) -> dict[str, np.ndarray]:
    """Return the times of each boundary, seconds."""
    found: dict[str, list[float]] = {name: [] for name in BOUNDARIES}
    for wave in waves:
        found[f"{wave.kind} onset"].append(wave.onset_s)
        found[f"{wave.kind} offset"].append(wave.offset_s)
    return {name: np.array(times) for name, times in found.items()}


def judged(found: Sequence[Found], lead: Lead) -> list[Found]:
    """Return found waves that marks can speak of: their middle lies between first and last mark, in no unseen wave."""
    first, last = lead.span_s
    kept = []
    for wave in found:
        middle = (wave.onset_s + wave.offset_s) / 2
        hidden = any(
            u.kind == wave.kind and u.onset_s < wave.offset_s and wave.onset_s < u.offset_s for u in lead.unseen
        )
        if first <= middle <= last and not hidden:
            kept.append(wave)
    return kept


def arrays(leads: Sequence[Lead]) -> tuple[np.ndarray, np.ndarray]:
    """Return leads of one length as the network reads them, float32, (n, n_times), and their targets, int64."""
    x = np.stack([prepared(lead.x_mv[None], lead.sfreq)[0] for lead in leads])
    return x, np.stack([lead.target(x.shape[1]) for lead in leads])
