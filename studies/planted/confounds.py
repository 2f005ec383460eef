"""Tasks whose labels are confounded by construction, and the same without: whether the audit tells them apart.

Two sites, one with a noisier amplifier, prepared by the pipeline's own code; all but one of 24 ill people come from the
one, all but one of 24 controls from the other. Nothing of the brain differs between the two groups.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from evaluation.audit.confounds import SIGNAL_PROBES, confound_findings
from studies.planted.corpus import CLASSES, make_corpus
from studies.planted.gap import graded_sites

NOISE = 4.0
"""Planted size of the gap (`studies.planted.gap`): 4.8 µV of amplifier noise, and hum and gain with it."""
N_SUBJECTS = 24


def site_task(*, seed: int, size: float) -> pd.DataFrame:
    """Return the rows that the audit reads of such a task; `size` 0 makes two sites that are alike.

    Which site is the one of the ill is the same for every size.
    """
    sites = [replace(site, site_id=name) for site, name in zip(graded_sites((size,)), ("plain", "other"), strict=True)]
    corpus = make_corpus(seed=seed, sites=sites, n_subjects=N_SUBJECTS, classes=CLASSES[:1])
    ill = set()
    for site in ("plain", "other"):
        people = sorted(set(corpus.subjects[corpus.sites == site].tolist()))
        ill |= set(people[1:] if site == "other" else people[:1])
    labels = np.where(np.isin(corpus.subjects, sorted(ill)), "ill", "control")
    columns = dict(zip(SIGNAL_PROBES, corpus.confounds.T, strict=True))
    return pd.DataFrame({"subject_id": corpus.subjects, "site_id": corpus.sites, "label": labels, **columns})


def unconfounded(*, seed: int, n_subjects: int = 48) -> pd.DataFrame:
    """Return rows of people whose numbers have nothing to do with their labels."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_subjects), 4)
    person = np.repeat(rng.normal(size=(n_subjects, len(SIGNAL_PROBES))), 4, axis=0)
    order = np.repeat(rng.permutation(n_subjects), 4)
    return pd.DataFrame({
        "subject_id": [f"s{k}" for k in subject], "site_id": "one", "file_order": order,
        "label": np.where(subject % 2, "ill", "control"), **dict(zip(SIGNAL_PROBES, person.T, strict=True)),
    })  # fmt: skip


def is_flagged(frame: pd.DataFrame, *, seed: int = 0) -> bool:
    """Return whether the audit names something that the labels can be read from."""
    return bool(confound_findings(frame, seed=seed))
