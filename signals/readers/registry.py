"""Which reader opens which file: by content where a format has a signature, else by name."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from signals.readers.bids import with_sidecars
from signals.readers.brainvision import BRAINVISION_MAGIC, brainvision_files, open_brainvision
from signals.readers.delimited import OPENBCI_MAGIC, open_delimited
from signals.readers.disclosure import disclose, hide_names
from signals.readers.edf import open_edf, reopen_edf
from signals.readers.edf_header import BDF_MAGIC, EDF_MAGIC
from signals.readers.eeglab import eeglab_files, open_eeglab
from signals.readers.fif import FIF_MAGIC, fif_files, open_fif, reopen_fif
from signals.readers.isolation import as_unreadable
from signals.readers.mat import open_mat
from signals.readers.parquet import PARQUET_MAGIC, open_parquet
from signals.readers.remote import TransferError, local_copy, through_mirror
from signals.recording.details import Details
from signals.recording.recording import Recording, RecordingHeader, UnreadableError

logger = logging.getLogger(__name__)

_LFS_POINTER = b"version https://git-lfs"
_SIDE_SUFFIXES = {".eeg": ".vhdr", ".vmrk": ".vhdr", ".fdt": ".set"}
_ADVICE = {
    ".raw": "EGI's simple binary form names no 10-20 electrodes; export as EDF or BrainVision",
    ".mff": "export as EDF or BrainVision",
    ".cnt": "export as EDF or BrainVision; readers of this form crash on real files",
    ".wav": "sound without channel names; take the EDF that it was made from",
    ".npz": "arrays without channel names and rate; write them as EDF",
    ".npy": "an array without channel names and rate; write it as EDF",
    ".txt": "text without a declared form; see docs/readers.md",
    ".gdf": "convert to EDF or BDF",
    ".xdf": "convert to EDF or BrainVision",
    ".hea": "WFDB records are not read yet; convert to EDF",
}
_MATLAB_MAGICS = (b"MATLAB ", b"\x89HDF")


def _only(path: Path) -> tuple[Path, ...]:
    return (path,)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A format: how it is recognised and opened."""

    name: str
    suffixes: tuple[str, ...]
    """Names that promise the format, lower case."""
    has_signature: Callable[[bytes], bool]
    """Whether a file's first bytes are of the format."""
    open: Callable[[Path], Recording]
    files: Callable[[Path], tuple[Path, ...]] = _only
    """All files that a recording consists of."""
    by_content: bool = True
    """Whether the signature alone is enough, whatever the file's name."""
    reopen: Callable[[Path, RecordingHeader], Recording] | None = None
    """A cheaper `open` for a file that was accepted before, without annotations; None where there is none."""


_READERS = (
    Reader(name="edf", suffixes=(".edf", ".rec"), has_signature=lambda b: b.startswith(EDF_MAGIC), open=open_edf,
           reopen=reopen_edf),
    Reader(name="bdf", suffixes=(".bdf",), has_signature=lambda b: b.startswith(BDF_MAGIC), open=open_edf,
           reopen=reopen_edf),
    Reader(
        name="brainvision", suffixes=(".vhdr", ".ahdr"), has_signature=lambda b: bool(BRAINVISION_MAGIC.match(b)),
        open=open_brainvision, files=brainvision_files,
    ),
    Reader(
        name="fif", suffixes=(".fif",), has_signature=lambda b: b.startswith(FIF_MAGIC), open=open_fif, files=fif_files,
        reopen=lambda path, _: reopen_fif(path),
    ),
    Reader(
        name="eeglab", suffixes=(".set",), has_signature=lambda b: b.startswith(_MATLAB_MAGICS), open=open_eeglab,
        files=eeglab_files, by_content=False,
    ),
    Reader(
        name="mat", suffixes=(".mat",), has_signature=lambda b: b.startswith(_MATLAB_MAGICS), open=open_mat,
        by_content=False,
    ),
    Reader(name="csv", suffixes=(".csv",), has_signature=lambda b: b"\x00" not in b, open=open_delimited,
           by_content=False),
    Reader(name="csv.gz", suffixes=(".csv.gz",), has_signature=lambda b: b.startswith(b"\x1f\x8b"),
           open=open_delimited, by_content=False),
    Reader(name="openbci", suffixes=(".txt",), has_signature=lambda b: b.startswith(OPENBCI_MAGIC),
           open=open_delimited, by_content=False),
    Reader(name="parquet", suffixes=(".parquet",), has_signature=lambda b: b.startswith(PARQUET_MAGIC),
           open=open_parquet),
)  # fmt: skip

READERS: dict[str, Reader] = {reader.name: reader for reader in _READERS}
"""All formats by name."""


def open_recording(uri: str, *, keep: Sequence[str] = ()) -> Recording:
    """Return the recording at a local path or URI: its header, and samples by range.

    Of `Recording.details` only what `keep` names (`signals.recording.details.KEEPABLE`) is there, nothing by default.
    Raises only UnreadableError, with a code of READ_REASONS; what a library raises becomes "reader_crashed" with the
    error's type and message. A signature that contradicts the name is followed, with the note "name_disagrees".
    """
    Details().kept(keep)  # a wrong name is the caller's fault, not the file's
    return _open(uri, None, keep)


def reopen_recording(uri: str, header: RecordingHeader) -> Recording:
    """Return a recording that `open_recording` has accepted before, from the header that it gave.

    Samples are the same; annotations may be left out, since reading them takes a look at every data record. Libraries
    that can crash are called in this process. Raises as `open_recording`, and UnreadableError "corrupt_header" for a
    file whose size has changed.
    """
    return _open(uri, header)


def _open(uri: str, known: RecordingHeader | None, keep: Sequence[str] = ()) -> Recording:
    try:
        with local_copy(uri, again=known is not None) as path:
            reader, n_bytes = find_reader(path), path.stat().st_size
            if known is not None and known.n_bytes != n_bytes:
                raise UnreadableError(
                    "corrupt_header", f"the file had {known.n_bytes} bytes, now it has {n_bytes}: plan it again"
                )
            opened = reader.reopen(path, known) if known is not None and reader.reopen else reader.open(path)
            recording = through_mirror(with_sidecars(opened, path), uri)
    except TransferError:
        raise
    except Exception as error:
        raise _as_refusal(error, uri) from None
    disagrees = not path.name.lower().endswith(reader.suffixes)
    notes = (*recording.notes, *(["name_disagrees"] * disagrees))
    return disclose(replace(recording, uri=uri, n_bytes=n_bytes, notes=notes), keep)


def _as_refusal(error: Exception, uri: str) -> UnreadableError:
    """Return the error as an UnreadableError that names no file: it goes to the quarantine, into reports and logs."""
    logger.debug("%s", uri, exc_info=error)
    return hide_names(as_unreadable(error), uri)


def source_files(path: Path | str) -> tuple[Path, ...]:
    """Return all files that a recording consists of, `path` first.

    Raises UnreadableError as `open_recording` does.
    """
    try:
        with local_copy(str(path)) as local:
            return find_reader(local).files(local)
    except TransferError:
        raise
    except Exception as error:
        raise _as_refusal(error, str(path)) from None


def find_reader(path: Path) -> Reader:
    """Return the reader of an existing file from its first bytes and its name.

    Raises UnreadableError: "missing_file", "not_what_it_says" or "unsupported_format".
    """
    if not path.exists():
        raise UnreadableError("missing_file", f"{path.name} does not exist")
    if not path.is_file():
        raise UnreadableError("unsupported_format", f"{path.name} is not a regular file")
    with path.open("rb") as file:
        head = file.read(256)
    name = path.name.lower()
    promised = next((reader for reader in _READERS if name.endswith(reader.suffixes)), None)
    if head.startswith(_LFS_POINTER):
        raise UnreadableError("not_what_it_says", "a git-lfs pointer; run 'git lfs pull' where it came from")
    for reader in _READERS:
        if (reader.by_content or reader is promised) and reader.has_signature(head):
            return reader
    if promised is not None and promised.name != "openbci":  # any text may be named .txt
        what = "empty" if not head else "without its signature"
        raise UnreadableError("not_what_it_says", f"named as {promised.name}, but {what}")
    if path.suffix.lower() in _SIDE_SUFFIXES:
        raise UnreadableError("unsupported_format", f"a side file; open its {_SIDE_SUFFIXES[path.suffix.lower()]}")
    advice = _ADVICE.get(path.suffix.lower())
    raise UnreadableError(
        "unsupported_format",
        f"no reader for {path.suffix or 'a file without suffix'}" + (f": {advice}" if advice else ""),
    )
