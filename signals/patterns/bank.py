"""A bank of simulated patterns with their truth, and held-out segments, as they are stored: one .npz file each.

`synthetic.bank` draws and writes them, training reads them. A pattern is a few traces, each with its map over the
electrodes: their products add up to samples. A folder holds patterns.npz (`Bank`) and segments.npz (`HeldOut`).

Shapes: E pattern, S segment, R trace, C electrode, T sample, V envelope, M event, K class of six.
"""

import hashlib
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from signals.files import atomic_file

SCHEMA_VERSION = 1
PATTERNS_FILE, SEGMENTS_FILE = "patterns.npz", "segments.npz"
ARTIFACTS = ("blink", "eye_movement", "muscle", "heartbeat", "drift")
"""Kinds of artifacts that a pattern may hold."""
BOTH, LEFT, RIGHT, NO_SIDE = 0, 1, 2, -1
"""Where a pattern lies; `NO_SIDE` where that is not known."""
MAX_TRACES = 8
"""Most traces of a pattern."""
A = TypeVar("A")


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Patterns with their truth. What is not known of a pattern is nan or, of whole numbers, -1."""

    sfreq: float
    ch_names: np.ndarray
    """Names, shape (C,)."""
    trace_RT: np.ndarray = field(repr=False)
    """int16."""
    map_RC: np.ndarray = field(repr=False)
    """float32; map times trace, summed over a pattern's traces, is what it adds, with a usual peak of 1 on the best
    electrode, or in the unit that `limits_E2` gives it."""
    trace_first_E: np.ndarray = field(repr=False)
    """int64, shape (E + 1,): a pattern's traces are those from its own number to the next one's."""
    envelope_VT: np.ndarray = field(repr=False)
    """float16: what backgrounds are multiplied by before a pattern is added."""
    envelope_E: np.ndarray = field(repr=False)
    """int64: a pattern's envelope, -1 for none."""
    variant_E: np.ndarray = field(repr=False)
    """Names of forms."""
    class_E: np.ndarray = field(repr=False)
    """int64: place among `signals.tasks.SIX_CLASS.classes`."""
    doubt_EK: np.ndarray = field(repr=False)
    """float32, sums to 1: which classes experts choose who do not choose its own."""
    clarity_E: np.ndarray = field(repr=False)
    """float32: how plain it is to see; nan where that follows from its prominence."""
    sure: np.ndarray
    """Share of experts for the class itself at clarity 0, and what clarity 1 adds; then the prominence under which
    nothing is seen, and how many times that makes it plain: shape (4,)."""
    prominence_E2: np.ndarray = field(repr=False)
    """float32: median of its peak over the background's RMS, and the spread in log units."""
    limits_E2: np.ndarray = field(repr=False)
    """float32: least and largest peak, µV."""
    span_E2: np.ndarray = field(repr=False)
    """float32: start and stop, seconds."""
    rate_E2: np.ndarray = field(repr=False)
    """float32: at the start and the end of the span, Hz."""
    bend_E: np.ndarray = field(repr=False)
    """float32: share of the span at which the rate is the geometric mean of both; log rates are lines in between."""
    side_E: np.ndarray = field(repr=False)
    """int64: BOTH, LEFT, RIGHT or NO_SIDE."""
    lag_E: np.ndarray = field(repr=False)
    """float32: how much later the other side, or the back, has it, seconds."""
    regularity_E: np.ndarray = field(repr=False)
    """float32: standard deviation over mean of the intervals between discharges."""
    evolves_E: np.ndarray = field(repr=False)
    """float32: 1 where it evolves as a seizure does, 0 where it does not."""
    train_E: np.ndarray = field(repr=False)
    """int64: 1 where its discharges follow each other at a rate, 0 where they do not or there are none, -1 where they
    are not known."""
    onset_s_M: np.ndarray = field(repr=False)
    """float32: peaks of discharges, seconds from the pattern's first sample."""
    onset_first_E: np.ndarray = field(repr=False)
    """int64, shape (E + 1,)."""
    artifact_M3: np.ndarray = field(repr=False)
    """float32: place in ARTIFACTS, onset, length in seconds."""
    artifact_first_E: np.ndarray = field(repr=False)
    """int64, shape (E + 1,)."""

    def __len__(self) -> int:
        """Return the number of patterns."""
        return len(self.class_E)

    @property
    def n_times(self) -> int:
        """Samples of a pattern."""
        return int(self.trace_RT.shape[1])

    def samples(self, number: int) -> np.ndarray:
        """Return what a pattern adds, float32, shape (C, T)."""
        rows = slice(*self.trace_first_E[number : number + 2])
        return np.asarray(self.map_RC[rows].T @ self.trace_RT[rows].astype(np.float32))

    def onsets(self, number: int) -> np.ndarray:
        """Return when a pattern's discharges peak, seconds, ascending."""
        return np.asarray(self.onset_s_M[slice(*self.onset_first_E[number : number + 2])])


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Labelled segments of families that no pattern of the bank comes from."""

    sfreq: float
    ch_names: np.ndarray
    data_SCT: np.ndarray = field(repr=False)
    """int16."""
    step_S: np.ndarray = field(repr=False)
    """float32: µV a unit."""
    family_S: np.ndarray = field(repr=False)
    variant_S: np.ndarray = field(repr=False)
    class_S: np.ndarray = field(repr=False)
    """int64."""
    votes_SK: np.ndarray = field(repr=False)
    """float32: counts of experts."""
    span_S2: np.ndarray = field(repr=False)
    rate_S2: np.ndarray = field(repr=False)
    train_S: np.ndarray = field(repr=False)
    """int64, as `Bank.train_E`."""
    onset_s_M: np.ndarray = field(repr=False)
    onset_first_S: np.ndarray = field(repr=False)
    """int64, shape (S + 1,)."""

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self.class_S)

    def onsets(self, number: int) -> np.ndarray:
        """Return when a segment's discharges peak, seconds, ascending."""
        return np.asarray(self.onset_s_M[slice(*self.onset_first_S[number : number + 2])])


def write_arrays(path: Path, stored: Any) -> str:
    """Write a `Bank` or `HeldOut`, whole or not at all, and return its digest; same content, same bytes."""
    arrays = {each.name: np.asarray(getattr(stored, each.name)) for each in fields(stored)}
    arrays["schema_version"] = np.asarray(SCHEMA_VERSION)
    digest = digest_of(arrays)
    with atomic_file(path) as file:
        np.savez(file, digest=np.asarray(digest), **arrays)  # type: ignore[arg-type]
    return digest


def read_arrays(path: Path, kind: type[A]) -> tuple[A, str]:
    """Return a stored `Bank` or `HeldOut`, and its digest.

    Raises FileNotFoundError where there is no such file, ValueError for what is none, was changed, or is of another
    schema version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: make a bank with cerebeam bank")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no bank ({error}): make one with cerebeam bank") from error
    digest = str(arrays.pop("digest", ""))
    if int(arrays.get("schema_version", -1)) != SCHEMA_VERSION:
        raise ValueError(f"{path} is no bank of schema {SCHEMA_VERSION}: make one with cerebeam bank")
    if digest != digest_of(arrays):
        raise ValueError(f"{path} was changed since it was written: make the bank again")
    del arrays["schema_version"]
    named = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    if named != set(arrays):
        raise ValueError(f"{path} holds no {kind.__name__}: {sorted(named ^ set(arrays))[0]} is missing or too many")
    return kind(**{name: value if value.ndim else value.item() for name, value in arrays.items()}), digest


def digest_of(arrays: dict[str, np.ndarray]) -> str:
    """Return the sha256 over names, types, shapes and bytes of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {value.dtype.str} {arrays[name].shape}\0".encode() + value.tobytes())
    return digest.hexdigest()
