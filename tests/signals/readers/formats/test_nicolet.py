"""Headers of Nicolet's export, line by line."""

import numpy as np
import pytest

from signals.readers.formats.nicolet import NICOLET_MAGIC, nicolet_files, open_nicolet
from signals.recording.recording import Segment, UnreadableError

HEAD = """\
start_ts=2008-11-07 10:00:00
num_samples=1000
sample_freq=250
conversion_factor=0.5
num_channels=3
elec_names=[FP1, ECG ,C3]
pat_id=4711
duration_in_sec=4
"""


def written(tmp_path, text=HEAD, *, n_times=1000, n_more=0):
    (tmp_path / "a.head").write_text(text)
    x = np.arange(3 * n_times, dtype="<i2").reshape(n_times, 3)
    (tmp_path / "a.data").write_bytes(x.tobytes() + bytes(n_more))
    return tmp_path / "a.head"


def test_everything_that_a_header_holds(tmp_path):
    path = written(tmp_path)
    recording = open_nicolet(path)
    assert (recording.reader, recording.ch_names) == ("nicolet", ("FP1", "ECG", "C3"))
    assert recording.sensor_types == ("eeg", "ecg", "eeg")
    assert (recording.sfreqs, recording.segments) == ((250.0,) * 3, (Segment(0.0, 4.0),))
    assert (recording.patient, recording.notes) == ("4711", ())
    # Half a microvolt a step, the heart in mV.
    np.testing.assert_allclose(recording.read([0, 1, 2], start=10, stop=11), [[15.0], [0.0155], [16.0]], rtol=1e-6)
    assert nicolet_files(path) == (path, tmp_path / "a.data")
    (tmp_path / "a.data").unlink()
    assert nicolet_files(path) == (path,)


@pytest.mark.parametrize(
    ("n_times", "n_more", "n_read", "notes"),
    [(1000, 0, 1000, ()), (1000, 1, 1000, ("trailing_bytes",)), (1001, 0, 1000, ("trailing_bytes",)),
     (999, 0, 999, ("missing_records",)), (999, 5, 999, ("missing_records",))],
)  # fmt: skip
def test_samples_promised_and_present(tmp_path, n_times, n_more, n_read, notes):
    recording = open_nicolet(written(tmp_path, n_times=n_times, n_more=n_more))
    assert (recording.n_times(0), recording.notes) == (n_read, notes)


@pytest.mark.parametrize(
    ("old", "new", "reason", "says"),
    [
        ("num_channels=3", "num_channels=4", "corrupt_header", "3 names for 4 channels"),
        ("num_channels=3", "num_channels=x", "corrupt_header", "num_channels"),
        ("sample_freq=250", "sample_freq=0", "corrupt_header", "sample_freq"),
        ("conversion_factor=0.5", "conversion_factor=", "corrupt_header", "conversion_factor"),
        ("num_samples=1000", "num_samples=0", "no_samples", "6000 bytes of 3 channels"),
        ("num_samples=1000", "num_samples=-1", "corrupt_header", "num_samples"),
        ("num_samples=1000\n", "", "corrupt_header", "num_samples"),
    ],
)
def test_contradictions(tmp_path, old, new, reason, says):
    with pytest.raises(UnreadableError) as refused:
        open_nicolet(written(tmp_path, HEAD.replace(old, new)))
    assert refused.value.reason == reason
    assert says in refused.value.detail


def test_samples_that_are_gone(tmp_path):
    path = written(tmp_path)
    (tmp_path / "a.data").unlink()
    with pytest.raises(UnreadableError, match="missing_file"):
        open_nicolet(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(HEAD, True), ("pat_id=1\nadm_id=2\nsample_freq=1\n", True), ("sample_freq=1", True), ("pat_id=1\n", False),
     ("a text\nsample_freq=1\n", False)],
)  # fmt: skip
def test_how_it_is_distinguished_from_different_texts(text, expected):
    assert bool(NICOLET_MAGIC.match(text.encode())) == expected
