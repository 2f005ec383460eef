"""Segments of IIIC/SPaRCNet (Jing et al. 2023, doi:10.1212/WNL.0000000000207127): "LRDA_sample2.mat".

Patients are not identified, and one may have given several segments: the subject stays unknown.
"""

import re
from pathlib import Path

from pipelines.corpora.corpus import Corpus, Known
from signals.tasks import SIX_CLASS
from signals.windows.labels import Label


def known(path: Path) -> Known:
    """Return the consensus class from the file's name."""
    name = re.fullmatch(r"([A-Za-z]+)_sample\d+\.mat", path.name)
    label = SIX_CLASS.class_of(name[1]) if name else None
    return Known(labels=(Label(onset_s=None, label=label),) if label else (), label_source="experts")


CORPUS = Corpus(site_id="boston-iiic-sparcnet", pattern="*/boston-iiic-sparcnet/*", mains_hz=60.0, known=known)
