"""What is stored about the primary channels of a window, by their kind: flags, quality, features."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from signals.description import artifacts, features, quality
from signals.description.heart.features import HEART_FEATURES, heart_features
from signals.description.heart.flags import flat_lead_seconds, flat_leads, heart_flags, lead_faults
from signals.modality import Modality


@dataclass(frozen=True, kw_only=True)
class Describer:
    """Functions of a window, µV, that have the same form for every kind."""

    features: tuple[str, ...]
    """Columns of `values`, in order."""
    values: Callable[..., np.ndarray]
    """As `signals.description.features.features`."""
    flags: Callable[..., np.ndarray]
    """As `signals.description.artifacts.detect`: the conditioned window."""
    faults: Callable[..., np.ndarray]
    """As `signals.description.artifacts.electrode_faults`: raw samples."""
    flat: Callable[..., np.ndarray]
    """Of `faults` the bit "flat" alone."""
    flat_seconds: Callable[..., np.ndarray]
    """Of `flags` whether a second is flat: (x, n_seconds)."""
    quality: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    """As `signals.description.quality.channel_quality`."""


_DESCRIBERS: dict[str, Describer] = {
    "eeg": Describer(
        features=features.FEATURES, values=features.features, flags=artifacts.detect,
        faults=artifacts.electrode_faults, flat=artifacts.flat_electrodes, flat_seconds=artifacts.flat_seconds,
        quality=quality.channel_quality,
    ),
    "ecg": Describer(
        features=HEART_FEATURES, values=heart_features, flags=heart_flags, faults=lead_faults, flat=flat_leads,
        flat_seconds=flat_lead_seconds, quality=quality.lead_quality,
    ),
}  # fmt: skip


def describer_of(modality: Modality) -> Describer:
    """Return how the primary channels of a modality are described; raises KeyError for a kind that is not."""
    return _DESCRIBERS[modality.kind]
