"""Confound probes: whether labels can be read from what has nothing to do with them.

A label that goes with the device, the amplifier's noise, the mains or the place in the file system lets a model score
without having learnt anything of the brain. Predictions may carry, for each window:

    device         text: model of the amplifier or headset
    file_order     int: rank of the recording's file in the order of the file system
    amplitude_uv   median over channels of the standard deviation, µV
    mains_db       power at 50 and 60 Hz over that of the neighbouring frequencies, dB
    noise_db       median power at 45-58 Hz but for 48-52 Hz, over that of 1-30 Hz, dB: above most EEG, beside the mains

Subjects are compared, not windows: the probe is the area under the ROC curve of one number per subject, each class
against the rest, and its p-value comes from shuffling subjects. Only labels that go with the subject are probed by
signal: what changes within a recording, such as a seizure, changes its amplitude for good reasons.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.audit.findings import Finding
from evaluation.measures.metrics import auroc

SIGNAL_PROBES = ("amplitude_uv", "mains_db", "noise_db")
COLUMNS = ("device", "file_order", *SIGNAL_PROBES)
READABLE = 0.8
"""Area under the curve from which on a label counts as readable."""
LEVEL = 0.002
"""p-value, over all probes of a file, up to which it is no accident."""
_N_SHUFFLES = 10_000
_NOUNS = {
    "device": "the device", "file_order": "the order of the files", "amplitude_uv": "the amplitude alone",
    "mains_db": "mains interference alone", "noise_db": "noise at 45-58 Hz alone",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """How well one number per subject tells one class from the rest."""

    name: str
    cls: str
    area: float
    """At least 0.5: the direction does not matter."""
    p_value: float


def signal_columns(x: np.ndarray, sfreq: float) -> dict[str, float]:
    """Return the values of SIGNAL_PROBES for a window in µV, shape (n_chans, n_times); nan where nothing moves."""
    x = np.asarray(x, dtype=np.float64)
    power = (np.abs(np.fft.rfft((x - x.mean(axis=1, keepdims=True)) * np.hanning(x.shape[1]), axis=1)) ** 2).mean(
        axis=0
    )
    freqs = np.fft.rfftfreq(x.shape[1], 1 / sfreq)

    def band(low: float, high: float) -> float:
        inside = (freqs >= low) & (freqs < high)
        return float(power[inside].mean()) if inside.any() else float("nan")

    def decibel(part: float, whole: float) -> float:
        return float(10 * np.log10(part / whole)) if part > 0 and whole > 0 else float("nan")

    beside = ((freqs >= 45) & (freqs < 48)) | ((freqs >= 52) & (freqs < 58))
    floor = float(np.median(power[beside])) if beside.any() else float("nan")
    mains = [decibel(band(hz - 0.5, hz + 0.5), band(hz - 4, hz - 1) + band(hz + 1, hz + 4)) for hz in (50.0, 60.0)]
    return {
        "amplitude_uv": float(np.median(x.std(axis=1))),
        "mains_db": float(np.nanmax(mains)) if np.isfinite(mains).any() else float("nan"),
        "noise_db": decibel(floor, band(1.0, 30.0)),
    }


def confound_findings(frame: pd.DataFrame, *, seed: int = 0) -> list[Finding]:
    """Return the numbers that the labels of subjects can be read from, for one model's rows."""
    probes = list(_probes(frame, seed=seed))
    flagged = [p for p in probes if p.area >= READABLE and p.p_value * len(probes) <= LEVEL]
    n_classes, worst = frame["label"].nunique(), dict[str, ProbeResult]()
    for probe in flagged:
        if probe.name not in worst or probe.area > worst[probe.name].area:
            worst[probe.name] = probe
    return [
        Finding(
            "warning",
            "confounded_labels",
            f"{probe.cls if n_classes > 2 else 'The label'} can be read from {_NOUNS[name]} (AUROC {probe.area:.2f} "
            f"over subjects, p {probe.p_value:.4f}): a model may score without reading the brain.",
        )
        for name, probe in worst.items()
    ]


def _probes(frame: pd.DataFrame, *, seed: int) -> Iterator[ProbeResult]:
    """Yield a result per probe and class; sites apart where every site has every class, else together."""
    people = _subjects(frame)
    by_trait = (frame.groupby("subject_id")["label"].nunique() == 1).all()
    classes = sorted(set(people["label"]))
    if len(classes) < 2 or not by_trait:
        return
    rng = np.random.default_rng(seed)
    for name in COLUMNS:
        if name not in people.columns:
            continue
        known = people[people[name].notna()]
        values = known[name]
        columns = pd.get_dummies(values) if name == "device" else values.to_frame()
        for cls in classes if len(classes) > 2 else classes[-1:]:
            positive = (known["label"] == cls).to_numpy()
            if min(positive.sum(), (~positive).sum()) < 3:
                continue
            yield _probe(name, cls, columns.to_numpy(dtype=np.float64), positive, rng)


def _probe(name: str, cls: str, columns: np.ndarray, positive: np.ndarray, rng: np.random.Generator) -> ProbeResult:
    shuffled = rng.permuted(np.tile(positive, (_N_SHUFFLES, 1)), axis=1)
    areas, null = [], []
    for column in columns.T:
        area = float(auroc(column, positive))
        areas.append(max(area, 1 - area))
        ranks = pd.Series(column).rank().to_numpy()
        n = positive.sum()
        drawn = ((shuffled * ranks).sum(axis=1) - n * (n + 1) / 2) / (n * (len(positive) - n))
        null.append(np.maximum(drawn, 1 - drawn))
    best = max(areas)
    p = (1 + int((np.max(null, axis=0) >= best - 1e-12).sum())) / (_N_SHUFFLES + 1)
    return ProbeResult(name=name, cls=cls, area=best, p_value=p)


def _subjects(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per subject: its label, and the mean (or for the device, the first) of each probe."""
    grouped = frame.groupby("subject_id")
    columns = {"label": grouped["label"].first()}
    for name in COLUMNS:
        if name in frame.columns:
            columns[name] = grouped[name].first() if name == "device" else grouped[name].mean()
    return pd.DataFrame(columns)
