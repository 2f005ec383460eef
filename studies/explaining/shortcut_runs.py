"""The shortcut detector evaluated: models of corpora with and without a shortcut, of seeds that chose nothing.

A run draws a corpus of three sites, fits a linear model to features that see the brain and the recorder alike (band
powers, mains, samples that stick out, size), and asks the detector about windows that were not trained on.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from explain.asking.ask import Ask
from explain.shortcuts import Finding, Recorded, detect
from signals.modality import EEG_1020
from synthetic.evidence.shortcuts import DESIGN, TRACES, TracedCorpus, trace_bank, traced_corpus

EDGES_HZ = (0.5, 4.0, 8.0, 13.0, 25.0, 45.0, 48.0, 52.0, 58.0, 62.0)
_N_TRAIN, _N_HELD_OUT = 560, 240


@dataclass(frozen=True, kw_only=True)
class Run:
    """One model and what the detector found."""

    trace: str
    is_planted: bool
    auroc: float
    finding: Finding

    @property
    def is_flagged(self) -> bool:
        """Whether the detector named any shortcut; of a planted run, the one that was planted."""
        return self.trace in self.finding.flagged if self.is_planted else bool(self.finding.flagged)


def features(x: np.ndarray) -> np.ndarray:
    """Return what the linear models see of windows (n, n_chans, n_times), float64, shape (n, n_features)."""
    power = np.abs(np.fft.rfft(x, axis=-1)) ** 2
    freqs = np.fft.rfftfreq(x.shape[-1], 1 / DESIGN.sfreq)
    bands = [power[..., (freqs >= low) & (freqs < high)].mean(axis=-1) for low, high in itertools.pairwise(EDGES_HZ)]
    sharp = np.abs(np.diff(x, n=2, axis=-1)).max(axis=-1)
    parts = [*(np.log(band + 1.0) for band in bands), np.log(sharp + 1.0), np.log(x.std(axis=-1) + 0.1)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def fitted(corpus: TracedCorpus, rows: np.ndarray) -> Ask:
    """Return a logistic regression of features, fitted on some rows, as something to ask."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    values = features(corpus.x[rows])
    scaler = StandardScaler().fit(values)
    model = LogisticRegression(C=0.02, max_iter=500).fit(scaler.transform(values), corpus.labels[rows])

    def ask(windows: np.ndarray) -> np.ndarray:
        value = model.decision_function(scaler.transform(features(windows)))
        return np.stack([-value / 2, value / 2], axis=1)

    return ask


def run(seed: int, bank: np.ndarray, *, trace: str, is_planted: bool) -> Run:
    """Return one run: fitted on one part of a corpus, looked at on the other."""
    from sklearn.metrics import roc_auc_score

    corpus = traced_corpus(seed, bank, trace=trace, is_planted=is_planted, n=_N_TRAIN + _N_HELD_OUT)
    rows = np.arange(len(corpus.labels))
    ask, held_out = fitted(corpus, rows[:_N_TRAIN]), rows[_N_TRAIN:]
    area = float(roc_auc_score(corpus.labels[held_out], ask(corpus.x[held_out])[:, 1]))
    recorded = Recorded(
        x=corpus.x[held_out], sites=corpus.sites[held_out], ch_names=EEG_1020.ch_names, sfreq=DESIGN.sfreq
    )
    finding = detect(ask, recorded, target=1)
    return Run(trace=trace, is_planted=is_planted, auroc=area, finding=finding)


def runs(n_planted: int, n_clean: int, *, first_seed: int) -> list[Run]:
    """Return planted and clean runs, traces in turn, of seeds from `first_seed` on."""
    bank = trace_bank(first_seed)
    kinds = [(k, True) for k in range(n_planted)] + [(k, False) for k in range(n_clean)]
    return [run(first_seed + k, bank, trace=TRACES[k % len(TRACES)], is_planted=planted) for k, planted in kinds]


def flagged_shares(found: list[Run]) -> tuple[float, float]:
    """Return the shares of planted and of clean runs that were flagged; nan without any."""
    shares = []
    for planted in (True, False):
        some = [each.is_flagged for each in found if each.is_planted is planted]
        shares.append(float(np.mean(some)) if some else float("nan"))
    return shares[0], shares[1]
