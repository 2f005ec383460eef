"""Windows of two synthetic hospitals, as the bench of the review queue takes them: pattern features, class, patient.

A reader is fitted on the first hospital. The new one has weaker and slower patterns; its pool holds seven windows in
ten without any, as recordings do. Balanced accuracy does not depend on how many windows a class has, so that the
held-out patients give each class about as many, which takes a third of the windows for the same precision.
"""

import hashlib
import inspect
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np

from signals.files import atomic_file
from signals.modality import EEG_1020
from signals.patterns import features, periodicity
from signals.patterns.features import pattern_features
from signals.tasks import SIX_CLASS
from synthetic.segments.clinical import segment
from synthetic.subject.subjects import Subject, draw_subject

SFREQ, WINDOW_S = 256.0, 30.0
"""Pattern features are defined from 30 s on."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of a hospital."""

    x: np.ndarray
    """Pattern features, float32, shape (n, n_features)."""
    y: np.ndarray
    """Number of the class, shape (n,)."""
    patient: np.ndarray
    """Number of the patient, ascending, shape (n,)."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many patients and windows there are."""

    patients: int = 40
    """Of the pool; half as many are known from the first hospital, a quarter more are held out."""
    windows: int = 8
    """Per patient of the pool."""
    known_windows: int = 5
    test_windows: int = 3


@dataclass(frozen=True, kw_only=True)
class Hospitals:
    """What a reader is fitted on, what it may ask labels of, what it is evaluated on."""

    first: Windows
    pool: Windows
    test: Windows


def hospitals(seed: int, sizes: Sizes, *, keep: Path | None = None) -> Hospitals:
    """Return the hospitals of a seed; `keep`: a folder for their features, which take a minute or so to compute."""
    code = "".join(inspect.getsource(module) for module in (features, periodicity))
    path = keep and keep / f"{seed}-{hashlib.sha256(f'{astuple(sizes)}{code}'.encode()).hexdigest()[:12]}.npz"
    if path and path.is_file():
        with np.load(path, allow_pickle=False) as held:
            return Hospitals(**{
                part.name: Windows(**{each.name: held[f"{part.name}.{each.name}"] for each in fields(Windows)})
                for part in fields(Hospitals)
            })  # fmt: skip
    rng, n = np.random.default_rng(seed), sizes.patients
    made = Hospitals(
        first=hospital(rng, n // 2, sizes.known_windows, is_new=False, other_share=0.7),
        pool=hospital(rng, n, sizes.windows, is_new=True, other_share=0.7),
        test=hospital(rng, n + n // 4, sizes.test_windows, is_new=True, other_share=1 / 6),
    )
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            np.savez(file, **{
                f"{part.name}.{each.name}": getattr(getattr(made, part.name), each.name)
                for part in fields(Hospitals) for each in fields(Windows)
            })  # fmt: skip
    return made


def hospital(rng: np.random.Generator, n_patients: int, n_windows: int, *, is_new: bool, other_share: float) -> Windows:
    """Return windows of a hospital's patients, each with one pattern of their own beside windows without any."""
    rows, labels, patients = [], [], []
    for patient in range(n_patients):
        subject = _as_new(draw_subject(rng)) if is_new else draw_subject(rng)
        own = SIX_CLASS.classes[int(rng.integers(5))]
        for _ in range(n_windows):
            label = "Other" if rng.random() < other_share else own
            made = segment(rng, label=label, duration_s=WINDOW_S, sfreq=SFREQ, ch_names=EEG_1020.ch_names,
                           subject=subject)  # fmt: skip
            rows.append(np.array(list(pattern_features(made.data, SFREQ).values()), dtype=np.float32))
            labels.append(SIX_CLASS.classes.index(label))
            patients.append(patient)
    return Windows(x=np.array(rows), y=np.array(labels), patient=np.array(patients))


def _as_new(subject: Subject) -> Subject:
    return replace(
        subject, prominence=0.7 * subject.prominence, rate_hz=0.75 * subject.rate_hz, slowing=1.4 * subject.slowing,
        background_uv=1.3 * subject.background_uv,
    )  # fmt: skip
