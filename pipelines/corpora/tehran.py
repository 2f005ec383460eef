"""EEG of children with ADHD and of controls (Nasrabadi et al. 2020, doi:10.21227/rzfh-zn36): "ADHD_v10p.mat"."""

from pathlib import Path

from pipelines.corpora.corpus import Corpus, Known
from signals.windows.labels import Label


def known(path: Path) -> Known:
    """Return the child and the diagnosis, which the folder's authors put before the name."""
    group, _, subject = path.stem.partition("_")
    if group not in {"ADHD", "Control"} or not subject:
        return Known()
    return Known(subject=subject, labels=(Label(onset_s=None, label=group),), label_source="experts")


CORPUS = Corpus(site_id="tehran-adhd", pattern="*/tehran-adhd/*", mains_hz=50.0, known=known)
