"""The header of EDF and BDF files, read with suspicion."""

import math
import re
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from signals.recording.details import Details, age_group, known_device
from signals.recording.recording import UnreadableError

# Name and width of the fixed fields, then of the fields that have one entry a signal.
_FIXED = (("version", 8), ("patient", 80), ("recording", 80), ("date", 8), ("time", 8), ("header_bytes", 8),
          ("reserved", 44), ("n_records", 8), ("record_s", 8), ("n_signals", 4))  # fmt: skip
_PER_SIGNAL = (("label", 16), ("transducer", 80), ("unit", 8), ("physical_min", 8), ("physical_max", 8),
               ("digital_min", 8), ("digital_max", 8), ("prefilter", 80), ("n_samples", 8),
               ("reserved", 32))  # fmt: skip

EDF_MAGIC = b"0       "
BDF_MAGIC = b"\xffBIOSEMI"
_LARGEST_LIMIT = 1e12
_ANNOTATION_LABELS = {"EDF Annotations", "BDF Annotations"}


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One signal as the header describes it; numbers that cannot be read are nan."""

    label: str
    unit: str
    physical_min: float
    physical_max: float
    digital_min: float
    digital_max: float
    n_samples: int
    """Samples in each data record."""
    offset: int
    """Samples of other signals before it in a record."""

    @property
    def is_annotations(self) -> bool:
        """Whether the signal holds text instead of samples."""
        return self.label in _ANNOTATION_LABELS

    @property
    def is_usable(self) -> bool:
        """Whether samples exist and their range is neither empty nor absurd."""
        physical, digital = self.physical_max - self.physical_min, self.digital_max - self.digital_min
        limits = (self.physical_min, self.physical_max, self.digital_min, self.digital_max)
        # Beyond 1e12, in V or in µV, float32 would overflow in a sum of squares; a nan compares false.
        is_sane = all(abs(limit) <= _LARGEST_LIMIT for limit in limits)
        return self.n_samples > 0 and is_sane and physical != 0 and abs(digital) >= 1


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the reader needs of a header, checked against the file's size."""

    patient: str
    details: Details
    header_bytes: int
    sample_bytes: int
    """2 for EDF, 3 for BDF."""
    is_discontinuous: bool
    n_records: int
    """Whole data records that are both promised and present."""
    tail_samples: int
    """Whole samples, of all channels together, of a cut record behind the whole ones; 0 without."""
    record_s: float
    channels: tuple[Channel, ...]
    notes: tuple[str, ...]

    @property
    def record_samples(self) -> int:
        """Samples of all signals in one record."""
        return sum(channel.n_samples for channel in self.channels)


def read_header(path: Path) -> Header:
    """Return the checked header of an EDF or BDF file.

    A count of records that is unknown (-1, or never filled in) or larger than the file is replaced by the number of
    whole records present, with a note; what a cut last record holds is counted in `tail_samples`, but for EDF+D, whose
    records hold their times at a place that may be cut off. Of dates only an hour and an age are kept (`Details`).

    Raises UnreadableError: "not_what_it_says", "corrupt_header" where fields contradict each other or the file's size,
    "no_samples" where no sample follows.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        fixed = _cut(file.read(256), _FIXED)
        n_signals = _integer(fixed["n_signals"])
        if fixed["version"] not in (EDF_MAGIC, BDF_MAGIC):
            raise UnreadableError("not_what_it_says", "neither the EDF nor the BDF signature")
        if n_signals is None or n_signals < 1 or _integer(fixed["header_bytes"]) != 256 * (n_signals + 1):
            raise UnreadableError(
                "corrupt_header", f"{_shown(fixed['header_bytes'])} bytes for {_shown(fixed['n_signals'])} signals"
            )
        if size < 256 * (n_signals + 1):
            raise UnreadableError("corrupt_header", f"{size} bytes end inside of the header of {256 * (n_signals + 1)}")
        channels = _channels(file.read(256 * n_signals), n_signals)
    record_s = _number(fixed["record_s"])
    if all(channel.is_annotations for channel in channels):
        raise UnreadableError("no_samples", "the file holds annotations only")
    if not 1e-4 <= record_s <= 1e6:
        raise UnreadableError("corrupt_header", f"duration of a data record {_shown(fixed['record_s'])}")
    sample_bytes = 3 if fixed["version"] == BDF_MAGIC else 2
    is_discontinuous = fixed["reserved"][:5] in (b"EDF+D", b"BDF+D")
    n_records, tail_samples, notes = _count_records(
        fixed["n_records"], size - 256 * (n_signals + 1), sample_bytes, channels, keeps_tail=not is_discontinuous
    )
    return Header(
        patient=_patient(fixed["patient"]),
        details=_details(fixed),
        header_bytes=256 * (n_signals + 1),
        sample_bytes=sample_bytes,
        is_discontinuous=is_discontinuous,
        n_records=n_records,
        tail_samples=tail_samples,
        record_s=record_s,
        channels=channels,
        notes=notes,
    )


def decode(field: bytes) -> str:
    """Return text without padding: UTF-8 where it is valid, else latin-1."""
    try:
        text = field.decode("utf-8")
    except UnicodeDecodeError:
        text = field.decode("latin-1")
    return text.strip(" \x00\t\r\n")


def _cut(octets: bytes, fields: tuple[tuple[str, int], ...]) -> dict[str, bytes]:
    if len(octets) < sum(width for _, width in fields):
        raise UnreadableError("corrupt_header", f"{len(octets)} bytes end inside of the header")
    cut, position = {}, 0
    for name, width in fields:
        cut[name] = octets[position : position + width]
        position += width
    return cut


def _channels(octets: bytes, n_signals: int) -> tuple[Channel, ...]:
    columns = _cut(octets, tuple((name, width * n_signals) for name, width in _PER_SIGNAL))
    widths = dict(_PER_SIGNAL)
    channels: list[Channel] = []
    offset = 0
    for i in range(n_signals):
        entry = {name: columns[name][i * width : (i + 1) * width] for name, width in widths.items()}
        n_samples = _integer(entry["n_samples"])
        if n_samples is None or n_samples < 0:
            raise UnreadableError(
                "corrupt_header", f"{_shown(entry['n_samples'])} samples in each record of signal {i}"
            )
        limits = {key: _number(entry[key]) for key in ("physical_min", "physical_max", "digital_min", "digital_max")}
        label, unit = decode(entry["label"]), decode(entry["unit"])
        channels.append(Channel(label=label, unit=unit, n_samples=n_samples, offset=offset, **limits))
        offset += n_samples
    return tuple(channels)


def _count_records(
    promised: bytes, n_bytes: int, sample_bytes: int, channels: tuple[Channel, ...], *, keeps_tail: bool
) -> tuple[int, int, tuple[str, ...]]:
    """Return the number of whole records, the samples of a cut one behind them, and what is remarkable about both."""
    record_bytes = sample_bytes * sum(channel.n_samples for channel in channels)
    if record_bytes == 0:
        raise UnreadableError("corrupt_header", "data records of zero samples")
    present, left = divmod(n_bytes, record_bytes)
    n_promised = _integer(promised)
    if n_promised is not None and 0 < n_promised <= present:
        return n_promised, 0, ("trailing_bytes",) * bool(left or present > n_promised)
    note = "n_records_unknown" if n_promised is None or n_promised <= 0 else "missing_records"
    tail_samples = left // sample_bytes if keeps_tail else 0
    if present == 0 and not any(ch.is_usable and not ch.is_annotations and ch.offset < tail_samples for ch in channels):
        raise UnreadableError("no_samples", f"{n_bytes} bytes follow the header, one data record has {record_bytes}")
    return present, tail_samples, (note, *(["truncated_last_record"] * bool(left)))


def _number(field: bytes) -> float:
    """Return the number in a header field, nan if it is none; a decimal comma is accepted."""
    try:
        value = float(field.strip(b" \x00").replace(b",", b"."))
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _shown(field: bytes) -> str:
    """Return a header field for a message: in a damaged header any text may stand in it, also a name."""
    text = field.strip(b" \x00").decode("latin-1")
    return repr(text) if set(text) <= set("0123456789+-.,eE") else "text instead of a number of"


def _integer(field: bytes) -> int | None:
    value = _number(field)
    return int(value) if value.is_integer() else None


_SEX_AND_BIRTH = re.compile(r"[MFXmfx] (?:[Xx]|\d{1,2}-[A-Za-z]{3}-\d{4})")


def _patient(field: bytes) -> str:
    """Return who the patient field names, empty where it names nobody.

    EDF+ has the subfields code, sex, birth date, name, with X for what is unknown: the code is the patient, however the
    name beside it is spelled. Without a code it is the whole field; sex and date alone name nobody.
    """
    text = decode(field)
    code, *_ = subfields = text.split() or [""]
    named = [code, *subfields[3:]] if len(subfields) >= 4 else subfields
    if all(set(subfield) <= set("X,") for subfield in named):
        return ""
    is_plus = len(subfields) >= 4 and _SEX_AND_BIRTH.fullmatch(" ".join(subfields[1:3]))
    return code if is_plus and set(code) - set("Xx,") else text


def _details(fixed: dict[str, bytes]) -> Details:
    """Return device, hour and age group as far as the header holds them; a wrong date or time is none.

    EDF+ holds them in subfields: the birth date is the patient's third, "Startdate" and its date begin the recording's.
    A recording that starts at midnight to the second is taken for one without a time.
    """
    recording, patient = decode(fixed["recording"]), decode(fixed["patient"]).split()
    time = _parsed(decode(fixed["time"]), "%H.%M.%S")
    begun = _parsed(" ".join(recording.split()[1:2]), "%d-%b-%Y") or _parsed(decode(fixed["date"]), "%d.%m.%y")
    born = _parsed(patient[2], "%d-%b-%Y") if len(patient) >= 4 else None
    return Details(
        device=known_device(recording),
        start_hour=time.hour if time is not None and (time.hour, time.minute, time.second) != (0, 0, 0) else None,
        age_group=age_group(_years(born.date(), begun.date()) if born is not None and begun is not None else None),
    )


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None


def _years(born: date, begun: date) -> float:
    return (begun - born).days / 365.25
