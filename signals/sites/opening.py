"""Whatever a caller holds - a path, an `mne.io.Raw`, an array - as an open recording, with its site's card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signals.readers.declaration import NOTHING_DECLARED
from signals.readers.digests import IN_MEMORY, source_sha256
from signals.readers.memory import recording_of_array, recording_of_mne
from signals.readers.registry import open_recording
from signals.recording.recording import Recording
from signals.sites.card_file import card_of_file


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A recording, and what its card holds besides."""

    recording: Recording
    sha256: str
    """Of the file; `IN_MEMORY` for what comes from none."""
    mains_hz: float | None = None
    """Mains frequency that the site's card declares."""


def open_source(
    source: Any, *, ch_names: Sequence[str] = (), sfreq: float | None = None, unit: str = "µV", site_card: str = "",
    keep: Sequence[str] = (),
) -> Opened:  # fmt: skip
    """Return a path or URI, an `mne.io.Raw`, an array of shape (n_chans, n_times) or a Recording as a recording.

    An array needs `ch_names` and `sfreq`, and its `unit`. `site_card` is the path of a card for a file's own layout; a
    card that lies beside the file is found without. `keep` names the details of a file that are wanted
    (`signals.recording.details.KEEPABLE`). Raises TypeError for anything else and for an array without names
    or rate, ValueError for an array that does not fit, CardError for a card that cannot be used, UnreadableError, with
    a reason code, for a file that is no usable recording.
    """
    if isinstance(source, str | Path):
        return _of_file(str(source), site_card, keep)
    if site_card:
        raise TypeError("a site card speaks of files: give a path with it")
    if isinstance(source, Recording):
        return Opened(recording=source, sha256=IN_MEMORY)
    if hasattr(source, "info") and hasattr(source, "get_data"):  # MNE is not imported to look at its type
        return Opened(recording=recording_of_mne(source), sha256=IN_MEMORY)
    if hasattr(source, "__array__"):
        if sfreq is None or not ch_names:
            raise TypeError("an array needs ch_names and sfreq")
        held = recording_of_array(source, ch_names=ch_names, sfreq=sfreq, unit=unit)
        return Opened(recording=held, sha256=IN_MEMORY)
    raise TypeError(f"{type(source).__name__} is no path, mne.io.Raw, array or Recording")


def _of_file(path: str, site_card: str, keep: Sequence[str]) -> Opened:
    card = card_of_file(path, site_card)
    recording = open_recording(path, declared=card.declared if card else NOTHING_DECLARED, keep=keep)
    return Opened(recording=recording, sha256=source_sha256(path), mains_hz=card.mains_hz if card else None)
