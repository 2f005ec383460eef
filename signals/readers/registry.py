"""Which reader opens which file: by content where a format has a signature, else by name."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from signals.readers.bids import with_sidecars
from signals.readers.declaration import NOTHING_DECLARED, Declaration
from signals.readers.disclosure import disclose, hide_names
from signals.readers.edf.edf import open_edf, reopen_edf
from signals.readers.edf.edf_header import BDF_MAGIC, EDF_MAGIC
from signals.readers.formats.egi_raw import is_egi_raw, open_egi_raw
from signals.readers.formats.micromed import MICROMED_MAGIC, open_micromed
from signals.readers.formats.mne_formats import (
    GDF_MAGIC,
    curry_files,
    is_ant,
    mff_files,
    open_ant,
    open_curry,
    open_gdf,
    open_mff,
)
from signals.readers.formats.neuroscan import NEUROSCAN_MAGIC, open_neuroscan
from signals.readers.formats.nicolet import NICOLET_MAGIC, nicolet_files, open_nicolet
from signals.readers.formats.nihon_kohden import is_nihon_kohden, nihon_kohden_files, open_nihon_kohden
from signals.readers.formats.openvibe import OPENVIBE_MAGIC, open_openvibe
from signals.readers.formats.persyst import PERSYST_MAGIC, open_persyst, persyst_files
from signals.readers.formats.wfdb_records import WFDB_MAGIC, open_wfdb, wfdb_files
from signals.readers.formats.xdf import XDF_MAGIC, open_xdf
from signals.readers.isolated import open_isolated, open_probed, reopen_probed
from signals.readers.isolation import as_unreadable
from signals.readers.layouts.arrays import open_arrays
from signals.readers.layouts.delimited import OPENBCI_MAGIC, open_delimited
from signals.readers.layouts.parquet import PARQUET_MAGIC, open_parquet
from signals.readers.remote import TransferError, local_copy, through_mirror
from signals.readers.research.brainvision import BRAINVISION_MAGIC, brainvision_files, open_brainvision
from signals.readers.research.eeglab import eeglab_files, open_eeglab
from signals.readers.research.fif import FIF_MAGIC, fif_files, open_fif, reopen_fif
from signals.recording.details import Details
from signals.recording.recording import Recording, RecordingHeader, UnreadableError

logger = logging.getLogger(__name__)

LFS_POINTER = b"version https://git-lfs"
_SIDE_SUFFIXES = {
    ".eeg": ".vhdr", ".vmrk": ".vhdr", ".fdt": ".set", ".dat": ".lay, .hea or .dap", ".data": ".head", ".rs3": ".dap",
    ".dpa": ".cdt", ".dpo": ".cdt", ".cef": ".cdt or .dap", ".ceo": ".cdt or .dap", ".21e": ".EEG", ".pnt": ".EEG",
    ".log": ".EEG",
}  # fmt: skip
UNSUPPORTED = {
    ".cnt": "neither Neuroscan nor ANT by its first bytes; export as EDF or BrainVision",
    ".wav": "sound without channel names; take the EDF that it was made from",
    ".txt": "text without a declared form; see docs/readers.md",
}
"""Endings that recordings have and no reader takes, with what to do."""
_LOOSE_NAMES = {"openbci", "nihon-kohden"}
"""Readers whose suffix promises nothing: any text may be .txt, and BrainVision's samples are .eeg too."""
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
    open: Callable[..., Recording]
    """Takes the path and, where `by_layout`, the layouts that a site declares."""
    files: Callable[[Path], tuple[Path, ...]] = _only
    """All files that a recording consists of."""
    by_content: bool = True
    """Whether the signature alone is enough, whatever the file's name."""
    by_layout: bool = False
    """Whether the format says nothing of electrodes, and a layout must."""
    reopen: Callable[..., Recording] | None = None
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
        files=eeglab_files, by_content=False, reopen=lambda path, _: open_eeglab(path, is_known=True),
    ),
    Reader(
        name="mat", suffixes=(".mat",), has_signature=lambda b: b.startswith(_MATLAB_MAGICS), open=open_arrays,
        by_layout=True, by_content=False,
        reopen=lambda path, _, declared=(): open_arrays(path, declared, is_known=True),
    ),
    Reader(name="h5", suffixes=(".h5", ".hdf5"), has_signature=lambda b: b.startswith(b"\x89HDF"), open=open_arrays,
           by_layout=True, by_content=False),
    Reader(name="npz", suffixes=(".npz",), has_signature=lambda b: b.startswith(b"PK"), open=open_arrays,
           by_layout=True, by_content=False),
    Reader(name="npy", suffixes=(".npy",), has_signature=lambda b: b.startswith(b"\x93NUMPY"), open=open_arrays,
           by_layout=True, by_content=False),
    Reader(name="csv", suffixes=(".csv",), has_signature=lambda b: b"\x00" not in b, open=open_delimited,
           by_layout=True, by_content=False),
    Reader(name="csv.gz", suffixes=(".csv.gz",), has_signature=lambda b: b.startswith(b"\x1f\x8b"),
           open=open_delimited, by_layout=True, by_content=False),
    Reader(name="openbci", suffixes=(".txt",), has_signature=lambda b: b.startswith(OPENBCI_MAGIC),
           open=open_delimited, by_layout=True, by_content=False),
    Reader(name="parquet", suffixes=(".parquet",), has_signature=lambda b: b.startswith(PARQUET_MAGIC),
           open=open_parquet, by_layout=True),
    Reader(name="nihon-kohden", suffixes=(".eeg",), has_signature=is_nihon_kohden, files=nihon_kohden_files,
           open=partial(open_isolated, open_nihon_kohden)),
    Reader(name="persyst", suffixes=(".lay",), has_signature=lambda b: bool(PERSYST_MAGIC.match(b)),
           files=persyst_files, open=open_persyst),
    Reader(name="nicolet", suffixes=(".head",), has_signature=lambda b: bool(NICOLET_MAGIC.match(b)),
           files=nicolet_files, open=open_nicolet, by_content=False),
    Reader(name="neuroscan", suffixes=(".cnt",), has_signature=lambda b: b.startswith(NEUROSCAN_MAGIC),
           open=partial(open_isolated, open_neuroscan)),
    Reader(name="ant", suffixes=(".cnt",), has_signature=is_ant, open=partial(open_isolated, open_ant)),
    Reader(name="gdf", suffixes=(".gdf",), has_signature=lambda b: b.startswith(GDF_MAGIC),
           open=partial(open_isolated, open_gdf)),
    Reader(name="curry", suffixes=(".cdt", ".dap"), has_signature=bool, files=curry_files, by_content=False,
           open=partial(open_isolated, open_curry)),
    Reader(name="egi-mff", suffixes=(".mff",), has_signature=lambda b: False, files=mff_files, by_content=False,
           open=partial(open_isolated, open_mff)),
    Reader(name="egi-raw", suffixes=(".raw",), has_signature=is_egi_raw, open=open_egi_raw, by_content=False),
    Reader(name="xdf", suffixes=(".xdf", ".xdfz"), has_signature=lambda b: b.startswith((XDF_MAGIC, b"\x1f\x8b")),
           open=partial(open_isolated, open_xdf), by_content=False),
    Reader(name="openvibe", suffixes=(".ov",), has_signature=lambda b: b.startswith(OPENVIBE_MAGIC), open=open_openvibe,
           by_content=False),
    Reader(name="micromed", suffixes=(".trc",), has_signature=lambda b: b.startswith(MICROMED_MAGIC),
           open=partial(open_isolated, open_micromed)),
    Reader(name="wfdb", suffixes=(".hea",), has_signature=lambda b: bool(WFDB_MAGIC.match(b)), files=wfdb_files,
           open=partial(open_probed, open_wfdb), reopen=lambda path, _: reopen_probed(open_wfdb, path),
           by_content=False),
)  # fmt: skip

READERS: dict[str, Reader] = {reader.name: reader for reader in _READERS}
"""All formats by name."""


def open_recording(uri: str, *, declared: Declaration = NOTHING_DECLARED, keep: Sequence[str] = ()) -> Recording:
    """Return the recording at a local path or URI: its header, and samples by range.

    `declared` is what the site's card holds of its files; of `Recording.details` only what `keep` names
    (`signals.recording.details.KEEPABLE`) is there, nothing by default. Raises only UnreadableError, with a code of
    READ_REASONS; what a library raises becomes "reader_crashed" with the error's type and message. A signature that
    contradicts the name is followed, with the note "name_disagrees".
    """
    Details().kept(keep)  # a wrong name is the caller's fault, not the file's
    return _open(uri, None, declared, keep)


def reopen_recording(uri: str, header: RecordingHeader, *, declared: Declaration = NOTHING_DECLARED) -> Recording:
    """Return a recording that `open_recording` has accepted before, from the header that it gave.

    Samples are the same; annotations may be left out, since reading them takes a look at every data record. Libraries
    that can crash are called in this process. Raises as `open_recording`, and UnreadableError "corrupt_header" for a
    file whose size has changed.
    """
    return _open(uri, header, declared)


def _open(uri: str, known: RecordingHeader | None, declared: Declaration, keep: Sequence[str] = ()) -> Recording:
    try:
        with local_copy(uri, again=known is not None) as path:
            reader, n_bytes = find_reader(path), path.stat().st_size
            if known is not None and known.n_bytes != n_bytes:
                raise UnreadableError(
                    "corrupt_header", f"the file had {known.n_bytes} bytes, now it has {n_bytes}: plan it again"
                )
            layouts = (declared.layouts,) if reader.by_layout else ()
            if known is not None and reader.reopen:
                opened = reader.reopen(path, known, *layouts)
            else:
                opened = reader.open(path, *layouts)
            recording = declared.applied(through_mirror(with_sidecars(opened, path), uri))
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
    if path.is_dir() and path.suffix.lower() == ".mff":  # a recording that is a folder
        return READERS["egi-mff"]
    if not path.is_file():
        raise UnreadableError("unsupported_format", f"{path.name} is not a regular file")
    with path.open("rb") as file:
        head = file.read(256)
    name = path.name.lower()
    promised = next((reader for reader in _READERS if name.endswith(reader.suffixes)), None)
    if head.startswith(LFS_POINTER):
        raise UnreadableError("not_what_it_says", "a git-lfs pointer; run 'git lfs pull' where it came from")
    for reader in _READERS:
        if (reader.by_content or reader is promised) and reader.has_signature(head):
            return reader
    if promised is not None and promised.name not in _LOOSE_NAMES:
        what = "empty" if not head else "without its signature"
        raise UnreadableError("not_what_it_says", f"named as {promised.name}, but {what}")
    if path.suffix.lower() in _SIDE_SUFFIXES:
        raise UnreadableError("unsupported_format", f"a side file; open its {_SIDE_SUFFIXES[path.suffix.lower()]}")
    advice = UNSUPPORTED.get(path.suffix.lower())
    raise UnreadableError(
        "unsupported_format",
        f"no reader for {path.suffix or 'a file without suffix'}" + (f": {advice}" if advice else ""),
    )
