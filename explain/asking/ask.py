"""What an explanation may ask of a model: the logits of windows, in batches, and nothing of its inside.

The server, the trainer and the pattern reader differ in what answers; from here on they are the same.
"""

from collections.abc import Callable, Iterable

import numpy as np

Ask = Callable[[np.ndarray], np.ndarray]
"""Windows float32 (n, n_chans, n_times), as the model takes them, to logits (n, n_classes)."""
BATCH = 32


def centred(logits: np.ndarray, target: int) -> np.ndarray:
    """Return a class's logit less the mean of all classes, shape (n,).

    This is what every method here attributes: a softmax leaves logits free up to a common number, and probabilities
    saturate.
    """
    return np.asarray(logits[:, target] - logits.mean(axis=1), dtype=np.float64)


def answers(ask: Ask, windows: Iterable[np.ndarray], *, batch_size: int = BATCH) -> np.ndarray:
    """Return the logits of windows, float64, shape (n, n_classes), holding `batch_size` of them at a time.

    Raises ValueError for no window, and where the model gives something that is not finite.
    """
    parts, batch = [], []
    for window in windows:
        batch.append(window)
        if len(batch) == batch_size:
            parts.append(ask(np.stack(batch).astype(np.float32, copy=False)))
            batch = []
    if batch:
        parts.append(ask(np.stack(batch).astype(np.float32, copy=False)))
    if not parts:
        raise ValueError("no windows to ask for")
    logits = np.concatenate(parts).astype(np.float64)
    if not np.isfinite(logits).all():
        raise ValueError("the model answers with logits that are not finite: nothing can be attributed")
    return logits


def scores(ask: Ask, windows: Iterable[np.ndarray], target: int, *, batch_size: int = BATCH) -> np.ndarray:
    """Return `centred` of windows for one class, shape (n,); raises as `answers`."""
    return centred(answers(ask, windows, batch_size=batch_size), target)
