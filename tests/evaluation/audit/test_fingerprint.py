"""Copies are recognised after a re-export, strangers are not."""

import dataclasses

import numpy as np
import pytest
from scipy.signal import butter, resample_poly, sosfiltfilt

from evaluation.audit.fingerprint import N_DIMS, content_hash, fingerprint, pack, unpack
from signals.conditioning.filters import resampling_ratio
from signals.recording.recording import Recording, Segment
from signals.window import MEASURED, Window
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN
from synthetic.recordings.recordings import record
from synthetic.recordings.sites import SITES
from synthetic.subject.subjects import draw_subject


def windows_of(x: np.ndarray, sfreq: float, ch_names: tuple[str, ...]) -> list[Window]:
    recording = Recording(
        uri="memory", reader="memory", ch_names=ch_names,
        sensor_types=tuple("ecg" if name == "EKG" else "eeg" for name in ch_names), sfreqs=(sfreq,) * len(ch_names),
        segments=(Segment(0.0, x.shape[1] / sfreq),), read_samples=lambda picks, s, a, b: x[picks, a:b],
    )  # fmt: skip
    plan = plan_recording(recording, PRETRAIN, site_id="a", subject_id="b", source_sha256="ab" * 32)
    return list(prepare_recording(recording, plan))


def synthetic(site_index: int, seed: int) -> tuple[np.ndarray, float, tuple[str, ...]]:
    rng, site = np.random.default_rng(seed), SITES[site_index]
    made = record(rng, site=site, subject=draw_subject(rng), labels=["GPD"])
    return made.stretches[0], site.sfreq, site.ch_names


def prints(windows: list[Window]) -> np.ndarray:
    return np.stack([fingerprint(w.data, w.sfreq, w.ch_state) for w in windows])


def test_a_copy_at_another_gain_rate_filter_and_reference_is_recognised() -> None:
    x, sfreq, names = synthetic(0, seed=1)
    rng = np.random.default_rng(0)
    copy = 1.7 * resample_poly(x, *resampling_ratio(sfreq, 250.0), axis=-1)
    copy = copy - rng.dirichlet(np.ones(len(copy))) @ copy  # another reference: somewhere on the head
    copy = sosfiltfilt(butter(2, (0.4, 70.0), "bandpass", fs=250.0, output="sos"), copy, axis=-1)
    copy = (copy + rng.normal(0, 1.0, copy.shape)).astype(np.float32)
    first, second = windows_of(x, sfreq, names), windows_of(copy, 250.0, names)
    assert len(first) == len(second) == 5
    r = (prints(first) * prints(second)).sum(axis=1)
    assert r.min() > 0.95
    assert content_hash(first[0]) != content_hash(second[0])


def test_no_two_windows_of_the_synthetic_corpus_are_alike() -> None:
    # Periodic patterns of one kind at four sites, the hardest case: all pairs of windows, own recording included.
    vectors = np.concatenate([prints(windows_of(*synthetic(k, seed=10 + k))) for k in range(4)])
    r = np.abs(vectors @ vectors.T) - np.eye(len(vectors))
    assert len(vectors) >= 20
    assert r.max() < 0.6


@pytest.mark.parametrize("shift", [1, 7, 20, 50])
def test_a_copy_that_begins_later_is_recognised(shift: int) -> None:
    x, sfreq, names = synthetic(0, seed=1)
    first = windows_of(x, sfreq, names)
    second = windows_of(np.concatenate([x[:, shift:], x[:, :shift]], axis=1), sfreq, names)
    r = (prints(first) * prints(second)).sum(axis=1)
    assert r.min() > 0.9
    assert content_hash(first[0]) != content_hash(second[0])


def test_strangers_are_around_zero_as_the_projection_has_it() -> None:
    # Unrelated unit vectors in 160 dimensions correlate with a standard deviation of 1 / sqrt(160) = 0.079, and
    # a little more as the scatter of spectra is not white: 0.8 is then some eight of them away.
    rng, state = np.random.default_rng(3), np.full(19, MEASURED)
    vectors = np.stack([fingerprint(rng.normal(size=(19, 2560)), 256.0, state) for _ in range(60)])
    r = (vectors @ vectors.T)[np.triu_indices(60, 1)]
    assert abs(r.mean()) < 0.02
    assert r.std() < 0.1


def test_flat_windows_have_no_name() -> None:
    [window, *_] = windows_of(*synthetic(3, seed=5))
    flat = dataclasses.replace(window, data=np.zeros_like(window.data))
    assert content_hash(flat) == ""
    assert not fingerprint(flat.data, flat.sfreq, flat.ch_state).any()
    assert len(content_hash(window)) == 16


def test_packing_keeps_correlations() -> None:
    vectors = np.random.default_rng(0).normal(size=(4, N_DIMS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    back = unpack([pack(v) for v in vectors])
    np.testing.assert_allclose((back * vectors).sum(axis=1), 1.0, atol=1e-3)
    with pytest.raises(ValueError, match="320 bytes"):
        unpack([b"short"])


def test_the_projection_is_the_same_in_every_version() -> None:
    # Prints stand in files: those of an earlier version must be comparable. Written down 2026-11-23.
    x = np.sin(np.outer(np.arange(1, 4), np.arange(2560)) * 0.05) + np.cos(np.arange(2560) ** 1.5 / 900.0)
    vector = fingerprint(x, 256.0, np.full(3, MEASURED))
    assert vector[:4] == pytest.approx([0.1011, 0.17128, -0.07128, 0.00564], abs=2e-4)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


def test_only_measured_channels_and_the_band_count() -> None:
    rng, state = np.random.default_rng(7), np.full(19, MEASURED)
    x, t = rng.normal(size=(19, 2560)), np.arange(2560) / 256.0
    first = fingerprint(x, 256.0, state)
    for f in (0.4, 20.0, 50.0):  # below, above, mains: outside of 1 to 12 Hz
        assert first @ fingerprint(x + 5 * np.sin(2 * np.pi * f * t), 256.0, state) > 0.98
    absent = np.where(np.arange(19) == 4, MEASURED + 1, MEASURED)
    noisy = x.copy()
    noisy[4] = 1e3 * rng.normal(size=2560)
    assert fingerprint(x, 256.0, absent) == pytest.approx(fingerprint(noisy, 256.0, absent))
    assert first @ fingerprint(noisy, 256.0, state) < 0.999
    assert fingerprint(x * np.linspace(0.1, 9, 19)[:, None], 256.0, state) @ first > 0.5  # gains of single channels
    assert fingerprint(x[::-1].copy(), 256.0, state) @ first < 0.5  # channels have places


def test_the_reference_is_taken_out_of_three_channels_or_more() -> None:
    rng = np.random.default_rng(8)
    for n, is_same in ((1, False), (2, False), (3, True), (19, True)):
        x, state = rng.normal(size=(n, 2560)), np.full(n, MEASURED)
        again = fingerprint(x + 2 * rng.normal(size=2560), 256.0, state)  # the same on every channel
        assert bool(fingerprint(x, 256.0, state) @ again > 0.999) is is_same
    twins = np.repeat(rng.normal(size=(1, 2560)), 2, axis=0)
    assert np.linalg.norm(fingerprint(twins, 256.0, np.full(2, MEASURED))) == pytest.approx(1.0, abs=1e-6)


def test_one_sample_changes_the_hash() -> None:
    [window, *_] = windows_of(*synthetic(0, seed=1))
    changed = window.data.copy()
    changed[0, 0] += 50.0
    assert content_hash(dataclasses.replace(window, data=changed)) != content_hash(window)
    assert set(content_hash(window)) <= set("0123456789abcdef")
