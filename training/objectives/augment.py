"""Random changes of normalised windows that keep their label.

A label of a span (the middle 10 s of 50 s) allows more outside of it than inside: nothing silences or moves what the
label speaks of, but for a shift of at most a quarter of the span.
"""

from dataclasses import dataclass

import numpy as np

from signals.electrodes import CHAINS
from signals.modality import Modality
from signals.spectrograms import REGIONAL_FREQS, REGIONAL_STEP_S
from signals.window import ABSENT, MEASURED
from training.objectives.augmenting.disturbances import N_WARP, noise, warped

_TOLERANCE = 0.01
STOP_HZ = (8.0, 40.0)
"""Bands are stopped in here: rhythmic delta and the rate of discharges, which tell the classes apart, lie below."""
_STOP_WIDTH_HZ = 2.0
EQUALISER_HZ = np.geomspace(0.5, 40.0, 6)
"""Where a random frequency response has its knots."""
_MASK_S = 5.0
_CHAIN_MIRROR = [list(CHAINS).index(name) for name in ("RL", "LL", "RP", "LP")]
"""For each chain the number of its opposite."""


def mirror_order(modality: Modality) -> np.ndarray | None:
    """Return for each channel the number of its opposite (itself on the midline), or None where one has none.

    Sensors other than EEG stay where they are: the eyes' rows may hold a horizontal and a vertical channel.
    """
    positions = np.asarray(modality.primary.positions)
    distance = np.linalg.norm(positions[:, None] * (-1, 1, 1) - positions[None], axis=-1)
    order = distance.argmin(axis=1)
    paired = (distance.min(axis=1) < _TOLERANCE).all() and (np.sort(order) == np.arange(len(order))).all()
    return np.concatenate([order, np.arange(len(order), modality.n_chans)]) if paired else None


STRENGTHS = (
    "mirror", "drop_channels", "gain_sd", "time_shift_s", "time_mask", "band_stop", "equaliser_sd", "time_warp",
    "polarity", "channel_shuffle", "noise_sd",
)  # fmt: skip
"""Fields of an `Augmentation` that a recipe's section has too."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may be done to a window, and how much of it."""

    sfreq: float
    window_s: float
    span_s: tuple[float, float] | None
    """The stretch that the label speaks of; None for the whole window."""
    mirror_with: np.ndarray | None
    """`mirror_order`'s output. Mirroring keeps all six classes: lateralised patterns stay lateralised."""
    mirror: float = 0.0
    drop_channels: float = 0.0
    gain_sd: float = 0.0
    time_shift_s: float = 0.0
    time_mask: float = 0.0
    band_stop: float = 0.0
    equaliser_sd: float = 0.0
    time_warp: float = 0.0
    polarity: float = 0.0
    channel_shuffle: float = 0.0
    noise_sd: float = 0.0
    ch_names: tuple[str, ...] = ()
    """What the channels are called: noise of leads is not independent."""

    def __post_init__(self) -> None:
        if self.time_mask and self.span_s is None:
            raise ValueError(f"time_mask={self.time_mask} would silence what the label speaks of: the whole window")
        start_s, stop_s = self.span_s or (0.0, self.window_s)
        if self.time_shift_s > (stop_s - start_s) / 4:
            raise ValueError(
                f"time_shift_s={self.time_shift_s} moves more than a quarter of the label's span of "
                f"{stop_s - start_s:g} s away from it: at most {(stop_s - start_s) / 4:g}"
            )

    def draw(self, rng: np.random.Generator, ch_state: np.ndarray) -> "Changes":
        """Return what is done to one window; at least one measured channel is kept."""
        mirrored = self.mirror_with is not None and bool(rng.random() < self.mirror)
        gain = float(np.exp(rng.normal(0.0, self.gain_sd)))
        dropped = rng.random(len(ch_state)) < self.drop_channels
        state = ch_state[self.mirror_with] if mirrored and self.mirror_with is not None else ch_state
        if not (~dropped & (state == MEASURED)).any():
            dropped = np.zeros_like(dropped)
        shift_s = float(rng.uniform(-self.time_shift_s, self.time_shift_s)) if self.time_shift_s else 0.0
        return Changes(
            mirrored=mirrored,
            gain=gain,
            dropped=dropped,
            shift_s=shift_s,
            masked_s=self._mask(rng) if self.time_mask and rng.random() < self.time_mask else None,
            stopped_hz=self._stop(rng) if self.band_stop and rng.random() < self.band_stop else None,
            response=rng.normal(0.0, self.equaliser_sd, len(EQUALISER_HZ)) if self.equaliser_sd else None,
            warp=rng.uniform(0, 2 * np.pi, N_WARP) if self.time_warp else None,
            turned=bool(self.polarity) and bool(rng.random() < self.polarity),
            order=rng.permutation(len(ch_state))
            if self.channel_shuffle and rng.random() < self.channel_shuffle
            else None,
            noise_seed=int(rng.integers(2**31)) if self.noise_sd else None,
        )

    def _mask(self, rng: np.random.Generator) -> tuple[float, float]:
        """Return a stretch of up to 5 s that leaves the label's span alone."""
        assert self.span_s is not None
        start_s, stop_s = self.span_s
        free = [(0.0, start_s), (stop_s, self.window_s)]
        low, high = free[int(rng.random() < (free[1][1] - free[1][0]) / (self.window_s - (stop_s - start_s)))]
        length = min(float(rng.uniform(1.0, _MASK_S)), high - low)
        onset = float(rng.uniform(low, high - length))
        return onset, onset + length

    def _stop(self, rng: np.random.Generator) -> tuple[float, float]:
        low = float(rng.uniform(STOP_HZ[0], STOP_HZ[1] - _STOP_WIDTH_HZ))
        return low, low + _STOP_WIDTH_HZ

    def signal(self, changes: "Changes", x: np.ndarray, ch_state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return changed samples, float32, shape (n_chans, n_times), and channel states."""
        if changes.mirrored and self.mirror_with is not None:
            x, ch_state = x[self.mirror_with], ch_state[self.mirror_with]
        if changes.stopped_hz is not None:
            x = without_band(x, self.sfreq, changes.stopped_hz)
        if changes.response is not None:
            x = equalised(x, self.sfreq, changes.response)
        if n_shift := round(changes.shift_s * self.sfreq):
            x = shifted(x, n_shift)
        x = self._disturbed(changes, x) * np.float32(changes.gain)
        if changes.order is not None:
            x, ch_state = x[changes.order], ch_state[changes.order]
        if changes.masked_s is not None:
            start, stop = (round(second * self.sfreq) for second in changes.masked_s)
            x[:, start:stop] = 0.0
        if changes.dropped.any():
            x = np.where(changes.dropped[:, None], np.float32(0), x)
            ch_state = np.where(changes.dropped, ABSENT, ch_state)
        return x, ch_state

    def _disturbed(self, changes: "Changes", x: np.ndarray) -> np.ndarray:
        """Return x, float32, on a bent axis of time, turned round, and with noise."""
        if changes.warp is not None:
            x = warped(x, changes.warp, sd=self.time_warp)
        if changes.turned:
            x = -x
        if changes.noise_seed is not None:
            rng = np.random.default_rng(changes.noise_seed)
            x = x + noise(rng, self.ch_names or ("",) * len(x), x.shape[-1], self.sfreq, sd=self.noise_sd)
        return x

    def spectrogram(self, changes: "Changes", log_RFS: np.ndarray) -> np.ndarray:
        """Return a changed spectrogram of log10 µV²/Hz, shape (4, n_freqs, n_steps): what is silenced is NaN there.

        Channels are not dropped, nor exchanged: a chain is the mean of its pairs. Stopped bands lie above or at its
        edge. Bent time and noise are of the samples alone.
        """
        log_RFS = log_RFS[_CHAIN_MIRROR] if changes.mirrored else log_RFS
        log_RFS = log_RFS + np.float32(2 * np.log10(changes.gain))
        if changes.response is not None:
            log_gain_F = log_response(REGIONAL_FREQS, changes.response)
            log_RFS = log_RFS + np.float32(2 / np.log(10)) * log_gain_F[:, None].astype(np.float32)
        if n_shift := round(changes.shift_s / REGIONAL_STEP_S):
            log_RFS = shifted(log_RFS, n_shift)
        if changes.masked_s is not None:
            middle_s = (np.arange(log_RFS.shape[-1]) + 0.5) * REGIONAL_STEP_S
            middle_s = middle_s - log_RFS.shape[-1] * REGIONAL_STEP_S / 2 + self.window_s / 2
            log_RFS[..., (middle_s >= changes.masked_s[0]) & (middle_s < changes.masked_s[1])] = np.nan
        return log_RFS


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What is done to one window."""

    mirrored: bool
    gain: float
    dropped: np.ndarray
    """bool, shape (n_chans,), after mirroring."""
    shift_s: float
    masked_s: tuple[float, float] | None
    stopped_hz: tuple[float, float] | None
    response: np.ndarray | None
    """Natural logarithm of the gain at `EQUALISER_HZ`."""
    warp: np.ndarray | None = None
    """Phases of `warped`."""
    turned: bool = False
    """Whether all voltages are turned round."""
    order: np.ndarray | None = None
    """Which channel stands in each row."""
    noise_seed: int | None = None


def log_response(freqs: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return the logarithm of a gain at any frequencies, straight between knots on a logarithmic axis of frequency."""
    return np.interp(np.log(np.maximum(freqs, EQUALISER_HZ[0])), np.log(EQUALISER_HZ), knots)


def equalised(x: np.ndarray, sfreq: float, knots: np.ndarray) -> np.ndarray:
    """Return x, float32, shape (n_chans, n_times), through an amplifier of another frequency response, zero-phase.

    All channels alike, and as large as before in all: what is left of who was recorded, and with what, is less.
    """
    gain = np.exp(log_response(np.fft.rfftfreq(x.shape[-1], 1 / sfreq), knots))
    changed = np.fft.irfft(np.fft.rfft(x, axis=-1) * gain, n=x.shape[-1], axis=-1)
    return (changed * np.sqrt((x**2).mean() / max((changed**2).mean(), 1e-12))).astype(np.float32)


def shifted(x: np.ndarray, n: int) -> np.ndarray:
    """Return x moved by n steps towards later times; what is missing at the edge is its mirror image. Time last."""
    pad = [(0, 0)] * (x.ndim - 1)
    if n > 0:
        return np.pad(x[..., :-n], [*pad, (n, 0)], mode="reflect")
    return np.pad(x[..., -n:], [*pad, (0, -n)], mode="reflect")


def without_band(x: np.ndarray, sfreq: float, band: tuple[float, float]) -> np.ndarray:
    """Return x, float32, shape (..., n_times), without the frequencies from band[0] to band[1]; edges of 0.5 Hz."""
    freqs = np.fft.rfftfreq(x.shape[-1], 1 / sfreq)
    inside = np.clip(np.minimum(freqs - band[0], band[1] - freqs) / 0.5 + 1.0, 0.0, 1.0)
    spectrum = np.fft.rfft(x, axis=-1) * (1.0 - inside)
    return np.fft.irfft(spectrum, n=x.shape[-1], axis=-1).astype(np.float32)
