"""A labelled shard set of generated electrocardiograms, prepared as the pipeline prepares files, without any."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from signals.modality import ECG_12
from signals.recording.recording import Recording, Segment
from signals.shards.manifest import Manifest
from signals.shards.writer import write_set
from signals.statements import label_of
from signals.window import Window
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import ECG_RHYTHM, Profile
from synthetic.heart.files import SITES
from synthetic.heart.leads import HeartRecord, generate
from synthetic.heart.person import CONDITIONS


def recording_of(record: HeartRecord, *, uri: str) -> Recording:
    """Return a generated record as a recording in memory, labelled as a file's header would label it."""
    x = record.x_mv.astype(np.float32)
    return Recording(
        uri=uri, reader="synthetic", ch_names=ECG_12.ch_names, sensor_types=ECG_12.sensor_types,
        sfreqs=(record.sfreq,) * len(x), segments=(Segment(0.0, x.shape[1] / record.sfreq),),
        read_samples=lambda picks, _, start, stop: x[list(picks), start:stop], label=label_of(record.statements),
    )  # fmt: skip


def write_hearts(
    folder: Path, *, n_people: int, seed: int, sites: Sequence[str] = tuple(SITES),
    conditions: Sequence[str] = tuple(CONDITIONS), profile: Profile = ECG_RHYTHM,
) -> Manifest:  # fmt: skip
    """Write `n_people` people a site, one window each, conditions in turn; return the manifest."""

    def windows(site: str) -> Iterator[Window]:
        sfreq, _, noise = SITES[site]
        for number in range(n_people):
            rng = np.random.default_rng((seed, tuple(SITES).index(site), number))
            record = generate(rng, conditions[number % len(conditions)], sfreq=sfreq, noise=noise)
            name = sha256(f"{seed}/{site}/{number}".encode()).hexdigest()
            recording = recording_of(record, uri=name)
            plan = plan_recording(recording, profile, site_id=site, subject_id=f"{site}-{name[:8]}", source_sha256=name)
            yield from prepare_recording(recording, plan)

    return write_set(folder, {site: [windows(site)] for site in sites}, profile=profile, label_source="synthetic")
