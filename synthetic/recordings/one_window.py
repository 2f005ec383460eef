"""A recording as long as one window, for timing what a bundle needs for an answer."""

from pathlib import Path

import numpy as np

from signals.modality import Modality
from synthetic.recordings.files import write_edf
from synthetic.segments.clinical import segment
from synthetic.subject.subjects import draw_subject

NATIVE_HZ = 200


def write_segment(path: Path, modality: Modality, *, window_s: float) -> None:
    """Write a synthetic recording of one window of a modality's channels, EDF at 200 Hz."""
    rng, seconds = np.random.default_rng(0), round(window_s)
    names = modality.ch_names
    whole = segment(rng, label="GPD", duration_s=seconds, sfreq=NATIVE_HZ, ch_names=names, subject=draw_subject(rng))
    write_edf(
        path, [whole.data], file_format="edf", ch_names=names, sfreq=NATIVE_HZ, patient="X",
        record_onsets_s=range(seconds),
    )  # fmt: skip
