"""A bundle that answers for recordings, of files or in memory.

from serving.bundle import load_bundle

bundle = load_bundle("demo/bundle")
prediction = bundle.predict(raw)
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from serving.prediction import Prediction, predict_recording
from signals.bundles import bundle as stored
from signals.bundles.inputs import kept_for, with_person
from signals.bundles.metadata import Person
from signals.sites.opening import open_source


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
        site_card: str = "",
        metadata: Person | None = None,
    ) -> Prediction:
        """Return the answers for a path, an `mne.io.Raw`, a Recording, or an array of shape (n_chans, n_times).

        An array needs `ch_names`, `sfreq` and its `unit`. `hop_s` is the time between windows, by default as long as
        what an answer speaks of. `mains_hz` is the mains frequency, by default the site card's, or detected. `metadata`
        are fields of the person for a bundle that reads them (age, height_cm, weight_kg, sex), in place of those that
        the file holds. Raises as `signals.sites.opening.open_source`, `serving.prediction.predict_recording` and
        `signals.bundles.inputs.with_person`.
        """
        opened = open_source(
            recording, ch_names=ch_names, sfreq=sfreq, unit=unit, site_card=site_card, keep=kept_for(self.graphs)
        )
        recording = with_person(opened.recording, self.graphs, metadata or {})
        mains_hz = opened.mains_hz if mains_hz is None else mains_hz
        return predict_recording(self, recording, hop_s=hop_s, mains_hz=mains_hz, sha256=opened.sha256)


def load_bundle(path: Path | str) -> Bundle:
    """Return the bundle in a folder; raises BundleError as `signals.bundles.bundle.load_bundle`."""
    checked = stored.load_bundle(path)
    return Bundle(**{each.name: getattr(checked, each.name) for each in fields(checked)})
