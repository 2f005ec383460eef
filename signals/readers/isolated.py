"""Recordings whose library runs in a process of its own, for the first look or for every read.

A reader of such a format is a plain function from a path to a `Recording`; what it returns may hold the library's
objects, for it never leaves the process that it was made in. Here is what carries its header and its samples over.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from signals.readers.isolation import as_unreadable, run_isolated
from signals.readers.matrix import measured
from signals.recording.recording import Recording, UnreadableError

Opener = Callable[[Path], Recording]

TIMEOUT_S = 60.0
"""For opening a file and for reading a range, beside a second per `_BYTES_PER_S` of the file."""
_BYTES_PER_S = 2e6
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def open_isolated(opener: Opener, path: Path) -> Recording:
    """Return `opener(path)` as it was opened in a process of its own, where all samples are read too.

    Raises UnreadableError: the opener's own, "missing_file" for a part that is not there, "reader_crashed" or
    "reader_timeout" where the library fails on the header, on a segment's first or on its last samples.
    """
    recording = run_isolated(_probe, opener, str(path), timeout_s=_timeout_s(path))
    return replace(recording, read_samples=partial(_read_far, opener, str(path), path.stat().st_mtime_ns))


def open_probed(opener: Opener, path: Path) -> Recording:
    """Return the same as `open_isolated`, but for samples, which are read in this process.

    For libraries that can fail on a file's structure, but not on what lies between its first and last samples.
    """
    recording = run_isolated(_probe, opener, str(path), timeout_s=_timeout_s(path))
    return replace(recording, read_samples=partial(_read_here, opener, str(path), path.stat().st_mtime_ns))


def reopen_probed(opener: Opener, path: Path) -> Recording:
    """Return the same as `open_probed` for a file that it has accepted before, without a process of its own."""
    mtime_ns = path.stat().st_mtime_ns
    return replace(_opened(opener, str(path), mtime_ns), read_samples=partial(_read_here, opener, str(path), mtime_ns))


def check_loadable(load: Callable[[str], object], path: Path) -> None:
    """Call `load(path)` in a process of its own and forget what it returns.

    For libraries that decode a file as a whole, and die over a damaged one: whoever has called this may let them do it
    in this process. Raises UnreadableError: `load`'s own, "reader_crashed" or "reader_timeout".
    """
    run_isolated(_loaded, load, str(path), timeout_s=_timeout_s(path))


def _loaded(load: Callable[[str], object], path: str) -> None:
    try:
        load(path)
    except Exception as error:
        raise _refusal(error) from error


def require(module: str, package: str, what: str) -> None:
    """Raise UnreadableError "missing_library" where a format's optional library is not installed."""
    if find_spec(module) is None:
        raise UnreadableError("missing_library", f"{what} needs {package}: pip install 'cerebeam[formats]'")


@lru_cache(maxsize=4)
def _opened(opener: Opener, path: str, mtime_ns: int) -> Recording:
    """Return what the opener gives, kept for the next range; `mtime_ns` keeps the cache honest."""
    return opener(Path(path))


def _probe(opener: Opener, path: str) -> Recording:
    """Return the header, after reading the first and last samples of the outer segments."""
    try:
        recording = _opened(opener, path, Path(path).stat().st_mtime_ns)
        for segment in sorted({0, len(recording.segments) - 1}):
            for sfreq in sorted(set(recording.sfreqs)):
                picks = [pick for pick, rate in enumerate(recording.sfreqs) if rate == sfreq]
                n_times = recording.n_times(picks[0], segment)
                for sample in {0, max(n_times - 1, 0)} if n_times else ():
                    _checked(recording, picks, segment, sample, sample + 1)
    except Exception as error:
        raise _refusal(error) from error
    return replace(recording, read_samples=_nothing)


def _nothing(picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
    raise RuntimeError("a recording's samples are read where it was opened")


def _checked(recording: Recording, picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
    if stop == start:
        return np.empty((len(picks), 0), dtype=np.float32)
    samples = recording.read_samples(picks, segment, start, stop)
    if samples.shape != (len(picks), stop - start):
        raise UnreadableError("corrupt_header", "the file ends before the samples that its header promises")
    return measured(samples)


def _read_child(
    opener: Opener, path: str, mtime_ns: int, picks: Sequence[int], segment: int, start: int, stop: int
) -> np.ndarray:
    try:
        return _checked(_opened(opener, path, mtime_ns), picks, segment, start, stop)
    except Exception as error:
        raise _refusal(error) from error


def _read_far(
    opener: Opener, path: str, mtime_ns: int, picks: Sequence[int], segment: int, start: int, stop: int
) -> np.ndarray:
    request = (opener, path, mtime_ns, list(picks), segment, start, stop)
    samples: np.ndarray = run_isolated(_read_child, *request, timeout_s=_timeout_s(Path(path)))
    return samples


def _read_here(
    opener: Opener, path: str, mtime_ns: int, picks: Sequence[int], segment: int, start: int, stop: int
) -> np.ndarray:
    return _checked(_opened(opener, path, mtime_ns), picks, segment, start, stop)


def _timeout_s(path: Path) -> float:
    return TIMEOUT_S + path.stat().st_size / _BYTES_PER_S


def _refusal(error: Exception) -> UnreadableError:
    """Return an error as a reason; what a library quotes of the file is taken out of its message."""
    if isinstance(error, UnreadableError):
        return error
    if isinstance(error, FileNotFoundError):
        return UnreadableError("missing_file", "a file that the header names is not beside it")
    bare = as_unreadable(error)
    return UnreadableError(bare.reason, _QUOTED.sub("(...)", bare.detail)[:300])
