"""From an array to the window that a model reads: plain data and signals code, so that another process can do it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from signals.bundles.bundle import BundleError
from signals.bundles.inputs import windows_of_recording
from signals.modality import Modality
from signals.readers.memory import recording_of_array
from signals.window import Window
from signals.windows.profiles import Profile

SFREQ = 200.0
"""Rate of a request's array where it gives none, Hz: that of the HMS competition's files."""
_SEED = 20261122


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What a model's windows depend on besides their samples."""

    name: str
    """Of the model, for error messages."""
    modality: Modality
    profile: Profile
    want: frozenset[str]
    """What the graphs read besides samples (`signals.windows.prepare`)."""
    spectrogram_shape: tuple[int, ...] | None
    """Shape of a spectrogram that a graph reads; None where none does."""

    def window(
        self, x_uv: np.ndarray, *, sfreq: float = SFREQ, ch_names: Sequence[str] | None = None,
        spectrogram: np.ndarray | None = None,
    ) -> Window:  # fmt: skip
        """Return the window of an array of its length, shape (n_chans, n_times), µV, prepared like a file's.

        Without `ch_names` the rows are the modality's channels in order. `spectrogram` is log10 of power as in
        `Window.spectrogram`; what the array alone gives is taken where there is none. Raises BundleError for another
        length, a spectrogram that no graph reads or of another shape; UnreadableError as a file would.
        """
        names = self.modality.ch_names if ch_names is None else tuple(ch_names)
        if len(x_uv) != len(names):
            raise BundleError(f"the array has {len(x_uv)} channels, {len(names)} are named")
        window_s = self.profile.window_s
        if abs(x_uv.shape[1] - window_s * sfreq) > 2:
            raise BundleError(
                f"the array has {x_uv.shape[1] / sfreq:g} s, one window has {window_s:g} s: {window_s * sfreq:g} "
                f"samples at {sfreq:g} Hz; send longer recordings as a file"
            )
        self._check_spectrogram(spectrogram)
        recording = recording_of_array(x_uv, ch_names=names, sfreq=sfreq)
        digest = hashlib.sha256(np.ascontiguousarray(x_uv).tobytes()).hexdigest()
        found = list(windows_of_recording(self.profile, recording, source_sha256=digest, want=self.want))
        if not found:
            raise BundleError("the array holds nothing to answer: every channel is flat or most samples are missing")
        return found[0] if spectrogram is None else replace(found[0], spectrogram=spectrogram)

    def noise(self) -> Window:
        """Return a window of noise, prepared as a request's: what is slow the first time has been done then."""
        rng, n_times = np.random.default_rng(_SEED), round(self.profile.window_s * SFREQ)
        noise = np.cumsum(rng.normal(size=(self.modality.n_chans, n_times)), axis=1)
        noise = 20 * (noise - noise.mean(axis=1, keepdims=True)) / noise.std(axis=1, keepdims=True)
        spectrogram = None
        if self.spectrogram_shape is not None:
            spectrogram = rng.normal(size=self.spectrogram_shape).astype(np.float32)
        return self.window(noise.astype(np.float32), spectrogram=spectrogram)

    def _check_spectrogram(self, spectrogram: np.ndarray | None) -> None:
        if spectrogram is None:
            return
        if self.spectrogram_shape is None:
            raise BundleError(f"model {self.name} reads no spectrogram: leave spectrogram_data out")
        if spectrogram.shape != self.spectrogram_shape:
            raise BundleError(
                f"spectrogram_data has shape {spectrogram.shape}, model {self.name} reads {self.spectrogram_shape}"
            )
