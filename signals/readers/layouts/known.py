"""The layouts that this package knows: of public collections, and of headsets whose column names make them certain."""

from collections.abc import Sequence

from signals.modality import EEG_1020
from signals.readers.layouts.layout import Layout

_EMOTIV = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
_MUSE = ("TP9", "AF7", "AF8", "TP10")
_RATE_NAMES = "Fs|fs|srate|sfreq"


def openbci_layout(name: str, electrodes: Sequence[str], *, sfreq: float = 250.0) -> Layout:
    """Return the layout of OpenBCI GUI logs with electrode k at "EXG Channel k"."""
    return Layout(
        name=name, formats=("csv",), ch_names=tuple(electrodes), sfreq=sfreq, unit="µV",
        columns=tuple(f"EXG Channel {k}" for k in range(len(electrodes))), signature=("Sample Index",),
        counter=("Sample Index", 256), notes=("dc_offset",),
    )  # fmt: skip


def openbci_old_layout(name: str, electrodes: Sequence[str], *, sfreq: float = 250.0) -> Layout:
    """Return the layout of OpenBCI logs of 2014 to 2016, without a header line: a counter, then a column a channel."""
    return Layout(
        name=name, formats=("csv",), ch_names=tuple(electrodes), sfreq=sfreq, unit="µV",
        columns=tuple(f"#{k + 2}" for k in range(len(electrodes))), counter=("#1", 256), notes=("dc_offset",),
    )  # fmt: skip


LAYOUTS: tuple[Layout, ...] = (
    # Segments of IIIC/SPaRCNet (Jing et al., Neurology 2023): rows in the order of the HMS competition, EKG last.
    Layout(
        name="iiic-sparcnet", formats=("mat", "h5"), variable=r"seg(_\d+ ?s(ec)?)?|data",
        ch_names=(*EEG_1020.ch_names, "EKG"), sfreq=200.0, sfreq_from=_RATE_NAMES, unit="µV", time_axis=1,
    ),
    # HMS - Harmful Brain Activity Classification, Kaggle 2024 (Jing et al.): train_eegs/ and test_eegs/.
    Layout(name="hms", formats=("parquet",), ch_names=EEG_1020.ch_names, optional=("EKG",), sfreq=200.0, unit="µV"),
    # Emotiv EPOC as in van Hees et al., Zenodo 2018: about 4200 µV of offset stay in (the high-pass takes them out);
    # the packet counter runs from 0 to 128.
    Layout(
        name="emotiv-epoc", formats=("csv",), ch_names=_EMOTIV, sfreq=128.0, unit="µV",
        signature=("COUNTER", "CQ_AF3"), counter=("COUNTER", 129), notes=("dc_offset",),
    ),
    # Muse 2 and S through the app Mind Monitor, constant recording; rows of blinks and jaw clenches hold no samples.
    Layout(
        name="mind-monitor", formats=("csv",), ch_names=_MUSE, columns=tuple(f"RAW_{name}" for name in _MUSE),
        sfreq=256.0, unit="µV", signature=("TimeStamp",), clock="TimeStamp", drop_empty_rows=True, reference="Fpz",
        notes=("dc_offset",),
    ),
    # Muse through muse-lsl (Barachant et al.), `muselsl record`.
    Layout(
        name="muse-lsl", formats=("csv",), ch_names=_MUSE, sfreq=256.0, unit="µV", signature=("timestamps",),
        clock="timestamps", reference="Fpz",
    ),
    # Neurosity Notion 1 and 2: eight electrodes at 250 Hz, a column of milliseconds.
    Layout(
        name="notion", formats=("csv",), ch_names=("CP6", "F6", "C4", "CP4", "CP3", "F5", "C3", "CP5"), sfreq=250.0,
        unit="µV", signature=("timestamp",), clock="timestamp",
    ),
)  # fmt: skip
