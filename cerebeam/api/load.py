"""Trained models by their folder."""

from pathlib import Path

from serving.bundle import Bundle, load_bundle


def load(path: Path | str) -> Bundle:
    """Return the bundle in a folder; `.predict(recording)` answers.

    `predict` takes a path, an `mne.io.Raw`, an array or a Recording, and returns a `serving.prediction.Prediction`:
    answers, seconds, events, `to_frame()` and `to_annotations()`. Needs neither torch nor Beam. Raises
    signals.bundles.bundle.BundleError for a folder that is no bundle, or one whose files have changed.
    """
    return load_bundle(path)
