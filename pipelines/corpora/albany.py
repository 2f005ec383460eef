"""EEG motor movement/imagery of PhysioNet (Schalk et al. 2004, doi:10.13026/C28G6P): "S003R04.edf"."""

import re
from pathlib import Path

from pipelines.corpora.corpus import Corpus, Known
from signals.windows.labels import Label

_RUNS = {1: "rest_eyes_open", 2: "rest_eyes_closed"}
_RUNS |= dict.fromkeys((4, 8, 12), "motor_imagery_LR")


def known(path: Path) -> Known:
    """Return the subject, and what the run's number stands for in the data set's description."""
    name = re.fullmatch(r"(S\d{3})R(\d{2})\.edf", path.name)
    if name is None:
        return Known()
    label = _RUNS.get(int(name[2]))
    return Known(subject=name[1], labels=(Label(onset_s=None, label=label),) if label else (), label_source="protocol")


CORPUS = Corpus(site_id="albany-eegmmidb", pattern="*/albany-eegmmidb/*", mains_hz=60.0, known=known)
