"""Synthetic recordings of a site as facts, week by week: clean ones, and ones in which one thing was changed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.drift.facts import RecordingFacts, facts_of_row
from signals.readers.memory import recording_of_array
from signals.windows.plan import RecordingPlan, plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import SIX_CLASS
from synthetic.recordings.recordings import record
from synthetic.recordings.sites import Site, electrode_of
from synthetic.subject.subjects import Subject, draw_subject

SITE = Site(
    site_id="north", file_format="edf", montage="old-19", sfreq=200, mains_hz=50, mains_uv=3.0, reference="average"
)
_LABELS = ("Other", "Other", "Other", "GPD", "LPD", "LRDA", "GRDA", "Seizure")


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is planted."""

    name: str
    fact: str
    """What the first fact that has drifted is expected to begin with; "" for any."""
    site: Site = SITE
    healthy: bool = False
    """People of an outpatient clinic in the place of an intensive care unit's."""


CLEAN = Change(name="clean", fact="")
PLANTED = (
    Change(name="gain", fact="log10_amplitude_uv", site=replace(SITE, gain=2.0)),
    Change(name="mains", fact="mains_hz", site=replace(SITE, mains_hz=60)),
    Change(name="montage", fact="n_channels", site=replace(SITE, missing=("F7", "F8", "T3", "T4"))),
    Change(name="rate", fact="rate_hz", site=replace(SITE, sfreq=256)),
    Change(name="population", fact="", healthy=True),
)


def facts(change: Change, *, family: int, n: int) -> list[RecordingFacts]:
    """Return the facts of `n` recordings of as many people; a family of seeds shares no person with another."""
    return [_one(change, family, number) for number in range(n)]


def _one(change: Change, family: int, number: int) -> RecordingFacts:
    rng = np.random.default_rng([family, number, sum(map(ord, change.name))])
    subject = draw_subject(rng)
    label = "Other" if change.healthy else _LABELS[int(rng.integers(len(_LABELS)))]
    made = record(rng, site=change.site, subject=_healthy(rng, subject) if change.healthy else subject, labels=[label])
    recording = recording_of_array(
        made.stretches[0], ch_names=[electrode_of(name) for name in change.site.ch_names], sfreq=change.site.sfreq
    )
    name = f"{change.name}-{family}-{number}"
    plan = plan_recording(
        recording, SIX_CLASS, site_id=SITE.site_id, subject_id=name, source_sha256=name.ljust(64, "0")
    )
    found = facts_of_row({"recording_id": name, **_row(plan)})
    (window,) = list(prepare_recording(recording, plan))[:1]
    return replace(
        found, vector=window.features.mean(axis=0).astype(np.float64),
        numbers=found.numbers | {"quality": float(np.nanmedian(window.quality))},
    )  # fmt: skip


def _row(plan: RecordingPlan) -> dict[str, object]:
    """Return a plan's facts as recordings.jsonl has them (`pipelines.stages.plan_files.Accepted`)."""
    return {
        "site_id": plan.site_id, "native_sfreq": plan.native_sfreq, "n_channels": len(plan.picks),
        "mains_hz": plan.mains_hz, "amplitude_uv": plan.amplitude_uv, "bad_channels": plan.bad_channels,
        "source_reference": plan.source_reference,
    }  # fmt: skip


def _healthy(rng: np.random.Generator, subject: Subject) -> Subject:
    """Return a person awake and well: no slowing, a strong alpha rhythm, as large as before."""
    return replace(
        subject, slowing=0.0, alpha_hz=float(rng.normal(10.0, 0.6)), alpha_uv=float(rng.uniform(20, 40)), beta=0.3,
        exponent=float(rng.normal(1.5, 0.2)),
    )  # fmt: skip


def drawn(
    rng: np.random.Generator, recordings: Sequence[RecordingFacts], n: int
) -> tuple[list[RecordingFacts], list[RecordingFacts]]:
    """Return `n` of the recordings, drawn without replacement, and the others."""
    order = rng.permutation(len(recordings))
    return [recordings[k] for k in order[:n]], [recordings[k] for k in order[n:]]
