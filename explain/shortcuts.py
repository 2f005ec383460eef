"""Does a model read something that is not brain? Removals of what recorders and bodies leave, and what each changes.

Each removal takes one kind of trace out of windows and leaves the rest: mains hum, one-sample markers, flat channels,
gain, the window's edges, eyes and muscle. A model that reads such a trace changes its answer where the trace was, and
in one direction. Windows that a removal does not touch, and changes of no direction, count for nothing. Beside that,
windows are grouped by what their answers depend on, and the groups are held against site: an association alone does
not flag (sites differ honestly too), it is stated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from explain.asking.ask import Ask, answers

EOG_NAMES, EMG_NAMES = ("Fp1", "Fp2", "F7", "F8"), ("T3", "T4", "F7", "F8")
MAINS_HZ = (50.0, 60.0)
FEWEST = 5
"""Windows that a removal must touch before it can flag."""
LARGE = 1.5
"""Mean change of the logit over its own spread over windows from which on a removal flags."""
SURE = 4.0
"""Mean change over its standard error that is needed beside it."""
CHANGED = 0.1
"""Change of a window over its size from which on a removal has touched it."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Windows with what is known about them."""

    x: np.ndarray = field(repr=False)
    """float32, shape (n, n_chans, n_times), µV or as the model takes them."""
    sites: np.ndarray = field(repr=False)
    """Site of each, shape (n,)."""
    ch_names: tuple[str, ...]
    sfreq: float


Removal = Callable[[Recorded], np.ndarray]
"""Windows to the same windows without one kind of trace."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one removal changed."""

    removal: str
    n_touched: int
    change: float
    """Mean fall of the predicted class's logit where the trace was, over the logit's spread over all windows."""
    certainty: float
    """The mean over its standard error."""
    flips: float
    """Share of touched windows whose predicted class changes."""
    site: str
    """Site of most touched windows; empty without any."""

    @property
    def flagged(self) -> bool:
        """Whether the model reads this trace: enough windows, a large change, and no accident."""
        return self.n_touched >= FEWEST and abs(self.change) >= LARGE and abs(self.certainty) >= SURE


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The detector's answer for one model."""

    effects: tuple[Effect, ...]
    site_association: float
    """Cramér's V between groups of windows by what they depend on, and sites; nan for one site."""

    @property
    def flagged(self) -> tuple[str, ...]:
        """Traces that the model reads."""
        return tuple(effect.removal for effect in self.effects if effect.flagged)


def detect(ask: Ask, recorded: Recorded, *, target: int | None = None) -> Finding:
    """Return what each removal changes in a model's answers.

    target: class whose logit is followed; without it, of each window the class that was predicted. Raises ValueError
    for fewer than two windows and as `explain.asking.ask.answers`.
    """
    if len(recorded.x) < 2:
        raise ValueError(f"{len(recorded.x)} windows are too few to see what answers depend on")
    before = answers(ask, recorded.x)
    classes = before.argmax(axis=1) if target is None else np.full(len(before), target)
    rows = np.arange(len(before))
    centred = before - before.mean(axis=1, keepdims=True)
    spread = max(float(centred[rows, classes].std()), 1e-9)
    effects, profiles = [], []
    for name, removal in REMOVALS.items():
        cleaned = removal(recorded)
        after = answers(ask, cleaned)
        fall = (centred - (after - after.mean(axis=1, keepdims=True)))[rows, classes] / spread
        touched = _size(cleaned - recorded.x) > CHANGED * _size(recorded.x)
        profiles.append(np.where(touched, fall, 0.0))
        effects.append(_effect(name, fall, touched, before.argmax(axis=1) != after.argmax(axis=1), recorded.sites))
    return Finding(
        effects=tuple(effects), site_association=cramers_v(_groups(np.stack(profiles, axis=1)), recorded.sites)
    )


def _effect(name: str, fall: np.ndarray, touched: np.ndarray, flipped: np.ndarray, sites: np.ndarray) -> Effect:
    some = fall[touched]
    if not some.size:
        return Effect(removal=name, n_touched=0, change=0.0, certainty=0.0, flips=0.0, site="")
    error = float(some.std(ddof=1) / np.sqrt(some.size)) if some.size > 1 else float("inf")
    names, counts = np.unique(sites[touched], return_counts=True)
    return Effect(
        removal=name, n_touched=int(some.size), change=float(some.mean()),
        certainty=float(some.mean() / max(error, 1e-9)), flips=float(flipped[touched].mean()),
        site=str(names[counts.argmax()]),
    )  # fmt: skip


def _size(x: np.ndarray) -> np.ndarray:
    """Return the size of each window's loudest channel, shape (n,): a marker is large on one channel alone."""
    return np.asarray(np.sqrt((x.astype(np.float64) ** 2).mean(axis=2)).max(axis=1))


def without_mains(recorded: Recorded) -> np.ndarray:
    """Return windows whose power within 1.5 Hz of mains frequencies is that of their surroundings."""
    spectrum = np.fft.rfft(recorded.x, axis=-1)
    freqs = np.fft.rfftfreq(recorded.x.shape[-1], 1 / recorded.sfreq)
    for mains in MAINS_HZ:
        inside = np.abs(freqs - mains) <= 1.5
        around = (np.abs(freqs - mains) <= 5.0) & ~inside
        if not inside.any() or not around.any():
            continue
        usual = np.median(np.abs(spectrum[..., around]), axis=-1, keepdims=True)
        size = np.abs(spectrum[..., inside])
        spectrum[..., inside] *= np.minimum(1.0, usual / np.maximum(size, 1e-12))
    return np.fft.irfft(spectrum, n=recorded.x.shape[-1], axis=-1).astype(np.float32)


def without_markers(recorded: Recorded) -> np.ndarray:
    """Return windows whose single samples that stick out on one channel are the mean of their neighbours."""
    x = recorded.x
    bent = np.zeros_like(x)
    bent[..., 1:-1] = x[..., 1:-1] - (x[..., :-2] + x[..., 2:]) / 2
    usual = 1.4826 * np.median(np.abs(bent), axis=-1, keepdims=True)
    peak = np.zeros(x.shape, dtype=bool)
    size = np.abs(bent)
    peak[..., 1:-1] = (
        (size[..., 1:-1] > 25 * np.maximum(usual, 1e-9))
        & (size[..., 1:-1] > 1.5 * size[..., :-2])
        & (size[..., 1:-1] > 1.5 * size[..., 2:])
    )
    return np.where(peak, x - bent, x)


def without_flat_channels(recorded: Recorded) -> np.ndarray:
    """Return windows whose flat channels hold the median of the others, at the size of the median channel."""
    out = recorded.x.copy()
    sizes = out.std(axis=-1)
    usual = np.median(sizes, axis=-1, keepdims=True)
    for row in np.flatnonzero((sizes < 0.05 * usual).any(axis=1)):
        flat = sizes[row] < 0.05 * usual[row]
        stand_in = out[row, ~flat].mean(axis=0) if (~flat).any() else np.zeros(out.shape[-1], out.dtype)
        out[row, flat] = stand_in * (usual[row] / max(float(stand_in.std()), 1e-9))
    return out


def without_gain(recorded: Recorded) -> np.ndarray:
    """Return windows at one size: the median channel's spread is that of the median window of their site."""
    sizes = np.median(recorded.x.std(axis=-1), axis=-1)
    usual = np.empty_like(sizes)
    for site in np.unique(recorded.sites):
        of_site = recorded.sites == site
        usual[of_site] = np.median(sizes[of_site])
    factor = usual / np.maximum(sizes, 1e-9)
    odd = np.abs(np.log(np.maximum(factor, 1e-9))) > np.log(1.5)
    return np.asarray(recorded.x * np.where(odd, factor, 1.0)[:, None, None], dtype=np.float32)


def without_edges(recorded: Recorded) -> np.ndarray:
    """Return windows whose first and last 5% are the mirror image of what follows, where they are 3 times as loud as
    the median stretch of that length."""
    out, n = recorded.x.copy(), max(1, recorded.x.shape[-1] // 20)
    blocks = out[..., : out.shape[-1] // n * n].reshape(*out.shape[:-1], -1, n).std(axis=-1).mean(axis=1)
    usual = np.maximum(np.median(blocks, axis=1), 1e-9)
    for edge, mirror in ((slice(0, n), slice(2 * n - 1, n - 1, -1)), (slice(-n, None), slice(-n - 1, -2 * n - 1, -1))):
        odd = out[..., edge].std(axis=-1).mean(axis=-1) > 3 * usual
        out[odd, :, edge] = out[odd, :, mirror]
    return out


def without_body(recorded: Recorded) -> np.ndarray:
    """Return windows without what is slow at the eyes and fast at the temples, where it is louder than elsewhere."""
    spectrum = np.fft.rfft(recorded.x, axis=-1)
    freqs = np.fft.rfftfreq(recorded.x.shape[-1], 1 / recorded.sfreq)
    mains = np.min([np.abs(freqs - hz) for hz in MAINS_HZ], axis=0) <= 3.0
    for names, inside in ((EOG_NAMES, freqs < 3.0), (EMG_NAMES, (freqs > 30.0) & ~mains)):
        rows = [i for i, name in enumerate(recorded.ch_names) if name in names]
        others = [i for i in range(len(recorded.ch_names)) if i not in rows]
        if not rows or not others or not inside.any():
            continue
        part = spectrum[:, :, inside]
        power = (np.abs(part) ** 2).sum(axis=-1)
        usual = np.median(power[:, others], axis=1)[:, None]
        loud = power[:, rows] > 8 * usual
        factor = np.where(loud, np.sqrt(usual / np.maximum(power[:, rows], 1e-12)), 1.0)
        part[:, rows] *= factor[..., None]
        spectrum[:, :, inside] = part
    return np.fft.irfft(spectrum, n=recorded.x.shape[-1], axis=-1).astype(np.float32)


REMOVALS: dict[str, Removal] = {
    "mains hum": without_mains,
    "one-sample markers": without_markers,
    "flat channels": without_flat_channels,
    "gain": without_gain,
    "window edges": without_edges,
    "eyes and muscle": without_body,
}


def _groups(profiles: np.ndarray) -> np.ndarray:
    """Return the group of each window: the removal that changes it most, or none, shape (n,)."""
    strongest = np.abs(profiles).argmax(axis=1)
    return np.where(np.abs(profiles).max(axis=1) >= LARGE, strongest, -1)


def cramers_v(a: Sequence[object] | np.ndarray, b: Sequence[object] | np.ndarray) -> float:
    """Return Cramér's V of two labellings, 0 to 1; nan where one of them has one value only."""
    _, rows = np.unique(np.asarray(a), return_inverse=True)
    _, columns = np.unique(np.asarray(b), return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1)
    least = min(table.shape) - 1
    if least == 0:
        return float("nan")
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum() / least))
