"""Eyes and muscles as independent components of a recording, and how much of them is taken out of a window.

The decomposition is fitted once, when a recording is planned, on a bounded excerpt. Afterwards it is a fixed map over
the modality's channels, so blocks, workers and the server make the same windows, and nothing is read whole. A
component that carries epileptiform discharges is never removed, whatever else it carries.

Of the others only what stands out is taken (wavelet-enhanced ICA: Castellanos and Makarov 2006,
doi:10.1016/j.jneumeth.2006.05.033): with 19 electrodes a component of blinks holds as much frontal EEG between them,
and taking it out whole costs nearly what it gains (docs/cleaning.md has both figures).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from signals.conditioning.filters import GUARD, bandpass
from signals.description.features import sharp_peaks
from signals.spectrograms import welch

FIT_BAND = (1.0, 100.0)
"""Pass band of what is decomposed, Hz: muscles show best where brains do not; slower drift only disturbs the fit."""
MIN_COMPONENTS = 7
"""Fewest components for a decomposition that separates eyes from brain."""
SAMPLES_A_SQUARE = 40
"""Sufficient samples per squared number of components; 20 to 30 is the usual advice (Onton and Makeig 2006)."""
FLOOR = 1.6
"""Robust deviations of its wavelet level that a component's coefficient must pass to count as artifact."""
_MAX_ITER = 300
_WAVELET, _LEVEL = "sym4", 5
_DECIMALS = 6  # of the matrices: rounds away what the order of additions may change


@dataclass(frozen=True, eq=False)
class Removal:
    """What is taken out of a recording's windows."""

    kinds: tuple[str, ...]
    """Kind of each component: "brain", "blink", "eye_movement", "muscle", or "spikes": eye or muscle that is kept."""
    unmixing: np.ndarray = field(repr=False)
    """float32, shape (n_removed, n_chans): from µV to sources of deviation 1."""
    mixing: np.ndarray = field(repr=False)
    """float32, shape (n_chans, n_removed): back to µV."""
    floors: np.ndarray = field(repr=False)
    """float32, shape (n_removed, n_levels): the usual size of each wavelet level, approximation first."""

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return a window without its artifacts, float32, shape (n_chans, n_times), µV."""
        if not len(self.unmixing):
            return x
        return np.asarray(x - self.mixing @ self.artifacts(self.unmixing @ x))

    def artifacts(self, sources: np.ndarray) -> np.ndarray:
        """Return what stands out of each source, float32, shape (n_removed, n_times): non-negative garrote."""
        import pywt

        levels = pywt.wavedec(sources, _WAVELET, mode="symmetric", level=_LEVEL, axis=-1)
        tiny = np.finfo(np.float32).tiny
        for i, level in enumerate(levels):
            limit = np.square(FLOOR * self.floors[:, i : i + 1])
            levels[i] = level * np.maximum(1.0 - limit / np.maximum(np.square(level), tiny), 0.0)
        restored = pywt.waverec(levels, _WAVELET, mode="symmetric", axis=-1)
        return np.asarray(restored[:, : sources.shape[1]], dtype=np.float32)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for a recording's plan: "ica_blink", "ica_muscle", "ica_spikes_kept", ... or "ica_nothing"."""
        kinds = sorted(set(self.kinds) - {"brain"})
        return tuple("ica_spikes_kept" if kind == "spikes" else f"ica_{kind}" for kind in kinds) or ("ica_nothing",)


def find_removal(
    x: np.ndarray, sfreq: float, *, ch_names: Sequence[str], band: tuple[float, float], h_freq: float, seed: int = 0
) -> Removal | None:
    """Return what to remove, fitted on an excerpt; None where that cannot be determined.

    x has shape (n_chans, n_times), µV, its upper edge at `h_freq` (Hz; up to 100 is of use); `band` is that of the
    windows which the removal is for. None for fewer than `MIN_COMPONENTS` independent channels, for an excerpt too
    short to determine them, and for channels without the electrodes that the criteria name (see `classify`).
    """
    if not {*_FRONTAL, *_POSTERIOR, *_RIM} <= set(ch_names) or x.shape[1] < 20 * sfreq:
        return None
    narrow = bandpass(x, sfreq, l_freq=FIT_BAND[0], h_freq=min(FIT_BAND[1], h_freq, GUARD * sfreq))
    size = np.linalg.eigvalsh(np.cov(narrow.astype(np.float64)))
    rank = int(np.count_nonzero(size > 1e-8 * size[-1]))
    if rank < MIN_COMPONENTS or x.shape[1] < SAMPLES_A_SQUARE / 2 * rank**2:
        return None
    unmixing, mixing = decompose(narrow, rank=rank, seed=seed)
    kinds = classify(unmixing @ narrow, mixing, sfreq, ch_names=ch_names, h_freq=h_freq)
    removed = [k for k, kind in enumerate(kinds) if kind in ("blink", "eye_movement", "muscle")]
    unmixing = np.round(unmixing[removed], _DECIMALS).astype(np.float32)
    mixing = np.round(mixing[:, removed], _DECIMALS).astype(np.float32)
    seen = bandpass(unmixing @ x, sfreq, l_freq=band[0], h_freq=min(band[1], GUARD * sfreq))
    return Removal(kinds, unmixing, mixing, _floors(seen))


def _floors(sources: np.ndarray) -> np.ndarray:
    import pywt

    if not len(sources):
        return np.zeros((0, _LEVEL + 1), dtype=np.float32)
    levels = pywt.wavedec(sources, _WAVELET, mode="symmetric", level=_LEVEL, axis=-1)
    sizes = np.stack([1.4826 * np.median(np.abs(level), axis=-1) for level in levels], axis=-1)
    return np.round(sizes, _DECIMALS).astype(np.float32)


def decompose(x: np.ndarray, *, rank: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return (unmixing, mixing) of shapes (rank, n_chans) and (n_chans, rank): sources of deviation 1 from µV.

    Extended infomax (Lee, Girolami and Sejnowski 1999, doi:10.1162/089976699300016719) by mne.preprocessing.ICA on
    every so many samples of x, shape (n_chans, n_times), µV; the same input and seed give the same matrices.
    """
    import mne

    # The model ignores the order of samples: leaving some out only makes it faster.
    step = max(1, x.shape[1] // (SAMPLES_A_SQUARE * rank**2))
    raw = mne.io.RawArray(x[:, ::step].astype(np.float64), mne.create_info(x.shape[0], 1.0, "eeg"), verbose="error")
    ica = mne.preprocessing.ICA(
        rank, method="infomax", fit_params={"extended": True}, rng=np.random.default_rng(seed), max_iter=_MAX_ITER,
        verbose="error",
    )  # fmt: skip
    ica.fit(raw, verbose="error")
    unmixing = ica.unmixing_matrix_ @ ica.pca_components_[:rank]
    mixing = ica.pca_components_[:rank].T @ ica.mixing_matrix_
    size = (unmixing @ x).std(axis=1)
    return unmixing / size[:, None], mixing * size


_FRONTAL, _POSTERIOR = ("F3", "Fz", "F4"), ("C3", "Cz", "C4", "P3", "Pz", "P4", "T5", "T6", "O1", "O2")
_RIM = ("Fp1", "Fp2", "F7", "F8", "T3", "T4", "T5", "T6", "O1", "O2")  # electrodes over muscles
_SPARSE = 2.5  # least excess kurtosis of blinks and saccades; rhythmic delta stays below 1
_SLOW_SHARE = 0.7  # of the power in 1-30 Hz, least below 5 Hz for eyes
_MUSCLE_DB = -4.0  # density of 25-45 Hz over that of 4-15 Hz; brain about -17, its fast rhythms above -10 only rarely
_MUSCLE_TOP_DB = -8.0  # density of 55-95 Hz over that of 4-15 Hz, where the band reaches it
SPIKES_PER_MIN = 3.0
"""Sharp waves a minute above which a component is kept; blinks and muscles show fewer than 1 at most electrodes."""
POINTED = 0.4
"""Least sharpness, and least height, of a spike over the largest value within 0.2 s: 1.0 for a spike of 50 ms, 0.5 for
a sharp wave of 100 ms. It keeps the feet of a blink from being spikes."""


def classify(
    sources: np.ndarray, mixing: np.ndarray, sfreq: float, *, ch_names: Sequence[str], h_freq: float
) -> tuple[str, ...]:
    """Return the kind of each component (`Removal.kinds`).

    `sources` has shape (n_components, n_times), deviation 1; `mixing` (n_chans, n_components), µV; `h_freq` is the
    upper edge of the band, Hz. The criteria:

    blink         largest at Fp1 and Fp2 with one sign, at most 0.6 of that over F3, Fz, F4, both against the median of
                  central and posterior electrodes, none of which passes half of it; sparse in time; 70% of 1-30 Hz
                  below 5 Hz. Frontal delta and seizures are wider, rhythmic and not sparse.
    eye movement  F7 and F8 largest with opposite signs; sparse and slow in the same way.
    muscle        power that does not fall off: 25-45 Hz within 4 dB of 4-15 Hz, and 55-95 Hz within 8 dB where the band
                  holds it; largest on the rim of the cap, where the muscles lie.
    spikes        a blink or muscle with more than `SPIKES_PER_MIN` sharp waves
    (`signals.description.features.sharp_waves`) at the
                  component's size on its largest electrode: kept. Brisk blinks are sharp waves too, so of what
                  blinks only those count that are pointed (`POINTED`) and negative at the poles: blinks are positive
                  there, epileptiform discharges negative on the surface but for rare cases. Saccades, whose map no
                  cortical source has, are not checked for spikes.
    """
    from scipy import stats
    from scipy.ndimage import maximum_filter1d

    freqs, density = welch(sources, sfreq)
    kurtosis = stats.kurtosis(sources, axis=1)
    sized = sources * np.abs(mixing).max(axis=0)[:, None]
    minutes = sources.shape[1] / sfreq / 60
    row, at, sharpness = sharp_peaks(sized, sfreq)
    nearby = maximum_filter1d(np.abs(sized), 2 * int(0.2 * sfreq) + 1, axis=1)[row, at]
    up = np.sign(mixing[ch_names.index("Fp1")] + mixing[ch_names.index("Fp2")])[row]
    pointed = (sharpness > POINTED * nearby) & (-up * sized[row, at] > POINTED * nearby)
    spikes = {
        "muscle": np.bincount(row, minlength=len(sized)) / minutes,
        "blink": np.bincount(row[pointed], minlength=len(sized)) / minutes,
    }
    kinds = []
    for k in range(len(sources)):
        kind = "brain"
        slow = _power(freqs, density[k], 1, 5) / _power(freqs, density[k], 1, 30)
        if kurtosis[k] > _SPARSE and slow > _SLOW_SHARE:
            kind = _eye(mixing[:, k], ch_names)
        if kind == "brain" and _is_muscle(freqs, density[k], mixing[:, k], ch_names, h_freq):
            kind = "muscle"
        if kind in spikes and spikes[kind][k] > SPIKES_PER_MIN:
            kind = "spikes"
        kinds.append(kind)
    return tuple(kinds)


def _power(freqs: np.ndarray, density: np.ndarray, low: float, high: float) -> float:
    return float(density[(freqs >= low) & (freqs < high)].sum())


def _eye(scalp: np.ndarray, ch_names: Sequence[str]) -> str:
    at = {name: float(value) for name, value in zip(ch_names, scalp, strict=True)}
    back = float(np.median([at[name] for name in _POSTERIOR]))
    poles = np.array([at["Fp1"], at["Fp2"]]) - back
    pole = float(np.abs(poles).min())
    near_by = np.median([abs(at[name] - back) for name in _FRONTAL])
    far = max(abs(at[name] - back) for name in _POSTERIOR)
    if poles.prod() > 0 and near_by <= 0.6 * pole and far <= 0.5 * pole:
        return "blink"
    sides = np.array([at["F7"], at["F8"]])
    others = max(abs(at[name]) for name in ch_names if name not in ("F7", "F8", "Fp1", "Fp2"))
    if sides.prod() < 0 and np.abs(sides).min() >= max(others, 0.5 * np.abs(sides).max()):
        return "eye_movement"
    return "brain"


def _is_muscle(
    freqs: np.ndarray, density: np.ndarray, scalp: np.ndarray, ch_names: Sequence[str], h_freq: float
) -> bool:
    if h_freq < 45 or ch_names[int(np.argmax(np.abs(scalp)))] not in _RIM:
        return False
    slow = density[(freqs >= 4) & (freqs < 15)].mean()
    if 10 * np.log10(density[(freqs >= 25) & (freqs < 45)].mean() / slow) < _MUSCLE_DB:
        return False
    top = (freqs >= 55) & (freqs < min(95.0, h_freq))
    return bool(h_freq < 75 or 10 * np.log10(np.median(density[top]) / slow) > _MUSCLE_TOP_DB)
