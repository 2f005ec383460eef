"""EEG during mental arithmetic (Zyma et al. 2019, doi:10.3390/data4010014): "Subject07_2.edf"."""

import re
from pathlib import Path

from pipelines.corpora.corpus import Corpus, Known
from signals.windows.labels import Label

_RUNS = {"1": "rest", "2": "mental_arithmetic"}


def known(path: Path) -> Known:
    """Return the subject and the run's condition from the file's name."""
    name = re.fullmatch(r"(Subject\d+)_([12])\.edf", path.name)
    if name is None:
        return Known()
    return Known(subject=name[1], labels=(Label(onset_s=None, label=_RUNS[name[2]]),), label_source="protocol")


CORPUS = Corpus(site_id="kyiv-eegmat", pattern="*/kyiv-eegmat/*", mains_hz=50.0, known=known)
