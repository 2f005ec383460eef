"""Abbreviations in full, of those alone that a page holds."""

import re
from collections.abc import Iterator

MEANINGS = {
    "AUPRC": "area under the precision-recall curve",
    "AURC": "area under the risk-coverage curve",
    "AUROC": "area under the receiver operating characteristic curve: how often a window of the class is ranked above one that is not",
    "CORAL": "correlation alignment: distance between covariance matrices",
    "ECE": "expected calibration error: mean gap between stated confidence and share that is right",
    "EEG": "electroencephalogram",
    "GPD": "generalised periodic discharges",
    "GRDA": "generalised rhythmic delta activity",
    "KL": "Kullback-Leibler divergence of the prediction from the label’s distribution, nats",
    "LEACE": "least-squares concept erasure",
    "LPD": "lateralised periodic discharges",
    "LRDA": "lateralised rhythmic delta activity",
    "MMD": "maximum mean discrepancy: distance between two sets of embeddings",
    "NPV": "negative predictive value: share of windows not named that are not of the class",
    "PPV": "positive predictive value (precision): share of windows named that are of the class",
    "REM": "sleep with rapid eye movements",
    "ROC": "receiver operating characteristic: sensitivity over 1 − specificity",
    "SzCORE": "rules for scoring seizure detection event by event",
    "t-SNE": "t-distributed stochastic neighbour embedding: a map that keeps neighbours together",
    "κ": "Cohen’s kappa: agreement beyond chance",
}


def used_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield the abbreviations that a text holds as words, and their meanings, in alphabetical order."""
    for short, meaning in MEANINGS.items():
        if re.search(rf"(?<![\w-]){re.escape(short)}s?(?![A-Za-z-])", text):
            yield short, meaning
