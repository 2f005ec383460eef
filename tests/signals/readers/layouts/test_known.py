"""The layouts of public collections and headsets, field by field, as their sources describe them."""

import pytest

from signals.readers.layouts.known import LAYOUTS, openbci_layout, openbci_old_layout
from signals.readers.layouts.layout import Layout


def names(text):
    return tuple(text.split())


BY_NAME = {layout.name: layout for layout in LAYOUTS}
HMS = names("Fp1 F3 C3 P3 F7 T3 T5 O1 Fz Cz Pz Fp2 F4 C4 P4 F8 T4 T6 O2")
RATES = "Fs|fs|srate|sfreq"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        # Jing et al. 2023: the 19 electrodes in the order of the competition, the EKG last, 200 Hz.
        ("iiic-sparcnet", {"formats": ("mat", "h5"), "ch_names": (*HMS, "EKG"), "sfreq": 200.0, "sfreq_from": RATES,
                           "unit": "µV", "variable": r"seg(_\d+ ?s(ec)?)?|data", "time_axis": 1}),
        ("hms", {"formats": ("parquet",), "ch_names": HMS, "optional": ("EKG",), "sfreq": 200.0, "unit": "µV"}),
        # EPOC: the 14 sensors clockwise from the left forehead; packets are counted from 0 to 128.
        ("emotiv-epoc", {"formats": ("csv",), "sfreq": 128.0, "unit": "µV", "signature": ("COUNTER", "CQ_AF3"),
                         "counter": ("COUNTER", 129), "notes": ("dc_offset",),
                         "ch_names": names("AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4")}),
        ("mind-monitor", {"formats": ("csv",), "ch_names": ("TP9", "AF7", "AF8", "TP10"), "sfreq": 256.0, "unit": "µV",
                          "columns": ("RAW_TP9", "RAW_AF7", "RAW_AF8", "RAW_TP10"), "signature": ("TimeStamp",),
                          "clock": "TimeStamp", "drop_empty_rows": True, "reference": "Fpz", "notes": ("dc_offset",)}),
        ("muse-lsl", {"formats": ("csv",), "ch_names": ("TP9", "AF7", "AF8", "TP10"), "sfreq": 256.0, "unit": "µV",
                      "signature": ("timestamps",), "clock": "timestamps", "reference": "Fpz"}),
        ("notion", {"formats": ("csv",), "ch_names": names("CP6 F6 C4 CP4 CP3 F5 C3 CP5"), "sfreq": 250.0,
                    "unit": "µV", "signature": ("timestamp",), "clock": "timestamp"}),
    ],
)  # fmt: skip
def test_a_known_layout(name, fields):
    assert BY_NAME[name] == Layout(name=name, **fields)


def test_there_are_no_others():
    assert list(BY_NAME) == ["iiic-sparcnet", "hms", "emotiv-epoc", "mind-monitor", "muse-lsl", "notion"]


def test_logs_of_openbci():
    new = openbci_layout("lab", ["Fp1", "Fp2", "Cz"], sfreq=125.0)
    assert new == Layout(
        name="lab", formats=("csv",), ch_names=("Fp1", "Fp2", "Cz"), sfreq=125.0, unit="µV",
        columns=("EXG Channel 0", "EXG Channel 1", "EXG Channel 2"), signature=("Sample Index",),
        counter=("Sample Index", 256), notes=("dc_offset",),
    )  # fmt: skip
    old = openbci_old_layout("lab", ["Fp1", "Fp2"], sfreq=125.0)
    # Without a header line columns are counted from 1; the first is the counter.
    assert old == Layout(
        name="lab", formats=("csv",), ch_names=("Fp1", "Fp2"), sfreq=125.0, unit="µV",
        columns=("#2", "#3"), counter=("#1", 256), notes=("dc_offset",),
    )  # fmt: skip
    for make in (openbci_layout, openbci_old_layout):
        assert make("lab", ["Fp1"]).sfreq == 250.0
