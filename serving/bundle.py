"""A bundle that answers for recordings in memory.

from serving.bundle import load_bundle

bundle = load_bundle("demo/bundle")
prediction = bundle.predict(raw)
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from serving.prediction import Prediction, predict_recording
from signals.bundles import bundle as stored
from signals.readers.memory import recording_of_array, recording_of_mne
from signals.recording.recording import Recording


@dataclass(frozen=True, kw_only=True)
class Bundle(stored.Bundle):
    """A checked bundle with its runtime."""

    def predict(
        self,
        recording: Any,
        *,
        hop_s: float | None = None,
        mains_hz: float | None = None,
        ch_names: Sequence[str] = (),
        sfreq: float | None = None,
        unit: str = "µV",
    ) -> Prediction:
        """Return the answers for an `mne.io.Raw`, a Recording, or an array of shape (n_chans, n_times).

        An array needs `ch_names`, `sfreq` and its `unit`. `hop_s` is the time between windows, by default as long as
        what an answer speaks of. Raises TypeError for anything else and for an array without names or rate, and as
        `serving.prediction.predict_recording`.
        """
        opened = _opened(recording, ch_names, sfreq, unit)
        return predict_recording(self, opened, hop_s=hop_s, mains_hz=mains_hz)


def load_bundle(path: Path | str) -> Bundle:
    """Return the bundle in a folder; raises BundleError as `signals.bundles.bundle.load_bundle`."""
    checked = stored.load_bundle(path)
    return Bundle(**{each.name: getattr(checked, each.name) for each in fields(checked)})


def _opened(recording: Any, ch_names: Sequence[str], sfreq: float | None, unit: str) -> Recording:
    if isinstance(recording, Recording):
        return recording
    if isinstance(recording, np.ndarray):
        if sfreq is None or not ch_names:
            raise TypeError("an array needs ch_names and sfreq")
        return recording_of_array(recording, ch_names=ch_names, sfreq=sfreq, unit=unit)
    if hasattr(recording, "info") and hasattr(recording, "get_data"):  # MNE is not imported to look at its type
        return recording_of_mne(recording)
    raise TypeError(f"{type(recording).__name__} is no mne.io.Raw, Recording or array")
