"""Recordings of files, of MNE and of arrays, by one function."""

from collections.abc import Sequence
from typing import Any

from signals.recording.recording import Recording
from signals.sites.opening import open_source


def read(
    source: Any, *, ch_names: Sequence[str] = (), sfreq: float | None = None, unit: str = "µV", site_card: str = ""
) -> Recording:
    """Return a path or URI, an `mne.io.Raw` or an array of shape (n_chans, n_times) as a recording.

    Only a file's header is read; `recording.read(picks, start=..., stop=...)` gives samples by range, in µV (ECG in
    mV). An array needs `ch_names` and `sfreq`, and its `unit`. `site_card` is the path of a card for a laboratory's own
    layout, which `cerebeam site-card FILE` drafts. Raises as `signals.sites.opening.open_source`: UnreadableError,
    with a reason code, for a file that is no usable recording.
    """
    return open_source(source, ch_names=ch_names, sfreq=sfreq, unit=unit, site_card=site_card).recording
