"""Generated electrocardiograms as WFDB records, written by the wfdb library."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from signals.modality import ECG_12
from synthetic.heart.leads import HeartRecord, NoiseLevels, generate, lead_rows
from synthetic.heart.person import CONDITIONS

SITES: dict[str, tuple[float, float, NoiseLevels]] = {
    "basel": (500.0, 1000.0, NoiseLevels()),
    "lagos": (257.0, 200.0, NoiseLevels(wander=0.2, mains=0.02, muscle=0.015)),
    "quito": (1000.0, 2000.0, NoiseLevels(mains=0.03, mains_hz=60.0)),
    "osaka": (250.0, 500.0, NoiseLevels(wander=0.04, muscle=0.02, mains_hz=60.0)),
}
"""Sampling rate, steps per mV and noise of each site."""


def write_record(
    path: Path, x_mv: np.ndarray, *, sfreq: float, ch_names: Sequence[str] = ECG_12.ch_names, unit: str = "mV",
    gain: float = 1000.0, statements: Sequence[str] = (), age: int | None = None, fmt: str = "16",
) -> Path:  # fmt: skip
    """Write a header (path, .hea) and its samples (.dat); `gain` is steps per unit. Returns the header's path."""
    import wfdb

    path.parent.mkdir(parents=True, exist_ok=True)
    comments = ([f"Age: {age}"] if age is not None else []) + ([f"Dx: {','.join(statements)}"] if statements else [])
    n_chans = len(ch_names)
    wfdb.wrsamp(
        path.stem, fs=sfreq, units=[unit] * n_chans, sig_name=list(ch_names), p_signal=np.asarray(x_mv).T,
        fmt=[fmt] * n_chans, adc_gain=[gain] * n_chans, baseline=[0] * n_chans, comments=comments,
        write_dir=str(path.parent),
    )  # fmt: skip
    return path


def write_corpus(
    root: Path, *, n_people: int, seed: int, sites: Sequence[str] = tuple(SITES), conditions: Sequence[str] = (),
    leads: Sequence[str] = ECG_12.ch_names,
) -> dict[Path, HeartRecord]:  # fmt: skip
    """Write `n_people` recordings a site, conditions in turn, as folders of WFDB records; return them by header."""
    rng, written = np.random.default_rng(seed), {}
    kinds = tuple(conditions) or tuple(CONDITIONS)
    for site in sites:
        sfreq, gain, noise = SITES[site]
        for number in range(n_people):
            record = generate(rng, kinds[number % len(kinds)], sfreq=sfreq, noise=noise)
            path = write_record(
                root / site / f"{site}{number:04d}.hea", record.x_mv[lead_rows(leads)], sfreq=sfreq, ch_names=leads,
                gain=gain, statements=record.statements, age=int(rng.integers(20, 90)),
            )  # fmt: skip
            written[path] = record
    return written
