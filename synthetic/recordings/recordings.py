"""A subject's recording at a site: segments joined, then referenced, amplified and disturbed as the site does."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from signals.window import MEASURED
from synthetic.recordings.sites import REFERENCES, Site, electrode_of
from synthetic.segments.clinical import segment
from synthetic.segments.segment import Segment
from synthetic.subject.artifacts import heart_wave
from synthetic.subject.subjects import Subject
from synthetic.subject.truth import Event, Truth

SEGMENT_S = 50.0
GAP_S = 12.0
"""Length of the gap in a discontinuous recording."""
_FADE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class SyntheticRecording:
    """A recording before it is written."""

    stretches: tuple[np.ndarray, ...] = field(repr=False)
    """Gap-free parts, µV, float32, shape (n_chans, n_times) each, channels in the order of `Site.ch_names`."""
    stretch_onsets_s: tuple[float, ...]
    """Onsets in recording time."""
    segment_onsets_s: tuple[float, ...]
    labels: tuple[str, ...]
    votes: tuple[tuple[int, ...], ...]
    truths: tuple[Truth, ...]
    """Events count from their own segment's onset."""


def record(rng: np.random.Generator, *, site: Site, subject: Subject, labels: Sequence[str]) -> SyntheticRecording:
    """Return a recording with one 50-s segment per label, in order; a site of "edf+d" pauses halfway."""
    segments = [_site_segment(rng, site, subject, label) for label in labels]
    half = (len(segments) + 1) // 2 if site.file_format == "edf+d" and len(segments) > 1 else len(segments)
    n_fade, onsets, stretches, stretch_onsets = int(_FADE_S * site.sfreq), [], [], []
    unevenness = rng.normal(site.gain, 0.02, len(site.ch_names))
    hum = rng.lognormal(np.log(site.mains_uv), 0.6, len(site.ch_names)) * rng.choice([-1, 1], len(site.ch_names))
    for first, part in ((0, segments[:half]), (half, segments[half:])):
        if not part:
            continue
        onset_s = first * SEGMENT_S + (GAP_S if first else 0.0)
        joined = join([s.data for s in part], n_fade)
        clean = joined * unevenness[:, None].astype(np.float32)
        stretches.append(clean + _amplifier(rng, site, hum, onset_s, joined.shape[1]))
        stretch_onsets.append(onset_s)
        onsets += [onset_s + i * SEGMENT_S for i in range(len(part))]
    _flatten(stretches, site, segments, half)
    return SyntheticRecording(
        stretches=tuple(stretches), stretch_onsets_s=tuple(stretch_onsets), segment_onsets_s=tuple(onsets),
        labels=tuple(labels), votes=tuple(s.votes for s in segments), truths=tuple(s.truth for s in segments),
    )  # fmt: skip


def _site_segment(rng: np.random.Generator, site: Site, subject: Subject, label: str) -> Segment:
    """Return a segment against the site's reference, a fade longer than SEGMENT_S, with the EKG last if it has one."""
    names = [electrode_of(name) for name in site.ch_names if name != "EKG"]
    extra = [name for name in REFERENCES[site.reference] if name not in names]
    ideal = segment(
        rng, label=label, duration_s=SEGMENT_S + _FADE_S, sfreq=site.sfreq, ch_names=[*names, *extra], subject=subject
    )
    picks = [[*names, *extra].index(name) for name in REFERENCES[site.reference]] or list(range(len(names)))
    data = ideal.data[: len(names)] - ideal.data[picks].mean(axis=0)
    if "EKG" in site.ch_names:
        data = np.vstack([data, ekg(rng, ideal.truth.of("heartbeat"), data.shape[1], site.sfreq)])
    return replace(ideal, data=data, ch_state=np.full(len(data), MEASURED, np.uint8))


def ekg(rng: np.random.Generator, beats: Sequence[Event], n_times: int, sfreq: float) -> np.ndarray:
    """Return the EKG channel, µV, shape (n_times,): about 1 mV high."""
    wave = 1000 * heart_wave(sfreq)
    trace = np.zeros(n_times + wave.size)
    for beat in beats:
        start = int((beat.onset_s - 0.1) * sfreq)
        trace[start : start + wave.size] += wave
    return (trace[:n_times] + rng.normal(0, 8, n_times)).astype(np.float32)


def join(parts: Sequence[np.ndarray], n_fade: int) -> np.ndarray:
    """Return parts one after the other, the end of each cross-faded into the next; the last part's extra end is cut."""
    rise = np.sin(np.linspace(0, np.pi / 2, n_fade, dtype=np.float32))
    joined = [part[:, :-n_fade].copy() for part in parts]
    for before, after in zip(parts[:-1], joined[1:], strict=True):
        after[:, :n_fade] = after[:, :n_fade] * rise + before[:, -n_fade:] * rise[::-1]
    return np.concatenate(joined, axis=1)


def _amplifier(rng: np.random.Generator, site: Site, hum_uv: np.ndarray, onset_s: float, n_times: int) -> np.ndarray:
    """Return mains hum with a third harmonic and white noise, µV, float32, shape (n_chans, n_times)."""
    turns = 2 * np.pi * site.mains_hz * (onset_s + np.arange(n_times) / site.sfreq)
    wave = np.sin(turns)
    if 3 * site.mains_hz < site.sfreq / 2:
        wave = wave + 0.2 * np.sin(3 * turns + 0.5)
    if site.mains_hz > 0.45 * site.sfreq:
        wave = 0.3 * wave  # the amplifier's own anti-aliasing filter
    noise = rng.standard_normal((hum_uv.size, n_times), dtype=np.float32)
    return np.float32(site.noise_uv) * noise + np.outer(hum_uv, wave).astype(np.float32)


def _flatten(stretches: list[np.ndarray], site: Site, segments: Sequence[Segment], half: int) -> None:
    """Set flat electrodes to 0 in place: an input shorted to the reference shows neither brain nor hum."""
    names = [electrode_of(name) for name in site.ch_names]
    for index, one in enumerate(segments):
        stretch, place = (stretches[0], index) if index < half else (stretches[1], index - half)
        for event in one.truth.of("flat"):
            start = place * SEGMENT_S + event.onset_s
            stop = min(start + event.duration_s, (place + 1) * SEGMENT_S)
            for name in set(event.ch_names) & set(names):
                stretch[names.index(name), int(start * site.sfreq) : int(stop * site.sfreq)] = 0.0
