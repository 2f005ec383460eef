"""Confound probes: whether labels can be read from what has nothing to do with them.

A label that goes with the device, the amplifier's noise, the mains or the place in the file system lets a model score
without having learnt anything of the brain. Predictions may carry, for each window:

    device         text: maker or model of the amplifier; empty where it is not known
    file_order     number: place of the recording among its site's files, by the numbers in their names
    amplitude_uv   median over channels of the standard deviation, µV
    mains_db       power at 50 and 60 Hz over that of the neighbouring frequencies, dB
    noise_db       median power at 45-58 Hz but for 48-52 Hz, over that of 1-30 Hz, dB: above most EEG, beside the mains

Subjects are compared, not windows: the probe is the area under the ROC curve of one number per subject, each class
against the rest, and its p-value comes from shuffling subjects. The number is the value itself; for the order of files
the labels of those just before and after, which is high where classes were recorded in blocks; and for amplitude, mains
and noise together a ridge regression with the subject left out. Only labels that go with the subject are probed: what
changes within a recording, such as a seizure, changes its amplitude for good reasons.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from evaluation.audit.findings import Finding

SIGNAL_PROBES = ("amplitude_uv", "mains_db", "noise_db")
DEVICE, ORDER, TOGETHER = "device", "file_order", "signal"
COLUMNS = (DEVICE, ORDER, *SIGNAL_PROBES)
READABLE = 0.8
"""Area under the curve from which on a label counts as readable."""
LEVEL = 0.01
"""p-value, times the number of probes of a file, up to which it is no accident."""
FEWEST = 3
"""Subjects of a class below which nothing can be shown."""
_N_SHUFFLES = 10_000
_NOUNS = {
    DEVICE: "the device", ORDER: "the order of the files: classes were recorded in blocks",
    "amplitude_uv": "the amplitude alone", "mains_db": "mains interference alone",
    "noise_db": "noise at 45-58 Hz alone", TOGETHER: "amplitude, mains and noise together",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """How well one number per subject tells one class from the rest."""

    name: str
    cls: str
    area: float
    """For single values at least 0.5: the direction does not matter."""
    p_value: float
    n_subjects: int


def signal_columns(x: np.ndarray, sfreq: float, *, h_freq: float = 128.0) -> dict[str, float]:
    """Return the values of SIGNAL_PROBES for a window in µV, shape (n_chans, n_times); nan where nothing moves.

    Frequencies above `h_freq`, where the window's own low-pass ends, are left out.
    """
    x = np.asarray(x, dtype=np.float64)
    if not x.size:
        return dict.fromkeys(SIGNAL_PROBES, float("nan"))
    power = (np.abs(np.fft.rfft((x - x.mean(axis=1, keepdims=True)) * np.hanning(x.shape[1]), axis=1)) ** 2).mean(
        axis=0
    )
    freqs = np.fft.rfftfreq(x.shape[1], 1 / sfreq)

    def band(low: float, high: float) -> float:
        inside = (freqs >= low) & (freqs < high)
        return float(power[inside].mean()) if inside.any() else float("nan")

    def decibel(part: float, whole: float) -> float:
        return float(10 * np.log10(part / whole)) if part > 0 and whole > 0 else float("nan")

    beside = (((freqs >= 45) & (freqs < 48)) | ((freqs >= 52) & (freqs < 58))) & (freqs <= h_freq)
    floor = float(np.median(power[beside])) if beside.any() else float("nan")
    mains = [decibel(band(hz - 0.5, hz + 0.5), band(hz - 4, hz - 1) + band(hz + 1, hz + 4)) for hz in (50.0, 60.0)]
    return {
        "amplitude_uv": float(np.median(x.std(axis=1))),
        "mains_db": float(np.nanmax(mains)) if np.isfinite(mains).any() else float("nan"),
        "noise_db": decibel(floor, band(1.0, 30.0)),
    }


def confound_findings(frame: pd.DataFrame, *, seed: int = 0) -> list[Finding]:
    """Return the numbers that the labels of subjects can be read from, for one model's rows."""
    probes = list(probe_results(frame, seed=seed))
    worst = dict[str, ProbeResult]()
    for probe in probes:
        found = probe.area >= READABLE and probe.p_value * len(probes) <= LEVEL
        if found and (probe.name not in worst or probe.area > worst[probe.name].area):
            worst[probe.name] = probe
    return [
        Finding(
            "warning",
            "confounded_labels",
            f"{probe.cls if frame['label'].nunique() > 2 else 'The label'} can be read from {_NOUNS[name]} (AUROC "
            f"{probe.area:.2f} over {probe.n_subjects} subjects, p {probe.p_value:.4f}): a model may score without "
            "reading the brain.",
        )
        for name, probe in worst.items()
    ]


def probe_results(frame: pd.DataFrame, *, seed: int) -> Iterator[ProbeResult]:
    """Yield a result per probe and class; nothing where labels change within a subject."""
    people = _subjects(frame)
    by_trait = (frame.groupby("subject_id")["label"].nunique() == 1).all()
    classes = sorted(set(people["label"]))
    if len(classes) < 2 or not by_trait:
        return
    rng = np.random.default_rng(seed)
    for name, known, scores in _readings(people):
        for cls in classes if len(classes) > 2 else classes[-1:]:
            positive = (known["label"] == cls).to_numpy()
            if min(positive.sum(), (~positive).sum()) >= FEWEST:
                yield _probe(name, cls, scores, positive, rng)


def _readings(people: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, "_Scores"]]:
    """Yield each probe's name, the subjects whose value is known, and how it scores them."""
    for name in COLUMNS:
        known = people[people[name].notna()] if name in people.columns else people[:0]
        if len(known) < 2 * FEWEST or known[name].nunique() < 2:
            continue
        if name == ORDER:
            yield name, known, _Scores(neighbours=_neighbours(known))
        else:
            columns = pd.get_dummies(known[name]) if name == DEVICE else known[[name]]
            yield name, known, _Scores(columns=columns.to_numpy(dtype=np.float64))
    known = people.dropna(subset=list(SIGNAL_PROBES)) if set(SIGNAL_PROBES) <= set(people.columns) else people[:0]
    if len(known) >= 2 * FEWEST:
        yield TOGETHER, known, _Scores(neighbours=_left_out(known[list(SIGNAL_PROBES)].to_numpy(dtype=np.float64)))


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """How a probe scores subjects: by numbers of their own, or by the labels of others."""

    columns: np.ndarray | None = None
    """Shape (n_subjects, n_columns): the best column counts, in either direction."""
    neighbours: np.ndarray | None = None
    """Shape (n_subjects, n_subjects), zeros on the diagonal: a subject's score is its row times the others' labels."""

    def areas(self, positive: np.ndarray) -> np.ndarray:
        """Return the area under the ROC curve for each row of labels, bool, shape (n, n_subjects)."""
        if self.neighbours is not None:
            return _areas(stats.rankdata(positive @ self.neighbours.T, axis=1), positive)
        assert self.columns is not None
        each = [_areas(stats.rankdata(column)[None], positive) for column in self.columns.T]
        return np.max([np.maximum(area, 1 - area) for area in each], axis=0)


def _areas(ranks: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return areas by Mann and Whitney's statistic, shape (n,)."""
    n = positive.sum(axis=1)
    return np.asarray(((positive * ranks).sum(axis=1) - n * (n + 1) / 2) / (n * (positive.shape[1] - n)))


def _neighbours(known: pd.DataFrame) -> np.ndarray:
    """Return weights of the subjects just before and after each one in its site's order; equal ranks are one place."""
    weights = np.zeros((len(known), len(known)))
    for rows in known.groupby("site_id").indices.values():
        places = stats.rankdata(known[ORDER].to_numpy()[rows], method="dense")
        for row, place in zip(rows, places, strict=True):
            for near in (place - 1, place, place + 1):
                beside = rows[(places == near) & (rows != row)]
                weights[row, beside] = 1 / max(len(beside), 1)
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)


def _left_out(values: np.ndarray) -> np.ndarray:
    """Return the weights of ridge regression (penalty 1 on standardised columns) with each subject left out in turn."""
    spread = values.std(axis=0)
    scaled = np.divide(values - values.mean(axis=0), spread, out=np.zeros_like(values), where=spread > 1e-12)
    design = np.c_[np.ones(len(values)), scaled]
    penalty = np.diag([1e-9, *np.ones(values.shape[1])])
    hat = design @ np.linalg.solve(design.T @ design + penalty, design.T)
    own = np.diag(hat)
    return np.asarray((hat - np.diag(own)) / (1 - own)[:, None])


def _probe(name: str, cls: str, scores: _Scores, positive: np.ndarray, rng: np.random.Generator) -> ProbeResult:
    area = float(scores.areas(positive[None])[0])
    shuffled = rng.permuted(np.tile(positive, (_N_SHUFFLES, 1)), axis=1)
    n_better = int((scores.areas(shuffled) >= area - 1e-12).sum())
    return ProbeResult(
        name=name, cls=cls, area=area, p_value=(1 + n_better) / (_N_SHUFFLES + 1), n_subjects=len(positive)
    )


def _subjects(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per subject: label, site, and the mean (or for the device, the first) of each probe."""
    grouped = frame.groupby("subject_id")
    columns = {"label": grouped["label"].first()}
    columns["site_id"] = (
        grouped["site_id"].first() if "site_id" in frame.columns else columns["label"].map(lambda _: "")
    )
    for name in COLUMNS:
        if name in frame.columns:
            columns[name] = grouped[name].first() if name == DEVICE else grouped[name].mean()
    people = pd.DataFrame(columns)
    if DEVICE in people.columns:
        people[DEVICE] = people[DEVICE].replace("", None)
    return people
