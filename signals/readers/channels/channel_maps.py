"""What a file's labels mean where they are no electrodes' names: BioSemi's A1 ... D32, a net's E1, E2, ...

Nothing in such a file says which cap was worn, and two caps share their names: a site's card names the cap, or the file
is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from signals.readers.channels.sensor_types import sensor_type_of
from signals.recording.recording import Recording, UnreadableError

_ABC = re.compile(r"A(\d|[12]\d|3[0-2])")
_NET = re.compile(r"E\d{1,3}")
_FEWEST = 8
"""Names of a kind from which on they are those of a cap or a net: "A1" and "A2" alone are ears."""


@dataclass(frozen=True, kw_only=True)
class ChannelMap:
    """Labels of electrodes for labels of files."""

    name: str
    labels: tuple[tuple[str, str], ...]
    """(label in the file, what it becomes) pairs."""

    def __post_init__(self) -> None:
        if len({label for label, _ in self.labels}) < max(len(self.labels), 1):
            raise ValueError(f"channel map {self.name!r} needs labels, each once")


def rename_channels(recording: Recording, channel_map: ChannelMap) -> Recording:
    """Return the recording under the map's labels, with the note "channel_map"; labels not in the map stay.

    Raises UnreadableError "no_eeg_channels" where the recording has less than half of the map's labels: another cap was
    worn.
    """
    renamed = dict(channel_map.labels)
    n_found = len(renamed.keys() & set(recording.ch_names))
    if 2 * n_found < len(renamed):
        raise UnreadableError(
            "no_eeg_channels", f"{n_found} of the {len(renamed)} labels of the channel map {channel_map.name} are there"
        )
    kinds = tuple(
        sensor_type_of(renamed[name]) if name in renamed else kind
        for name, kind in zip(recording.ch_names, recording.sensor_types, strict=True)
    )
    names = tuple(renamed.get(name, name) for name in recording.ch_names)
    return replace(recording, ch_names=names, sensor_types=kinds, notes=(*recording.notes, "channel_map"))


def hint(ch_names: Sequence[str]) -> str:
    """Return what a site card should name where these labels are of a cap or net that has names of its own."""
    n_abc = sum(_ABC.fullmatch(name) is not None for name in ch_names)
    if n_abc >= _FEWEST:
        return (
            "; these are BioSemi's ABC names, which say nothing without the cap: write a site card with "
            "channels: biosemi32, or 16, 64, 128 (docs/sites.md)"
        )
    if sum(_NET.fullmatch(name) is not None for name in ch_names) >= _FEWEST:
        return (
            "; the labels are a net's numbers: write a site card with channels: hydrocel128 or hydrocel256, "
            "or with a map of your own (docs/sites.md)"
        )
    return ""
