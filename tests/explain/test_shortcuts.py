import numpy as np
import pytest

from explain.shortcuts import REMOVALS, Recorded, cramers_v, detect
from signals.modality import EEG_1020

SFREQ, N = 128.0, 512
NAMES = EEG_1020.ch_names


def recorded(n=60, seed=0):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=(n, 19, N)), axis=2)
    x = 20 * (x - x.mean(axis=2, keepdims=True)) / x.std(axis=2, keepdims=True)
    x += rng.normal(0, 1.5, x.shape)
    sites = np.array(["a", "b"])[(np.arange(n) >= n // 2).astype(int)]
    return Recorded(x=x.astype(np.float32), sites=sites, ch_names=NAMES, sfreq=SFREQ)


def with_trace(given, name, rows):
    x = given.x.copy()
    t = np.arange(N) / SFREQ
    if name == "mains hum":
        x[rows] += (10 * np.sin(2 * np.pi * 60 * t)).astype(np.float32)
    elif name == "one-sample markers":
        x[rows, :, 100] += 300
    elif name == "flat channels":
        x[rows, 5] = 0
    elif name == "gain":
        x[rows] *= 2.5
    elif name == "window edges":
        x[rows, :, : N // 20] *= 8
    else:
        x[np.ix_(rows, [NAMES.index("T3"), NAMES.index("T4")])] += 40 * np.sin(2 * np.pi * 38 * t).astype(np.float32)
    return Recorded(x=x, sites=given.sites, ch_names=NAMES, sfreq=SFREQ)


READERS = {
    "mains hum": lambda x: np.log(1 + np.abs(np.fft.rfft(x, axis=-1))[..., 238:243].mean(axis=(1, 2))),
    "one-sample markers": lambda x: np.abs(np.diff(x, n=2, axis=-1)).max(axis=(1, 2)) / 100,
    "flat channels": lambda x: (x.std(axis=-1).min(axis=1) < 1.0) * 3.0,
    "gain": lambda x: np.log(np.median(x.std(axis=-1), axis=1)),
    "window edges": lambda x: np.log(x[..., : N // 20].std(axis=-1).mean(axis=1) / x.std(axis=-1).mean(axis=1)),
    "eyes and muscle": lambda x: np.log(np.abs(np.fft.rfft(x, axis=-1))[:, [5, 16], 148:157].mean(axis=(1, 2))),
}


@pytest.mark.parametrize("name", sorted(REMOVALS))
def test_a_model_that_reads_a_trace_is_flagged_by_its_name_and_one_that_does_not_is_clean(name):
    given = with_trace(recorded(), name, np.arange(12))

    def reader(x):
        value = 4 * READERS[name](x.astype(np.float64))
        return np.stack([-value, value], axis=1)

    def honest(x):
        value = 0.2 * (x[:, 8].astype(np.float64) * np.sin(2 * np.pi * 6 * np.arange(N) / SFREQ)).mean(axis=1)
        return np.stack([-value, value], axis=1)

    found = detect(reader, given, target=1)
    assert name in found.flagged, found
    effect = next(e for e in found.effects if e.removal == name)
    assert effect.n_touched >= 12
    assert effect.site == "a"
    assert detect(honest, given, target=1).flagged == ()


@pytest.mark.parametrize("name", sorted(REMOVALS))
def test_a_removal_takes_its_own_trace_and_leaves_plain_windows_nearly_alone(name):
    plain, given = recorded(), with_trace(recorded(), name, np.arange(12))
    cleaned = REMOVALS[name](given)
    before = np.abs(given.x[:12] - plain.x[:12]).mean()
    if name == "flat channels":  # what was there cannot be known; it is as loud as the others now
        assert (cleaned[:12, 5].std(axis=-1) > 0.5 * np.median(plain.x.std(axis=-1))).all()
    else:
        assert np.abs(cleaned[:12] - plain.x[:12]).mean() < 0.7 * before
    assert np.abs(cleaned[12:] - plain.x[12:]).mean() < 0.1 * np.abs(plain.x).mean()
    assert np.isfinite(cleaned).all()


def test_too_few_windows_are_refused_and_too_few_touched_ones_flag_nothing():
    with pytest.raises(ValueError, match="too few"):
        detect(lambda x: np.zeros((len(x), 2)), recorded(1))
    given = with_trace(recorded(), "gain", np.arange(4))

    def reader(x):
        value = READERS["gain"](x)
        return np.stack([-value, value], axis=1)

    assert detect(reader, given, target=1).flagged == ()


def test_cramers_v_is_1_for_the_same_and_0_for_independent_labels():
    a = np.repeat([0, 1], 50)
    assert cramers_v(a, a) == pytest.approx(1)
    assert cramers_v(a, np.tile([0, 1], 50)) == pytest.approx(0)
    assert np.isnan(cramers_v(a, np.zeros(100)))
