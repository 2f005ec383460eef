"""What is done to a recording, decided once: channels, rate, band, mains, offsets, components to remove.

A plan is small and holds no samples, so it is what goes through a shuffle. A recording that cannot be used under a
profile is refused here, with a reason code.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from signals.conditioning.conditioning import Conditioner
from signals.conditioning.filters import GUARD, detect_mains, effective_band, resampling_ratio
from signals.description.bad_channels import bad_channels, flat_electrodes
from signals.description.systems import ElectrodeSystem, system_of
from signals.electrodes import electrode_positions
from signals.modality import in_microvolts
from signals.montage.labels import Derivation, recorded_references, reference_groups
from signals.montage.montage import Harmoniser, has_no_potential
from signals.montage.references import REFERENCE_ELECTRODES, UndefinedReferenceError
from signals.montage.splines import MIN_FOR_SPLINES
from signals.readers.channels.channel_maps import hint
from signals.readers.declaration import NOTHING_DECLARED, Declaration
from signals.recording.details import Details
from signals.recording.recording import Recording, RecordingHeader, UnreadableError
from signals.threads import one_thread
from signals.window import MEASURED
from signals.windows.ica import FIT_BAND, Removal, find_removal
from signals.windows.look import channel_offsets, look_at, look_over, plausible_amplitude, spread
from signals.windows.margins import NO_MARGINS, Margins, margins_of
from signals.windows.native import read_native
from signals.windows.profiles import Profile
from signals.windows.sensors import SensorPlan, choose_channels, sensor_band

_LARGEST_RATIO = 100_000
"""Of the whole numbers of a change of rate: the filter between two rates is as long as they are large."""
_EXCERPT = (6, 20.0)  # pieces and their seconds: what components are fitted on, all of it if a recording is shorter


@dataclass(frozen=True, kw_only=True)
class RecordingPlan:
    """What is decided about a recording before its windows are prepared."""

    uri: str
    site_id: str
    subject_id: str
    source_sha256: str
    header: RecordingHeader
    """What reopening the recording takes."""
    profile: Profile
    picks: tuple[int, ...]
    derivations: tuple[Derivation, ...]
    native_sfreq: float
    band: tuple[float, float]
    mains_hz: float | None
    offsets: tuple[float, ...]
    notes: tuple[str, ...] = ()
    removal: Removal | None = field(default=None, compare=False)
    """Components that the profile's cleaning removes; None where it removes none or cannot identify them."""
    source_reference: str = ""
    """Recording reference by the file or its labels; empty where they give none."""
    amplitude_uv: float | None = None
    """Robust standard deviation within 1-35 Hz that the unit was judged by, µV, median over channels."""
    bad_channels: tuple[tuple[str, str], ...] = ()
    """Bad electrodes, and why (`signals.description.bad_channels.REASONS`, joined by "+"). They are no picks
    any more, unless a note says "bad_channels_kept"."""
    declared: Declaration = NOTHING_DECLARED
    """What the site's card holds of the file; reopening it takes that too."""
    margins: Margins = NO_MARGINS
    """Of a recording that is shorter than a window: seconds before and after it that its windows reach into
    (`signals.windows.margins`)."""
    sensors: tuple[SensorPlan, ...] = ()
    """Channels of the modality's rows beside EEG, in their order; rows that are not here are absent."""
    details: Details = field(default_factory=Details)
    """What was requested to be kept of device, hour and age (`signals.readers.registry.open_recording`)."""

    @property
    def recording_id(self) -> str:
        """First 16 hex digits of the source's sha256."""
        return self.source_sha256[:16]

    @property
    def n_window(self) -> int:
        """Samples of a window at the modality's rate."""
        return round(self.profile.window_s * self.profile.signal.sfreq)

    @property
    def used_picks(self) -> tuple[int, ...]:
        """The channels that the chain reads, in the harmoniser's order."""
        return tuple(self.picks[i] for i in self.conditioner.harmoniser.used)

    @property
    def conditioner(self) -> Conditioner:
        """The chain for this recording."""
        return Conditioner(
            harmoniser=system_of(self.profile.signal).harmoniser(
                self.derivations, self.profile.signal.primary, self.profile.reference
            ),
            native_sfreq=self.native_sfreq,
            sfreq=self.profile.signal.sfreq,
            band=self.band,
            mains_hz=self.mains_hz,
            offsets=self.offsets,
            antialias_db=self.profile.antialias_db,
        )

    @property
    def sensor_conditioners(self) -> tuple[Conditioner, ...]:
        """The chain of each of `sensors`."""
        return tuple(
            sensor.conditioner(
                sfreq=self.profile.signal.sfreq, mains_hz=self.mains_hz, antialias_db=self.profile.antialias_db
            )
            for sensor in self.sensors
        )


@one_thread()
def plan_recording(
    recording: Recording,
    profile: Profile,
    *,
    site_id: str,
    subject_id: str,
    source_sha256: str,
    mains_hz: float | None = None,
    declared: Declaration = NOTHING_DECLARED,
) -> RecordingPlan:
    """Return how to prepare a recording; mains are detected where neither `mains_hz` nor the recording gives them.

    `declared` is what the recording was opened with.

    Raises UnreadableError with a reason code for a recording that cannot be used under this profile.
    """
    electrodes = _electrodes(recording, profile)
    native_sfreq = electrodes.native_sfreq
    longest_s = max(segment.duration_s for segment in recording.segments)
    if (margins := margins_of(profile, longest_s, native_sfreq=native_sfreq)) is None:
        raise too_short(longest_s, profile)
    electrodes = _with_live(recording, electrodes, profile)
    picks, derivations, bad, noted = _without_bad(recording, electrodes, profile)
    notes = (*recording.notes, *electrodes.notes, *noted)
    look = look_over(recording, picks)
    mains_hz = mains_hz if mains_hz is not None else recording.mains_hz
    in_uv = [in_microvolts(x, profile.signal.kind) for x in look]
    amplitude_uv = plausible_amplitude(in_uv, native_sfreq, system=system_of(profile.signal))
    sensors, unusable = _sensors(recording, profile)
    plan = RecordingPlan(
        uri=recording.uri,
        site_id=site_id,
        subject_id=subject_id,
        source_sha256=source_sha256,
        header=recording.header,
        profile=profile,
        details=recording.details,
        picks=picks,
        derivations=derivations,
        native_sfreq=native_sfreq,
        band=effective_band(profile.l_freq, profile.h_freq, native_sfreq=native_sfreq, sfreq=profile.signal.sfreq),
        mains_hz=mains_hz if mains_hz is not None else detect_mains(look, native_sfreq),
        offsets=channel_offsets(look),
        notes=(*notes, *unusable, *_warnings(in_uv, native_sfreq, derivations, profile)),
        source_reference=recording.reference or "/".join(sorted(recorded_references(electrodes.derivations))),
        amplitude_uv=amplitude_uv,
        bad_channels=bad,
        declared=declared,
        margins=margins,
        sensors=sensors,
    )
    return _with_removal(recording, plan) if profile.cleaning.ica else plan


def _warnings(
    look: list[np.ndarray], sfreq: float, derivations: tuple[Derivation, ...], profile: Profile
) -> tuple[str, ...]:
    """Return what the system's checks find in a look, µV: in most of its stretches, as notes."""
    names = [derivation.anode for derivation in derivations]
    found = Counter(
        note for note, check in system_of(profile.signal).checks for x in look if check(np.nan_to_num(x), sfreq, names)
    )
    return tuple(note for note, n in found.items() if 2 * n > len(look))


def _sensors(recording: Recording, profile: Profile) -> tuple[tuple[SensorPlan, ...], tuple[str, ...]]:
    """Return the plans of the sensor rows that the recording has, and a note where a channel's rate is of no use."""
    signal, plans, notes = profile.signal, [], []
    for name, pick in choose_channels(recording.ch_names, recording.sensor_types, signal).items():
        row, rate = signal.ch_names.index(name), recording.sfreqs[pick]
        band = sensor_band(signal.sensor_types[row], native_sfreq=rate, sfreq=signal.sfreq)
        if band is None or max(resampling_ratio(rate, signal.sfreq)) > _LARGEST_RATIO:
            notes.append(f"unusable_rate_{name}")
            continue
        plans.append(
            SensorPlan(
                row=row, pick=pick, sensor_type=signal.sensor_types[row], native_sfreq=rate, band=band,
                offset=channel_offsets(look_over(recording, (pick,)))[0],
            )
        )  # fmt: skip
    return tuple(plans), tuple(notes)


@dataclass(frozen=True, kw_only=True)
class _Electrodes:
    """The channels of a recording that are electrodes of one rate, and what becomes of them."""

    picks: tuple[int, ...]
    derivations: tuple[Derivation, ...]
    native_sfreq: float
    ch_state: np.ndarray
    """States of the modality's channels that these electrodes would give."""
    notes: tuple[str, ...]


def _electrodes(recording: Recording, profile: Profile) -> _Electrodes:
    """Return the electrodes at the rate that most of them have; raises UnreadableError where they do not do."""
    system = system_of(profile.signal)
    found = system.find(recording.ch_names, recording.sensor_types)
    if not found.picks:
        raise UnreadableError(
            system.no_channels, f"no {system.name} among {list(recording.ch_names)[:8]}{hint(recording.ch_names)}"
        )
    rates = Counter(recording.sfreqs[pick] for pick in found.picks)
    native_sfreq = max(rates, key=lambda rate: (rates[rate], rate))
    _check_rate(native_sfreq, profile, system)
    kept = [i for i, pick in enumerate(found.picks) if recording.sfreqs[pick] == native_sfreq]
    derivations = tuple(found.derivations[i] for i in kept)
    fit = _harmoniser(derivations, profile, {})
    n_measured = int((fit.ch_state == MEASURED).sum())
    if n_measured < profile.min_measured:
        reason = (
            "bipolar_montage" if fit.apart or (not n_measured and has_no_potential(derivations)) else "too_few_channels"
        )
        raise UnreadableError(
            reason,
            f"{n_measured} measured, the profile needs {profile.min_measured}; "
            + system.shortfall(derivations, fit, profile.signal.primary),
        )
    return _Electrodes(
        picks=tuple(found.picks[i] for i in kept),
        derivations=derivations,
        native_sfreq=native_sfreq,
        ch_state=fit.ch_state,
        notes=("mixed_rates",) * (len(rates) > 1) + system.notes(derivations) + fit.notes,
    )


def _without_bad(
    recording: Recording, electrodes: _Electrodes, profile: Profile
) -> tuple[tuple[int, ...], tuple[Derivation, ...], tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return picks and derivations without the bad electrodes, those with their reasons, and a note.

    They stay where the recording would not be one without them.
    """
    picks, derivations = electrodes.picks, electrodes.derivations
    groups = reference_groups(derivations) if profile.repair_bad_channels else []
    bad: dict[str, str] = {}
    for rows in groups:
        names = [derivations[row].anode for row in rows]
        judged = bad_channels(
            look_at(recording, [picks[row] for row in rows]),
            electrodes.native_sfreq,
            positions=electrode_positions(names),
        )
        bad |= {names[i]: "+".join(reasons) for i, reasons in judged.items()}
    if not bad:
        return picks, derivations, (), ()
    good = [i for i, derivation in enumerate(derivations) if not {derivation.anode, derivation.against} & bad.keys()]
    fewer = _harmoniser(tuple(derivations[i] for i in good), profile, bad)
    if not _repairable(fewer.ch_state, electrodes.ch_state, sum(map(len, groups)) - len(bad), profile):
        return picks, derivations, tuple(bad.items()), ("bad_channels_kept",)
    picks, derivations = tuple(picks[i] for i in good), tuple(derivations[i] for i in good)
    return picks, derivations, tuple(bad.items()), ("bad_channels_repaired",)


def _harmoniser(derivations: tuple[Derivation, ...], profile: Profile, bad: Mapping[str, str]) -> Harmoniser:
    """Return the map of these channels; raises UnreadableError where `bad` electrodes leave the reference undefined."""
    try:
        return system_of(profile.signal).harmoniser(derivations, profile.signal.primary, profile.reference)
    except UndefinedReferenceError as error:
        named = ", ".join(f"{name} is {reasons}" for name, reasons in bad.items())
        raise UnreadableError("undefined_reference", f"{profile.reference}: {named or error}") from error


def _with_live(recording: Recording, electrodes: _Electrodes, profile: Profile) -> _Electrodes:
    """Return the electrodes without flat ones that would pass for measured: those of the profile's reference, which
    would be a perfect one, and leads that were not connected, unless all are flat."""
    names = {name for names in REFERENCE_ELECTRODES.get(profile.reference, ()) for name in names}
    if system_of(profile.signal).flat_is_absent:
        names |= {derivation.anode for derivation in electrodes.derivations}
    groups = reference_groups(electrodes.derivations)
    rows = [i for group in groups for i in group if electrodes.derivations[i].anode in names]
    if not rows:
        return electrodes
    look = look_at(recording, [electrodes.picks[i] for i in rows])
    flat = flat_electrodes([in_microvolts(x, profile.signal.kind) for x in look], electrodes.native_sfreq)
    bad = {electrodes.derivations[i].anode: "flat" for i, is_flat in zip(rows, flat, strict=True) if is_flat}
    good = [i for i, derivation in enumerate(electrodes.derivations) if derivation.anode not in bad]
    if not bad or not good:
        return electrodes
    derivations = tuple(electrodes.derivations[i] for i in good)
    fit = _harmoniser(derivations, profile, bad)
    return replace(
        electrodes,
        picks=tuple(electrodes.picks[i] for i in good),
        derivations=derivations,
        notes=(*electrodes.notes, *system_of(profile.signal).flat_notes),
        ch_state=fit.ch_state,
    )


def _repairable(after: np.ndarray, before: np.ndarray, n_good: int, profile: Profile) -> bool:
    """Return whether the recording is still one without its bad electrodes.

    At least `MIN_FOR_SPLINES` electrodes must be left, and enough of the channels measured for the profile. A bad
    channel that the others cannot predict (`signals.montage.splines.LARGEST_ERROR`) is then absent.
    """
    enough = int((after == MEASURED).sum()) >= max(profile.min_measured, int((before == MEASURED).sum()) // 2)
    return n_good >= MIN_FOR_SPLINES and enough


def _with_removal(recording: Recording, plan: RecordingPlan) -> RecordingPlan:
    """Return the plan with the components to remove, and notes of their kinds."""
    h_freq = min(FIT_BAND[1], GUARD * plan.native_sfreq)
    x = _excerpt(recording, replace(plan, band=(plan.band[0], max(h_freq, plan.band[1]))))
    signal = plan.profile.signal
    removal = find_removal(x, signal.sfreq, ch_names=signal.primary.ch_names, band=plan.band, h_freq=h_freq)
    return replace(plan, removal=removal, notes=plan.notes + (("ica_skipped",) if removal is None else removal.notes))


def _excerpt(recording: Recording, plan: RecordingPlan) -> np.ndarray:
    """Return pieces spread evenly over a recording, conditioned, joined, shape (n_chans, n_times)."""
    conditioner, sfreq = plan.conditioner, plan.profile.signal.sfreq
    lengths = [conditioner.n_times(recording.n_times(plan.picks[0], s)) for s in range(len(recording.segments))]
    n_pieces, n_piece = _EXCERPT[0], round(_EXCERPT[1] * sfreq)
    if sum(lengths) <= n_pieces * n_piece:
        ranges = [(segment, 0, length) for segment, length in enumerate(lengths) if length > 0]
    else:
        ranges = spread(lengths, n_pieces, n_piece)
    pieces = []
    for segment, start, stop in ranges:
        native = read_native(recording, plan.used_picks, conditioner, segment=segment, start=start, stop=stop)
        pieces.append(conditioner.condition(native, start, stop).x)
    return np.concatenate(pieces, axis=1)


def too_short(longest_s: float, profile: Profile) -> UnreadableError:
    """Return the refusal of a recording without room for a window, or for what a label speaks of."""
    detail = f"{longest_s:.1f} s without a gap, a window takes {profile.window_s:g} s"
    if profile.label_span_s is not None:
        detail += f", a labelled one {profile.label_span_s[1] - profile.label_span_s[0]:g} s"
    return UnreadableError("too_short", detail)


def _check_rate(native_sfreq: float, profile: Profile, system: ElectrodeSystem) -> None:
    low, high = system.usable_hz
    if not low <= native_sfreq <= high:
        raise UnreadableError("unusable_rate", f"{native_sfreq:g} Hz, {system.signal} has {low:g} to {high:g} Hz")
    if max(resampling_ratio(native_sfreq, profile.signal.sfreq)) > _LARGEST_RATIO:
        raise UnreadableError(
            "unusable_rate",
            f"{native_sfreq:.9g} Hz to {profile.signal.sfreq:g} Hz is no ratio of whole numbers below {_LARGEST_RATIO}",
        )
