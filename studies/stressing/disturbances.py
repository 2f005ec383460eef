"""Ways to make recordings worse, each with its levels."""

from collections.abc import Callable
from dataclasses import dataclass

from signals.recording.recording import Recording
from signals.windows.profiles import Profile
from synthetic.perturb import add_artifact, add_hum, change_gains, record_at, remove_channels, rereference

Seed = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Stress:
    """One way to make recordings worse."""

    unit: str
    """What levels count; empty where they are kinds."""
    levels: tuple[float, ...]
    """Above 0, in rising order."""
    apply: Callable[[Recording, float, Seed], Recording]
    """(recording, level, seed) -> recording."""
    names: tuple[str, ...] = ()
    """What levels are called, where they are kinds."""
    shorten: bool = False
    """Whether the level is the seconds that are cut off the window's end, and the recording stays as it is."""

    def name_of(self, level: float) -> str:
        """Return what a level is called on a page; empty for number and unit."""
        return self.names[self.levels.index(level)] if self.names and level else ""


def _artifact(kind: str) -> Stress:
    def apply(recording: Recording, level: float, seed: Seed) -> Recording:
        return add_artifact(recording, kind, amplitude_uv=level, seed=seed)

    return Stress(unit="µV", levels=(25.0, 50.0, 100.0, 200.0, 400.0), apply=apply)


def _hum(mains_hz: float) -> Stress:
    def apply(recording: Recording, level: float, seed: Seed) -> Recording:
        return add_hum(recording, mains_hz=mains_hz, amplitude_uv=level, seed=seed)

    return Stress(unit="µV", levels=(5.0, 20.0, 80.0, 320.0), apply=apply)


_REFERENCES, _RATES = ("Cz", "average"), (100.0, 128.0, 200.0, 500.0)


def stresses(profile: Profile) -> dict[str, Stress]:
    """Return every stress by name, for recordings that are prepared under a profile."""
    among = profile.signal.ch_names
    cuts = tuple(float(s) for s in (2, 4, 6, 10, 20) if profile.window_s - s >= _shortest(profile))
    return {
        "channels removed": Stress(
            unit="channels", levels=(1.0, 2.0, 4.0, 8.0, 12.0),
            apply=lambda r, level, seed: remove_channels(r, int(level), among=among, seed=seed),
        ),
        **{f"{kind.replace('_', ' ')} artifact": _artifact(kind) for kind in ("blink", "muscle", "pop", "drift")},
        "mains hum 50 Hz": _hum(50.0),
        "mains hum 60 Hz": _hum(60.0),
        "gain error": Stress(
            unit="%", levels=(10.0, 30.0, 100.0),
            apply=lambda r, level, seed: change_gains(r, level / 100, seed=seed),
        ),
        "reference": Stress(
            unit="", levels=(1.0, 2.0), names=_REFERENCES,
            apply=lambda r, level, seed: rereference(r, _REFERENCES[int(level) - 1]),
        ),
        "native rate": Stress(
            unit="", levels=_RATES, names=tuple(f"{rate:g} Hz" for rate in _RATES),
            apply=lambda r, level, seed: record_at(r, level),
        ),
        "window shortened": Stress(unit="s", levels=cuts, apply=lambda r, level, seed: r, shorten=True),
    }  # fmt: skip


def _shortest(profile: Profile) -> float:
    """Return the shortest window that still holds the label's span, or two seconds."""
    return profile.label_span_s[1] if profile.label_span_s else 2.0
