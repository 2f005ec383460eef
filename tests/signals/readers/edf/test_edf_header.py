"""Headers byte by byte: what is taken from which field, and where a field counts as wrong."""

import math

import pytest

from signals.readers.edf.edf_header import decode, read_header
from signals.recording.recording import UnreadableError

SIGNALS = (
    ("Fp1", "uV", -100, 200, -1000, 2000, 4),
    ("Fp2", "mV", -1, 1, -10, 10, 2),
    ("EDF Annotations", "", -1, 1, -32768, 32767, 3),
)


def header(path, *, signals=SIGNALS, n_bytes=2 * 18, magic=b"0       ", **fields):
    """Write a header and so many bytes of samples; a record of SIGNALS has 9 samples, 18 bytes."""
    n = len(signals)
    fixed = {"patient": "P-1", "recording": "R", "date": "01.02.10", "time": "03.04.05", "header_bytes": 256 * (n + 1),
             "reserved": "EDF+C", "n_records": 2, "record_s": 1, "n_signals": n} | fields  # fmt: skip
    widths = {"patient": 80, "recording": 80, "date": 8, "time": 8, "header_bytes": 8, "reserved": 44, "n_records": 8,
              "record_s": 8, "n_signals": 4}  # fmt: skip
    octets = magic + b"".join(str(fixed[name]).encode("latin-1").ljust(width) for name, width in widths.items())
    columns = ((0, 16), (None, 80), (1, 8), (2, 8), (3, 8), (4, 8), (5, 8), (None, 80), (6, 8), (None, 32))
    for column, width in columns:
        octets += b"".join(str("" if column is None else s[column]).encode("latin-1").ljust(width) for s in signals)
    path.write_bytes(octets + bytes(n_bytes))
    return path


def test_every_field(tmp_path):
    read = read_header(header(tmp_path / "a.edf"))
    assert (read.header_bytes, read.sample_bytes, read.n_records, read.record_s) == (1024, 2, 2, 1.0)
    assert (read.tail_samples, read.notes, read.is_discontinuous, read.patient) == (0, (), False, "P-1")
    assert read.record_samples == 9
    first, second, notes = read.channels
    assert (first.label, first.unit, first.n_samples, first.offset) == ("Fp1", "uV", 4, 0)
    assert (first.physical_min, first.physical_max, first.digital_min, first.digital_max) == (-100, 200, -1000, 2000)
    assert (second.label, second.unit, second.n_samples, second.offset) == ("Fp2", "mV", 2, 4)
    assert (second.digital_min, second.digital_max) == (-10, 10)
    assert (notes.offset, notes.is_annotations, first.is_annotations) == (6, True, False)
    bdf = read_header(header(tmp_path / "a.bdf", magic=b"\xffBIOSEMI", reserved="BDF+D", n_bytes=54))
    assert (bdf.sample_bytes, bdf.n_records, bdf.is_discontinuous) == (3, 2, True)
    signals = (*SIGNALS[:2], ("BDF Annotations", *SIGNALS[2][1:]))
    assert read_header(header(tmp_path / "b.bdf", signals=signals)).channels[2].is_annotations


@pytest.mark.parametrize(
    ("limits", "usable"),
    [
        ((-1, 1, -10, 10), True),
        ((1, -1, -10, 10), True),  # inverted polarity
        ((-1, 1, 10, -10), True),
        ((-1, 1, 0, 1), True),
        ((-1, 1, 0, 0.9), False),
        ((1, 1, -10, 10), False),
        (("-1e12", 1, -10, 10), True),
        (("-1.1e12", 1, -10, 10), False),
        ((-1, 1, -10, "2e12"), False),
        (("x", 1, -10, 10), False),
        ((-1, "nan", -10, 10), False),
    ],
)
def test_a_channel_needs_a_range(tmp_path, limits, usable):
    signals = (("Fp1", "uV", *limits, 4), SIGNALS[1])
    assert read_header(header(tmp_path / "a.edf", signals=signals, n_bytes=24)).channels[0].is_usable == usable


def test_a_channel_without_samples_is_not_usable(tmp_path):
    signals = ((*SIGNALS[0][:6], 0), SIGNALS[1])
    empty, _ = read_header(header(tmp_path / "a.edf", signals=signals)).channels
    assert not empty.is_usable


@pytest.mark.parametrize(
    ("n_records", "n_bytes", "expected"),
    [
        (2, 36, (2, 0, ())),
        (2, 37, (2, 0, ("trailing_bytes",))),
        (1, 36, (1, 0, ("trailing_bytes",))),
        (3, 36, (2, 0, ("missing_records",))),
        (3, 43, (2, 3, ("missing_records", "truncated_last_record"))),  # 7 bytes are 3 samples and a half
        (-1, 36, (2, 0, ("n_records_unknown",))),
        (0, 36, (2, 0, ("n_records_unknown",))),
        ("", 40, (2, 2, ("n_records_unknown", "truncated_last_record"))),
        (1, 2, (0, 1, ("missing_records", "truncated_last_record"))),
    ],
)
def test_records_promised_and_present(tmp_path, n_records, n_bytes, expected):
    read = read_header(header(tmp_path / "a.edf", n_records=n_records, n_bytes=n_bytes))
    assert (read.n_records, read.tail_samples, read.notes) == expected
    # The times of EDF+D lie where they may be cut off.
    if expected[0]:
        gaps = read_header(header(tmp_path / "d.edf", n_records=n_records, n_bytes=n_bytes, reserved="EDF+D"))
        assert (gaps.n_records, gaps.tail_samples) == (expected[0], 0)


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"magic": b"1       "}, "not_what_it_says", "neither the EDF nor the BDF signature"),
        ({"n_signals": "x"}, "corrupt_header", "'1024' bytes for text instead of a number of signals"),
        ({"n_signals": 0, "header_bytes": 256}, "corrupt_header", "'256' bytes for '0' signals"),
        ({"header_bytes": 1025}, "corrupt_header", "'1025' bytes for '3' signals"),
        ({"record_s": "abc"}, "corrupt_header", "duration of a data record text instead of a number"),
        ({"record_s": "0.00001"}, "corrupt_header", "duration of a data record '0.00001'"),
        ({"record_s": "2000000"}, "corrupt_header", "duration of a data record '2000000'"),
        ({"signals": SIGNALS[2:]}, "no_samples", "the file holds annotations only"),
        ({"signals": ((*SIGNALS[0][:6], -1), SIGNALS[1])}, "corrupt_header", "'-1' samples in each record of signal 0"),
        ({"signals": (SIGNALS[0], (*SIGNALS[1][:6], "2.5"))}, "corrupt_header", "'2.5' samples in each record"),
        ({"signals": ((*SIGNALS[0][:6], 0),)}, "corrupt_header", "data records of zero samples"),
        ({"n_bytes": 1}, "no_samples", "1 bytes follow the header, one data record has 18"),
        ({"n_bytes": 35, "n_records": 1, "reserved": "EDF+D", "signals": SIGNALS[:2] * 4}, "no_samples", "35 bytes"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(tmp_path, change, reason, says):
    with pytest.raises(UnreadableError) as refused:
        read_header(header(tmp_path / "a.edf", **change))
    assert refused.value.reason == reason
    assert says in refused.value.detail


@pytest.mark.parametrize("record_s", ["0.0001", "1000000", "0,5"])
def test_the_shortest_and_the_longest_record(tmp_path, record_s):
    assert read_header(header(tmp_path / "a.edf", record_s=record_s)).record_s == float(record_s.replace(",", "."))


@pytest.mark.parametrize("n_bytes", [0, 100, 255, 256, 1023])
def test_a_header_that_is_cut(tmp_path, n_bytes):
    path = header(tmp_path / "a.edf")
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(UnreadableError, match=f"{n_bytes} bytes end inside of the header"):
        read_header(path)


@pytest.mark.parametrize(
    ("field", "text"),
    [(b" Fp1 \x00\r\n", "Fp1"), ("µV".encode(), "µV"), ("µV".encode("latin-1"), "µV"), (b"", ""), (b"a b\t", "a b")],
)
def test_decode(field, text):
    assert decode(field) == text


@pytest.mark.parametrize(
    ("text", "patient"),
    [
        ("X X X X", ""),
        ("X F 02-MAY-1951 X", ""),
        ("X, X X X", ""),
        ("", ""),
        ("P-7 F 02-MAY-1951 Erika_M", "P-7"),
        ("P-7 X X Erika_M", "P-7"),
        ("P-7 m x Erika_M more", "P-7"),
        ("X F 02-MAY-1951 Erika_M", "X F 02-MAY-1951 Erika_M"),
        ("P-7 F 1951 Erika_M", "P-7 F 1951 Erika_M"),  # no subfields of EDF+
        ("Erika M", "Erika M"),
        ("X Erika", "X Erika"),
        ("X X X", ""),
    ],
)
def test_who_is_named(tmp_path, text, patient):
    assert read_header(header(tmp_path / "a.edf", patient=text)).patient == patient


@pytest.mark.parametrize(
    ("fields", "start_hour", "age_group"),
    [
        ({}, 3, ""),
        ({"time": "00.00.00"}, None, ""),
        ({"time": "00.00.01"}, 0, ""),
        ({"time": "00.01.00"}, 0, ""),
        ({"time": "24.00.00"}, None, ""),
        ({"patient": "X F 01-FEB-2000 X"}, 3, "5-12"),  # ten years on 1 February 2010
        ({"patient": "X F 01-FEB-2000 X", "recording": "Startdate 01-FEB-2015 X"}, 3, "13-17"),
        ({"patient": "X F 01-FEB-2000 X", "date": "x"}, 3, ""),
        ({"patient": "X F 01-FEB-2000"}, 3, ""),
    ],
)
def test_hour_and_age(tmp_path, fields, start_hour, age_group):
    details = read_header(header(tmp_path / "a.edf", **fields)).details
    assert (details.start_hour, details.age_group) == (start_hour, age_group)


def test_a_decimal_comma_and_what_is_no_number(tmp_path):
    signals = (("Fp1", "uV", "-1,5", "inf", "1e2", "\x00300", 4), SIGNALS[1])
    first, _ = read_header(header(tmp_path / "a.edf", signals=signals)).channels
    assert (first.physical_min, first.digital_min, first.digital_max) == (-1.5, 100.0, 300.0)
    assert math.isnan(first.physical_max)
