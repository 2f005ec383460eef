import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.shards.example import decode_example, encode_example
from signals.shards.records import (
    SchemaError,
    as_stored,
    decode_window,
    encode_window,
    quantise,
    quantise_channels,
    shuffle_bytes,
    unshuffle_bytes,
)
from signals.window import Provenance, Window, window_key
from signals.windows.surroundings import log_power


def make_window(data, **changes):
    n_chans, n_times = data.shape
    rng = np.random.default_rng(0)
    fields = {
        "data": data.astype(np.float32),
        "ch_state": rng.integers(0, 3, n_chans).astype(np.uint8),
        "artifact_mask": rng.integers(0, 512, (n_chans, max(1, n_times // 256))).astype(np.uint16),
        "quality": rng.random(n_chans).astype(np.float32),
        "features": rng.standard_normal((n_chans, 5)).astype(np.float32),
        "modality": "eeg_1020",
        "sfreq": 256.0,
        "band": (0.5, 115.2),
        "site_id": "northgate",
        "subject_id": "0123456789abcdef",
        "recording_id": "fedcba9876543210",
        "start_s": 86_399.123456,
        "label": "Seizure",
        "votes": (3.0, 0.0, 1.0, 0.0, 0.0, 2.0),
        "label_span_s": (20.0, 30.0),
        "provenance": Provenance(
            source_sha256="f" * 64,
            segment=1,
            start_sample=5,
            stop_sample=9,
            reader="edf",
            config_hash="c",
            code_version="1",
        ),
    }
    return Window(**(fields | changes))


@given(
    n_chans=st.integers(1, 20),
    n_seconds=st.integers(1, 3),
    scale=st.sampled_from([0.0, 1.0, 50.0, 1000.0, 50_000.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_decode_undoes_encode(n_chans, n_seconds, scale, seed):
    window = make_window(np.random.default_rng(seed).standard_normal((n_chans, 256 * n_seconds)) * scale)
    back = decode_window(encode_window(window))
    assert back == window  # every field that compares
    _, step = quantise(window.data)
    # Half a step, and float32's own rounding of both numbers.
    assert np.abs(back.data - window.data).max() <= step / 2 + 2.0**-23 * np.abs(window.data).max()
    assert np.array_equal(back.data, as_stored(window.data))
    for name in ("ch_state", "artifact_mask", "quality", "features"):
        assert np.array_equal(getattr(back, name), getattr(window, name)), name
    assert encode_window(back) == encode_window(decode_window(encode_window(back)))


def test_scores_travel_where_requested_and_nowhere_else():
    window = make_window(np.ones((2, 512)))
    assert decode_window(encode_window(window)).anomaly is None
    assert b"anomaly" not in encode_window(window)  # the bytes of records from before there were scores
    scores = np.array([[0.5, 2.0], [np.nan, np.nan]], dtype=np.float32)
    np.testing.assert_array_equal(
        decode_window(encode_window(make_window(np.ones((2, 512)), anomaly=scores))).anomaly, scores
    )


def test_a_record_of_eeg_has_the_bytes_that_it_always_had():
    # The digest was taken from the code before there were other sensors; int16 and float32 of whole numbers only.
    numbers = np.arange(19 * 512).reshape(19, 512)
    window = make_window(
        (numbers * 7919 % 4001 - 2000) / 8.0, ch_state=np.arange(19) % 3,
        artifact_mask=(numbers[:, :2] % 512).astype(np.uint16), quality=(numbers[:, 0] % 16 / 16).astype(np.float32),
        features=(numbers[:, :5] % 64 / 4).astype(np.float32),
    )  # fmt: skip
    assert (
        hashlib.sha256(encode_window(window)).hexdigest()
        == "32cbc1e02b35bd68617f4e4cf995e35902ee981df871bae900e93774e40aba2d"
    )


def test_each_sensor_has_a_step_of_its_own():
    rng = np.random.default_rng(0)
    eeg, sensors = rng.standard_normal((19, 512)) * 20, rng.standard_normal((4, 512)) * [[50], [9000], [5], [0.3]]
    window = make_window(np.concatenate([eeg, sensors]), modality="eeg_psg")
    alone = make_window(eeg)
    values, steps = quantise_channels(window.data, window.sensor_types)
    # µV, and mV for the ECG: 0.1 µV each, but for the EMG that is too large for it.
    assert steps[[0, 18, 19, 22]] == pytest.approx([0.1, 0.1, 0.1, 0.0001], rel=1e-6)
    assert steps[20] == pytest.approx(np.abs(window.data[20]).max() / 32767, rel=1e-6)
    assert np.array_equal(values[:19], quantise(alone.data)[0])
    back = decode_window(encode_window(window))
    assert np.abs(back.data - window.data).max(axis=1) == pytest.approx(steps / 2, rel=0.03)
    assert np.array_equal(back.data[:19], decode_window(encode_window(alone)).data)
    assert np.array_equal(back.data, as_stored(window.data, window.sensor_types))
    assert back.n_primary == 19
    assert not back.primary_state[19:].any()


def test_channels_and_their_kinds_must_be_as_many():
    with pytest.raises(ValueError, match="data has 2 channels, sensor_types 23"):
        encode_window(make_window(np.ones((2, 256)), modality="eeg_psg"))


def test_spectrograms_travel_as_float16_where_requested_and_nowhere_else():
    window = make_window((np.arange(1024).reshape(2, 512) % 97 - 48).astype(np.float64))
    # Written down before there were spectrograms: a record without one keeps its bytes.
    digest = "ae4978654a1e1d7dccf121aa68602ddec57891cb2501d869abb52798e134f13e"
    assert hashlib.sha256(encode_window(window)).hexdigest() == digest
    assert decode_window(encode_window(window)).spectrogram is None
    given = log_power(np.random.default_rng(0).lognormal(1.0, 4.0, (4, 100, 300)))
    given[:, :, :50] = np.nan
    back = decode_window(encode_window(replace(window, spectrogram=given)))
    assert back.spectrogram.dtype == np.float32
    np.testing.assert_array_equal(back.spectrogram, given)
    assert np.array_equal(back.data, decode_window(encode_window(window)).data)


def test_optional_fields_may_be_empty():
    window = make_window(np.ones((2, 256)), label="", votes=(), label_span_s=None)
    assert decode_window(encode_window(window)) == window


@pytest.mark.parametrize(("peak", "step"), [(3000.0, 0.1), (3276.7, 0.1), (32767.0, 1.0)])
def test_quantisation_step(peak, step):
    assert quantise(np.array([[peak, -peak]]))[1] == pytest.approx(step, rel=1e-6)


def test_samples_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        quantise(np.array([[np.nan]]))


def test_shuffled_bytes_are_low_bytes_then_high_bytes():
    raw = shuffle_bytes(np.array([0x0102, 0x0304], dtype=np.int16))
    assert raw == bytes([0x02, 0x04, 0x01, 0x03])
    assert unshuffle_bytes(raw).tolist() == [0x0102, 0x0304]


def test_tensorflow_parses_our_examples():
    tf = pytest.importorskip("tensorflow")
    raw = encode_example({"f": np.array([1.5, -2.0]), "i": [-1, 2**40], "b": [b"x", b""], "none": np.array([])})
    features = tf.train.Example.FromString(raw).features.feature
    assert list(features["f"].float_list.value) == [1.5, -2.0]
    assert list(features["i"].int64_list.value) == [-1, 2**40]
    assert list(features["b"].bytes_list.value) == [b"x", b""]
    assert "none" in features


def test_we_parse_tensorflows_examples():
    tf = pytest.importorskip("tensorflow")
    example = tf.train.Example()
    example.features.feature["i"].int64_list.value.extend([7, -3])
    example.features.feature["f"].float_list.value.append(0.25)
    example.features.feature["b"].bytes_list.value.append(b"abc")
    fields = decode_example(example.SerializeToString())
    assert fields["i"].tolist() == [7, -3]
    assert fields["f"].tolist() == [0.25]
    assert fields["b"] == [b"abc"]


@pytest.mark.parametrize("raw", [b"\x0a\xff\x01", b"not an example", b"\x08\x01"])
def test_other_bytes_are_refused(raw):
    with pytest.raises(ValueError, match="not a tf.train.Example"):
        decode_example(raw)


def test_another_schema_version_is_refused_by_number(monkeypatch):
    monkeypatch.setattr("signals.shards.records.SCHEMA_VERSION", 99)
    record = encode_window(make_window(np.ones((1, 256))))
    monkeypatch.undo()
    with pytest.raises(SchemaError, match="99"):
        decode_window(record)


def test_key_depends_on_recording_onset_and_length_only():
    window = make_window(np.ones((2, 256)))
    assert window.key == window_key("fedcba9876543210", 86_399.123456, 256)
    assert make_window(np.zeros((2, 256)), label="Other").key == window.key
    assert make_window(np.ones((2, 512))).key != window.key
