import numpy as np
import pytest

from signals.recording.recording import LARGEST, READ_REASONS, Recording, RecordingHeader, Segment, UnreadableError


def recording(**changes):
    x = np.arange(600, dtype=np.float32).reshape(3, 200)

    def read(picks, segment, start, stop):
        calls.append((picks, segment, start, stop))
        return x[picks, start:stop]

    calls = []
    fields = {
        "uri": "memory", "reader": "memory", "ch_names": ("C3", "C4", "EKG"), "sensor_types": ("eeg", "eeg", "ecg"),
        "sfreqs": (10.0, 10.0, 5.0), "segments": (Segment(0.0, 20.0), Segment(30.0, 5.5)), "read_samples": read,
        "n_bytes": 77,
    } | changes  # fmt: skip
    return Recording(**fields), calls


def test_lengths_and_header():
    given, _ = recording()
    assert given.duration_s == 25.5
    assert [given.n_times(pick, segment) for pick in (0, 2) for segment in (0, 1)] == [200, 55, 100, 28]
    assert given.n_times(0) == 200
    assert given.header == RecordingHeader(n_bytes=77, segments=given.segments)


def test_ranges_are_of_the_segment():
    given, calls = recording()
    assert given.read((0, 1)).shape == (2, 200)
    assert given.read([1], start=3, stop=5).tolist() == [[203.0, 204.0]]
    given.read([0], segment=1)
    given.read([0], segment=1, start=55)
    assert calls == [([0, 1], 0, 0, 200), ([1], 0, 3, 5), ([0], 1, 0, 55), ([0], 1, 55, 55)]
    for start, stop, segment in ((-1, 5, 0), (6, 5, 0), (0, 201, 0), (0, 56, 1)):
        with pytest.raises(ValueError, match=rf"range \[{start}, {stop}\) lies outside of the segment"):
            given.read([0], segment=segment, start=start, stop=stop)
    with pytest.raises(ValueError, match=r"one sampling rate, got \[5.0, 10.0\] Hz"):
        given.read([0, 2])
    assert len(calls) == 4


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1.01 * LARGEST, -1.01 * LARGEST])
def test_what_is_no_measurement_is_missing(value):
    x = np.zeros((1, 4), dtype=np.float32)
    x[0, 2] = value
    given, _ = recording(read_samples=lambda *_: x)
    assert np.isnan(given.read([0])[0]).tolist() == [False, False, True, False]


@pytest.mark.parametrize("value", [LARGEST, -LARGEST])
def test_the_largest_measurement_is_one(value):
    given, _ = recording(read_samples=lambda *_: np.array([[value, 0.0]], dtype=np.float32))
    assert given.read([0]).tolist() == [[value, 0.0]]
    assert given.read([0], start=0, stop=0).size == 2  # whatever a reader returns


@pytest.mark.parametrize("change", [{"sfreqs": (10.0,) * 2}, {"sensor_types": ("eeg",) * 4}])
def test_channels_have_a_type_and_a_rate_each(change):
    with pytest.raises(ValueError, match="one entry for each of 3 channels"):
        recording(**change)


def test_errors_name_a_known_reason():
    error = UnreadableError("too_short", "2 s")
    assert (error.reason, error.detail) == ("too_short", "2 s")
    assert str(error) == "too_short: 2 s"
    assert all(text.endswith(".") for text in READ_REASONS.values())
    with pytest.raises(ValueError, match="nonsense"):
        UnreadableError("nonsense", "x")
