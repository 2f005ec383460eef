"""Random changes of normalised windows that keep their label."""

import numpy as np

from signals.modality import Modality
from signals.windows import ABSENT, MEASURED

_TOLERANCE = 0.01


def mirror_order(modality: Modality) -> np.ndarray | None:
    """Return for each channel the number of its opposite (itself on the midline), or None where one has none.

    Sensors other than EEG stay where they are: the eyes' rows may hold a horizontal and a vertical channel.
    """
    positions = np.asarray(modality.scalp.positions)
    distance = np.linalg.norm(positions[:, None] * (-1, 1, 1) - positions[None], axis=-1)
    order = distance.argmin(axis=1)
    paired = (distance.min(axis=1) < _TOLERANCE).all() and (np.sort(order) == np.arange(len(order))).all()
    return np.concatenate([order, np.arange(len(order), modality.n_chans)]) if paired else None


def augment(
    rng: np.random.Generator,
    x: np.ndarray,
    ch_state: np.ndarray,
    *,
    mirror_with: np.ndarray | None,
    mirror: float,
    drop_channels: float,
    gain_sd: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return signal, shape (n_chans, n_times), and channel states after mirroring, a gain, and dropped channels.

    mirror_with: `mirror_order`'s output. Mirroring keeps all six classes: lateralised patterns stay lateralised.
    At least one channel is kept.
    """
    if mirror_with is not None and rng.random() < mirror:
        x, ch_state = x[mirror_with], ch_state[mirror_with]
    x = x * np.float32(np.exp(rng.normal(0.0, gain_sd)))
    dropped = rng.random(len(ch_state)) < drop_channels
    if (~dropped & (ch_state == MEASURED)).any():
        x, ch_state = np.where(dropped[:, None], np.float32(0), x), np.where(dropped, ABSENT, ch_state)
    return x, ch_state
