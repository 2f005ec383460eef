"""A small corpus of known truth: synthetic recordings, prepared as the pipeline does, and models of features."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.signal import resample_poly

from evaluation.audit.confounds import SIGNAL_PROBES, signal_columns
from evaluation.audit.fingerprint import content_hash, fingerprint, pack
from evaluation.schemas.predictions import Predictions
from signals.conditioning.filters import resampling_ratio
from signals.recording.identity import hash_subject
from signals.recording.recording import Recording, Segment
from signals.window import Window
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN
from synthetic.recordings.recordings import SEGMENT_S, record
from synthetic.recordings.sites import Site
from synthetic.subject.subjects import draw_subject

CLASSES = ("Other", "Seizure")
PLAIN_SITES: tuple[Site, ...] = tuple(
    Site(site_id=name, file_format="edf", montage="old-19", sfreq=200.0, mains_hz=hum, mains_uv=3.0,
         reference="average", gain=gain)
    for name, hum, gain in (("north", 60.0, 1.0), ("south", 50.0, 0.95), ("west", 50.0, 1.05))
)  # fmt: skip
"""Alike but for their mains and a little gain: a model that is honest does as well at each."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Windows of 10 s; arrays have one entry or row a window."""

    features: np.ndarray = field(repr=False)
    """Each feature's mean and deviation over channels, shape (n_windows, 2 x n_features)."""
    mains: np.ndarray = field(repr=False)
    """log10 of the power at 50 and 60 Hz before any filter, shape (n_windows, 2)."""
    labels: np.ndarray = field(repr=False)
    """Number of the class, shape (n_windows,)."""
    subjects: np.ndarray = field(repr=False)
    sites: np.ndarray = field(repr=False)
    recordings: np.ndarray = field(repr=False)
    keys: np.ndarray = field(repr=False)
    hashes: np.ndarray = field(repr=False)
    prints: tuple[bytes, ...] = field(repr=False)
    confounds: np.ndarray = field(repr=False)
    """Columns of `evaluation.audit.confounds.SIGNAL_PROBES`, shape (n_windows, 3)."""
    raw: dict[str, tuple[Site, np.ndarray, tuple[str, ...], str]] = field(repr=False)
    """Site, signal (µV, shape (n_chans, n_times)), labels of segments and subject of each recording."""

    def take(self, rows: np.ndarray) -> "Corpus":
        """Return some windows."""
        arrays = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return replace(self, **arrays, prints=tuple(self.prints[i] for i in rows))

    def renamed(self, subjects: np.ndarray) -> "Corpus":
        """Return the windows under other subjects."""
        return replace(self, subjects=subjects)


_ARRAYS = ("features", "mains", "labels", "subjects", "sites", "recordings", "keys", "hashes", "confounds")


def make_corpus(
    *, seed: int, sites: Sequence[Site] = PLAIN_SITES, n_subjects: int = 8, classes: Sequence[str] = CLASSES,
    travelling: bool = False,
) -> Corpus:  # fmt: skip
    """Return a corpus: every subject of every site has one 50-s segment of each class, so five windows of each.

    `travelling`: the same people, as the generator draws them, are recorded at each site, under other names.
    """
    parts = []
    for site_index, site in enumerate(sites):
        for number in range(n_subjects):
            rng = np.random.default_rng([seed, site_index, number])
            person = draw_subject(np.random.default_rng([seed, number]) if travelling else rng)
            simulated = record(rng, site=site, subject=person, labels=list(classes))
            [signal] = simulated.stretches
            subject = hash_subject(site.site_id, str(number), salt="planted")
            parts.append(_described(site, signal, subject, tuple(classes), name=f"{site.site_id}-{number}"))
    return _joined(parts)


def recopied(corpus: Corpus, rng: np.random.Generator, *, shift: int = 0) -> Corpus:
    """Return the corpus and, besides, its first recording exported again by its last site under another name.

    `shift`: samples that are cut off its start, so that its windows begin later.
    """
    _, signal, classes, _ = corpus.raw[str(corpus.recordings[0])]
    other = corpus.raw[str(corpus.recordings[-1])][0]
    signal = np.concatenate([signal[:, shift:], signal[:, :shift]], axis=1)
    copy = 1.7 * resample_poly(
        signal, *resampling_ratio(corpus.raw[str(corpus.recordings[0])][0].sfreq, 250.0), axis=-1
    )
    copy = (copy + rng.normal(0, 0.5, copy.shape)).astype(np.float32)
    elsewhere = replace(other, sfreq=250.0)
    return _joined([corpus, _described(elsewhere, copy, hash_subject(other.site_id, "copy", salt="planted"), classes,
                                       name="copy")])  # fmt: skip


def _described(site: Site, signal: np.ndarray, subject: str, classes: tuple[str, ...], *, name: str) -> Corpus:
    n_times = round(SEGMENT_S * len(classes) * site.sfreq)
    recording = Recording(
        uri=name, reader="memory", ch_names=site.ch_names, sensor_types=("eeg",) * len(site.ch_names),
        sfreqs=(site.sfreq,) * len(site.ch_names), segments=(Segment(0.0, n_times / site.sfreq),),
        read_samples=lambda picks, segment, start, stop: signal[picks, start:stop].astype(np.float32),
    )  # fmt: skip
    plan = plan_recording(
        recording, PRETRAIN, site_id=site.site_id, subject_id=subject, source_sha256=name.encode().hex().ljust(64, "0")
    )
    windows = list(prepare_recording(recording, plan))
    return Corpus(
        features=np.stack([window_features(window) for window in windows]),
        mains=np.stack([_mains(signal, site.sfreq, window) for window in windows]),
        labels=np.array([CLASSES.index(classes[int(w.start_s // SEGMENT_S)]) for w in windows]),
        subjects=np.array([subject] * len(windows)),
        sites=np.array([site.site_id] * len(windows)),
        recordings=np.array([name] * len(windows)),
        keys=np.array([f"{name}/{w.start_s:g}" for w in windows]),
        hashes=np.array([content_hash(w) for w in windows]),
        prints=tuple(pack(fingerprint(w.data, w.sfreq, w.ch_state)) for w in windows),
        confounds=np.stack([_confounds(signal, site.sfreq, window) for window in windows]),
        raw={name: (site, signal, classes, subject)},
    )


def window_features(window: Window) -> np.ndarray:
    """Return each stored feature's mean and deviation over channels, float64; 0 where none of them has it."""
    stored = window.features.astype(np.float64)
    known = np.isfinite(stored)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, stored, 0.0).sum(axis=0) / count
    spread = np.sqrt(np.where(known, (stored - mean) ** 2, 0.0).sum(axis=0) / count)
    return np.concatenate([mean, spread])


def _native(signal: np.ndarray, sfreq: float, window: Window) -> np.ndarray:
    start = round(window.start_s * sfreq)
    return signal[:, start : start + round(10 * sfreq)]


def _confounds(signal: np.ndarray, sfreq: float, window: Window) -> np.ndarray:
    columns = signal_columns(_native(signal, sfreq, window), sfreq)
    return np.array([columns[name] for name in SIGNAL_PROBES])


def _mains(signal: np.ndarray, sfreq: float, window: Window) -> np.ndarray:
    chosen = _native(signal, sfreq, window)
    power = np.abs(np.fft.rfft(chosen * np.hanning(chosen.shape[1]), axis=1)) ** 2
    freqs = np.fft.rfftfreq(chosen.shape[1], 1 / sfreq)
    return np.log10([power[:, np.abs(freqs - hum).argmin()].mean() for hum in (50.0, 60.0)])


def _joined(parts: Sequence[Corpus]) -> Corpus:
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    raw = {name: entry for part in parts for name, entry in part.raw.items()}
    return Corpus(**arrays, prints=tuple(one for part in parts for one in part.prints), raw=raw)


def folds_by(corpus: Corpus, grouping: str) -> np.ndarray:
    """Return the fold of each window: its site, or one of four groups of subjects."""
    if grouping == "site":
        return corpus.sites
    people = np.unique(corpus.subjects, return_inverse=True)[1]
    return (people % 4).astype(str)


def learn(
    corpus: Corpus, folds: np.ndarray, values: np.ndarray, labels: np.ndarray, *, grouping: str = "site"
) -> Predictions:
    """Return out-of-fold predictions of a logistic regression on `values` that was shown `labels`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    prob = np.zeros((len(labels), 2))
    for fold in np.unique(folds):
        test = folds == fold
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        prob[test] = model.fit(values[~test], labels[~test]).predict_proba(values[test])
    return prediction_frame(corpus, folds, prob, grouping=grouping)


def prediction_frame(corpus: Corpus, folds: np.ndarray, prob: np.ndarray, *, grouping: str) -> Predictions:
    """Return probabilities as predictions of the model "encoder", with what the folds truly were."""
    columns = {f"target_{name}": (corpus.labels == k).astype(float) for k, name in enumerate(CLASSES)}
    columns |= {f"prob_{name}": prob[:, k] for k, name in enumerate(CLASSES)}
    frame = pd.DataFrame(
        {"window_key": corpus.keys, "recording_id": corpus.recordings, "subject_id": corpus.subjects,
         "site_id": corpus.sites, "fold": folds, "model": "encoder", "label": np.array(CLASSES)[corpus.labels],
         "content_hash": corpus.hashes, "fingerprint": list(corpus.prints),
         **dict(zip(SIGNAL_PROBES, corpus.confounds.T, strict=True)), **columns}
    )  # fmt: skip
    described = [
        {"name": str(fold), **{
            f"{side}_{noun}s": sorted(set(values[mask].tolist()))
            for side, mask in (("train", folds != fold), ("test", folds == fold))
            for noun, values in (("subject", corpus.subjects), ("recording", corpus.recordings))
        }}
        for fold in np.unique(folds)
    ]  # fmt: skip
    meta = {
        "grouping": grouping,
        "folds": described,
        "pretrain_subjects": [],
        "command": "python -m studies.planted.faults",
    }
    return Predictions(frame=frame, task="seizure-or-other", classes=CLASSES, meta=meta)
