"""What a site declares of its files that they do not hold themselves.

A `Declaration` is plain data: it travels with the reference to a file and with the recording's plan, so that a worker
opens the file as whoever planned it did. Site cards (`signals.sites`) make them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from signals.readers.channels.channel_maps import ChannelMap, rename_channels
from signals.readers.layouts.layout import Layout
from signals.recording.recording import SENSOR_TYPES, Recording


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """How files of a site are read; empty for files that hold everything."""

    layouts: tuple[Layout, ...] = ()
    """Of files of arrays and tables; they go before the package's own."""
    channel_map: ChannelMap | None = None
    """What labels of channels mean; a map whose labels are not in the file refuses it."""
    sensors: tuple[tuple[str, str], ...] = ()
    """(label, sensor type) pairs of channels whose labels mislead."""
    reference: str = ""
    """What the channels were recorded against; empty to believe the file."""

    def __post_init__(self) -> None:
        for label, kind in self.sensors:
            if kind not in SENSOR_TYPES:
                raise ValueError(f"sensors: {label!r} is {kind!r}, which is none of {', '.join(SENSOR_TYPES)}")

    def applied(self, recording: Recording) -> Recording:
        """Return the recording under the declared labels, sensors and reference.

        Raises UnreadableError "no_eeg_channels" where the channel map is of another cap.
        """
        if self.channel_map is not None:
            recording = rename_channels(recording, self.channel_map)
        if self.sensors:
            kinds = dict(self.sensors)
            recording = replace(
                recording,
                sensor_types=tuple(
                    kinds.get(name, kind) for name, kind in zip(recording.ch_names, recording.sensor_types, strict=True)
                ),
            )
        return replace(recording, reference=self.reference) if self.reference else recording


NOTHING_DECLARED = Declaration()


def declaration_of(fields: Mapping[str, Any] | None) -> Declaration:
    """Return the declaration that `dataclasses.asdict` gave these fields of, also after a round trip through JSON."""
    if not fields:
        return NOTHING_DECLARED
    named = fields["channel_map"]
    return Declaration(
        layouts=tuple(Layout(**{name: _frozen(value) for name, value in each.items()}) for each in fields["layouts"]),
        channel_map=named and ChannelMap(name=named["name"], labels=_frozen(named["labels"])),
        sensors=_frozen(fields["sensors"]),
        reference=fields["reference"],
    )


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
