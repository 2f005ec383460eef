"""A small shard set: windows of a few sites and subjects, written by the real record and manifest code."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from signals.description.features import features
from signals.modality import EEG_1020
from signals.shards.writer import write_set
from signals.spectrograms import regional
from signals.tasks import SIX_CLASS
from signals.window import INTERPOLATED, MEASURED, Provenance, Window
from signals.windows.profiles import SIX_CLASS as PROFILE
from signals.windows.surroundings import SPECTROGRAM_SHAPE, log_power

FREQS = {"Seizure": 4.0, "LPD": 1.0, "GPD": 1.5, "LRDA": 2.0, "GRDA": 2.5, "Other": 10.0}


def toy_window(
    rng: np.random.Generator,
    *,
    site: str,
    subject: str,
    number: int,
    label: str,
    window_s: float,
    spectrogram: bool = False,
) -> Window:
    """Return noise with a rhythm whose frequency, and side where lateralised, gives the class; average-referenced."""
    n_times = round(window_s * 256)
    times = np.arange(n_times) / 256
    sources = np.cumsum(rng.normal(size=(8, n_times)), axis=1)
    sources -= np.apply_along_axis(lambda s: np.convolve(s, np.ones(256) / 256, "same"), 1, sources)
    noise = rng.normal(size=(19, 8)) @ sources * 3
    gain = np.ones(19)
    if label.startswith("L"):
        gain = np.array([1.0 if position[0] < 0 else 0.2 for position in EEG_1020.positions])
    x = noise + 40 * gain[:, None] * np.sin(2 * np.pi * (FREQS[label] * times + rng.random()))
    x -= x.mean(axis=0)
    ch_state = np.full(19, MEASURED, dtype=np.uint8)
    ch_state[4] = INTERPOLATED if number % 2 else MEASURED
    votes = np.zeros(6)
    votes[SIX_CLASS.classes.index(label)] = 8
    votes[5] += 2
    return Window(
        data=x.astype(np.float32), ch_state=ch_state, artifact_mask=np.zeros((19, round(window_s)), dtype=np.uint16),
        quality=np.ones(19, dtype=np.float32), features=np.nan_to_num(features(x, 256.0)), modality=EEG_1020.name,
        sfreq=256.0, band=(0.5, 50.0), site_id=site, subject_id=subject, recording_id=f"rec-{subject}",
        start_s=float(number * window_s), label=label, votes=tuple(votes), label_span_s=None,
        provenance=Provenance(source_sha256="0" * 64, segment=0, start_sample=0, stop_sample=n_times, reader="toy",
                              config_hash=PROFILE.config_hash, code_version="toy"),
        spectrogram=_surroundings(x) if spectrogram else None,
    )  # fmt: skip


def _surroundings(x: np.ndarray) -> np.ndarray:
    """Return the spectrogram of a window that is all there is of its recording."""
    made = np.full(SPECTROGRAM_SHAPE, np.nan, dtype=np.float32)
    columns = log_power(regional(x, EEG_1020.ch_names, 256.0))
    first = (made.shape[-1] - columns.shape[-1]) // 2
    made[:, :, first : first + columns.shape[-1]] = columns
    return made


def write_toy_shards(
    folder: Path,
    *,
    n_sites: int = 3,
    n_subjects: int = 4,
    n_windows: int = 3,
    window_s: float = 10.0,
    votes: bool = True,
    spectrogram: bool = False,
    indexed: bool = True,
) -> Path:
    """Write n_sites x n_subjects x n_windows windows, one shard per subject, and return the folder.

    Without `indexed`, the set is as those were that knew no indexes.
    """
    labels = itertools.cycle(SIX_CLASS.classes)

    def windows(site_number: int, subject_number: int) -> Iterator[Window]:
        rng = np.random.default_rng((site_number, subject_number))
        site = f"site{site_number}"
        for number in range(n_windows):
            window = toy_window(
                rng, site=site, subject=f"{site}-s{subject_number}", number=number, label=next(labels),
                window_s=window_s, spectrogram=spectrogram,
            )  # fmt: skip
            yield window if votes else replace(window, votes=())

    sites = {f"site{site}": [windows(site, subject) for subject in range(n_subjects)] for site in range(n_sites)}
    write_set(folder, sites, profile=replace(PROFILE, spectrogram=spectrogram), indexed=indexed,
              label_source="synthetic")  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def toy_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 windows of 10 s: 3 sites, 4 subjects each."""
    return write_toy_shards(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def write_shards() -> Callable[..., Path]:
    """Return `write_toy_shards`."""
    return write_toy_shards


@pytest.fixture
def make_toy_shards(tmp_path: Path) -> Callable[..., Path]:
    """Write a shard set of another shape below tmp_path."""
    return lambda **shape: write_toy_shards(tmp_path / "-".join(f"{k}{v}" for k, v in shape.items()), **shape)


@pytest.fixture
def metrics_of() -> Callable[[Path], list[dict[str, float]]]:
    """Return the lines of a run's metrics.jsonl."""
    return lambda run: [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
