"""EDF and BDF files, built byte by byte from the specification."""

import numpy as np

from signals.recording.recording import Recording


def channel(label="EEG Fp1", unit="uV", limits=(-100, 100, -32768, 32767), n_samples=16):
    return {"label": label, "unit": unit, "limits": limits, "n_samples": n_samples}


def edf_bytes(
    channels, records, *, bdf=False, reserved="", n_records=None, record_s=1, patient="X X X X", date="01.01.20"
):
    """Return a file built straight from the specification; `records` holds one bytes object per data record."""
    version = b"\xffBIOSEMI" if bdf else b"0       "
    n_records = len(records) if n_records is None else n_records

    def field(value, width):
        octets = value if isinstance(value, bytes) else str(value).encode("utf-8")
        return octets[:width].ljust(width)

    head = version + field(patient, 80) + field("", 80) + field(date, 8) + field("10.00.00", 8)
    head += field(256 * (len(channels) + 1), 8) + field(reserved, 44) + field(n_records, 8) + field(record_s, 8)
    head += field(len(channels), 4)
    columns = [
        ("label", 16),
        (None, 80),
        ("unit", 8),
        (0, 8),
        (1, 8),
        (2, 8),
        (3, 8),
        (None, 80),
        ("n_samples", 8),
        (None, 32),
    ]
    for key, width in columns:
        for ch in channels:
            value = "" if key is None else ch["limits"][key] if isinstance(key, int) else ch[key]
            head += field(value, width)
    return head + b"".join(records)


def tal(onset, n_bytes, *texts):
    """Return an annotation signal's bytes: the record's onset, then (onset, duration, text) entries."""
    octets = b"%+g\x14\x14\x00" % onset
    for start, duration, text in texts:
        octets += b"%+g\x15%g\x14" % (start, duration) + text.encode() + b"\x14\x00"
    return octets.ljust(n_bytes, b"\x00")


def ramp(first, n_samples=16):
    return np.arange(first, first + n_samples, dtype="<i2").tobytes()


def write(tmp_path, octets, name="x.edf"):
    path = tmp_path / name
    path.write_bytes(octets)
    return path


def read_all(recording: Recording, pick: int) -> np.ndarray:
    return np.concatenate([recording.read([pick], segment=s)[0] for s in range(len(recording.segments))])
