"""What is signalled of an alarm, and what a pause holds back, as pure functions of what the records hold.

A pause changes nothing of what is raised, kept or listed: it holds back light and sound of one bed until a time that is
on the screen, and ends by itself. Words of IEC 60601-1-8, no claim of conformity.
"""

from collections.abc import Iterable
from dataclasses import dataclass

AUDIO_PAUSED, ALARM_PAUSED, AUDIO_OFF = "audio_paused", "alarm_paused", "audio_off"
LONGEST_S = {AUDIO_PAUSED: 600.0, ALARM_PAUSED: 600.0, AUDIO_OFF: 12 * 3600.0}
"""Of each kind; audio off ends with the shift at the latest."""
USUAL_S = {AUDIO_PAUSED: 120.0, ALARM_PAUSED: 120.0, AUDIO_OFF: 8 * 3600.0}
KINDS = tuple(LONGEST_S)


@dataclass(frozen=True, kw_only=True)
class Held:
    """A pause of one bed; times are UTC seconds since 1970."""

    kind: str
    begun_at: float
    until_at: float
    ended_at: float | None = None

    def is_on(self, at: float) -> bool:
        """Return whether it holds back anything at a time."""
        return self.begun_at <= at < min(self.until_at, self.until_at if self.ended_at is None else self.ended_at)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """An alarm of the same bed."""

    raised_at: float
    cleared_at: float | None = None
    acknowledged_at: float | None = None


@dataclass(frozen=True)
class Signals:
    """What is seen and heard of an alarm."""

    is_listed: bool
    """It stays on the screen until it is cleared and acknowledged: it latches."""
    flashes: bool
    sounds: bool


def signals_of(alarm: Condition, pauses: Iterable[Held], at: float) -> Signals:
    """Return what is signalled of an alarm at a time, under the pauses of its bed."""
    if at < alarm.raised_at:
        return Signals(False, False, False)
    is_present = alarm.cleared_at is None or at < alarm.cleared_at
    is_new = alarm.acknowledged_at is None or at < alarm.acknowledged_at
    held = {pause.kind for pause in pauses if pause.is_on(at)}
    calls = is_present and is_new
    return Signals(
        is_listed=is_present or is_new, flashes=calls and ALARM_PAUSED not in held, sounds=calls and not held
    )
