"""Epilepsy and controls in Guinea-Bissau, Emotiv headset (van Hees et al. 2018, doi:10.5281/zenodo.1252141).

"signal-7.csv.gz" is of subject 7 of the table `metadata_guineabissau.csv` beside it, which holds the diagnosis.
"""

import csv
import re
from functools import lru_cache
from pathlib import Path

from pipelines.corpora.corpus import Corpus, Known
from signals.windows.labels import Label


def known(path: Path) -> Known:
    """Return the subject by the file's number, and the diagnosis if the table is there."""
    name = re.fullmatch(r"signal-(\d+)\.csv(\.gz)?", path.name)
    if name is None:
        return Known()
    group = _groups(path.with_name("metadata_guineabissau.csv")).get(name[1])
    labels = (Label(onset_s=None, label=group),) if group else ()
    return Known(subject=f"GB{int(name[1]):03d}", labels=labels, label_source="experts")


@lru_cache(maxsize=8)
def _groups(path: Path) -> dict[str, str]:
    """Return {subject number: "Epilepsy" or "Control"}."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        return {row["subject.id"]: row["Group"] for row in csv.DictReader(file)}


CORPUS = Corpus(
    site_id="bissau-emotiv", pattern="*/bissau-emotiv/*", mains_hz=50.0, known=known,
    side_files=("*/bissau-emotiv/metadata_guineabissau.csv",), tables=("metadata_guineabissau.csv",),
)  # fmt: skip
