"""Windows of a recording, prepared as the pipeline and the server prepare them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from signals.bundles.inputs import windows_of_recording
from signals.modality import MODALITIES, UNITS, UV_PER_UNIT
from signals.sites.opening import open_source
from signals.window import ABSENT, MEASURED, Window
from signals.windows.profiles import PROFILES, Profile


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of one recording under one profile."""

    profile: Profile
    windows: tuple[Window, ...] = field(repr=False)
    """In order of time; each holds its artifact flags, quality and features."""

    def __len__(self) -> int:
        return len(self.windows)

    @cached_property
    def data(self) -> np.ndarray:
        """Samples, µV (ECG: mV), float32, shape (n_windows, n_chans, n_times)."""
        shape = (0, len(self.ch_names), round(self.profile.window_s * self.sfreq))
        return np.stack([window.data for window in self.windows]) if self.windows else np.empty(shape, np.float32)

    @property
    def ch_names(self) -> tuple[str, ...]:
        """Names of the rows of a window."""
        return MODALITIES[self.profile.modality].ch_names

    @property
    def sfreq(self) -> float:
        """Samples per second."""
        return MODALITIES[self.profile.modality].sfreq

    @property
    def start_s(self) -> np.ndarray:
        """Onsets since the recording's start, seconds, float64, shape (n_windows,)."""
        return np.array([window.start_s for window in self.windows])

    @property
    def ch_state(self) -> np.ndarray:
        """0 absent, 1 interpolated, 2 measured: uint8, shape (n_windows, n_chans)."""
        states = [window.ch_state for window in self.windows]
        return np.stack(states) if states else np.empty((0, len(self.ch_names)), np.uint8)

    def to_epochs(self) -> Any:
        """Return `mne.EpochsArray` in volts, with a standard montage.

        Channels that no window measured are marked bad; MNE knows no channel that is bad in a single epoch.
        Raises ValueError where there is no window.
        """
        import mne

        if not self.windows:
            raise ValueError("there is no window to make epochs of")
        kinds = MODALITIES[self.profile.modality].sensor_types
        info = mne.create_info(list(self.ch_names), self.sfreq, list(kinds), verbose="ERROR")
        info["bads"] = [
            name for name, of in zip(self.ch_names, self.ch_state.T, strict=True) if not (of == MEASURED).any()
        ]
        per_volt = np.array([1e6 / UV_PER_UNIT[UNITS[kind]] for kind in kinds])
        onsets = np.round(self.start_s * self.sfreq).astype(int)
        events = np.stack([onsets, np.zeros_like(onsets), np.ones_like(onsets)], axis=1)
        volts = np.where((self.ch_state == ABSENT)[..., None], 0.0, self.data / per_volt[:, None])
        epochs = mne.EpochsArray(volts, info, events=events, baseline=None, verbose="ERROR")
        return epochs.set_montage("standard_1020", on_missing="ignore", verbose="ERROR")


def prepare(
    source: Any, *, profile: str | Profile = "pretrain", hop_s: float | None = None, mains_hz: float | None = None,
    ch_names: Sequence[str] = (), sfreq: float | None = None, unit: str = "µV", site_card: str = "",
) -> Windows:  # fmt: skip
    """Return the windows of a recording: harmonised channels, resampled, filtered, flagged.

    `source` and the options after `mains_hz` are those of `cerebeam.read`. `profile` is one of
    `signals.windows.profiles.PROFILES` or one of your own; `hop_s` is the distance between windows, by default the
    profile's; `mains_hz` the mains frequency, by default the card's, or detected. Windows are bit-identical to those
    that the pipeline writes, before they are rounded for storage. Raises ValueError for an unknown profile, and as
    `cerebeam.read`; UnreadableError too for a recording that the profile cannot use, with the reason.
    """
    chosen = profile if isinstance(profile, Profile) else PROFILES.get(profile)
    if chosen is None:
        raise ValueError(f"profile={profile!r} is none of {', '.join(PROFILES)}")
    opened = open_source(source, ch_names=ch_names, sfreq=sfreq, unit=unit, site_card=site_card)
    mains_hz = opened.mains_hz if mains_hz is None else mains_hz
    found = windows_of_recording(chosen, opened.recording, source_sha256=opened.sha256, mains_hz=mains_hz, hop_s=hop_s)
    return Windows(profile=chosen, windows=tuple(found))
