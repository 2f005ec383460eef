from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import signal

from signals.modality import EEG_1020
from signals.tasks import SIX_CLASS
from synthetic.segments.clinical import segment
from synthetic.subject.subjects import Subject, draw_subject

CH = EEG_1020.ch_names
LEFT = [CH.index(name) for name in ("F3", "C3", "P3", "F7", "T3", "T5")]
RIGHT = [CH.index(name) for name in ("F4", "C4", "P4", "F8", "T4", "T6")]
SFREQ = 200.0


def plain_subject(seed: int = 0, **changes: object) -> Subject:
    """A patient with plain patterns on the left and without muscle, eyes, heart and drift."""
    quiet = {"blink_hz": 0.0, "eye_movement_hz": 0.0, "muscle_hz": 0.0, "heart_uv": 0.0, "drift_uv": 0.0}
    shown = {"background_uv": 20.0, "prominence": 9.0, "slowing": 0.3, "alpha_uv": 0.0, "focus": (-0.7, 0.06, 0.71)}
    return replace(draw_subject(np.random.default_rng(seed)), **(quiet | shown | changes))  # type: ignore[arg-type]


def make(label: str, seed: int, **changes: object):
    rng = np.random.default_rng(seed)
    whole = segment(rng, label=label, duration_s=50, sfreq=SFREQ, ch_names=CH, subject=plain_subject(seed, **changes))
    bad = {name for kind in ("flat", "noisy", "pop") for event in whole.truth.of(kind) for name in event.ch_names}
    good = np.array([name not in bad for name in CH])
    return np.where(good[:, None], whole.data, 0.0), whole.votes, whole.truth


def middle(data: np.ndarray) -> np.ndarray:
    """The 14 s that every pattern covers."""
    return data[:, int(18 * SFREQ) : int(32 * SFREQ)]


def envelope_peak_hz(x: np.ndarray, low: float, high: float) -> float:
    """Rate of repetition: the highest peak of the autocorrelation between the lags 1/high and 1/low."""
    x = x - x.mean()
    acf = signal.correlate(x, x, mode="full")[x.size - 1 :]
    lags = np.arange(acf.size) / SFREQ
    allowed = (lags >= 1 / high) & (lags <= 1 / low)
    return float(1 / lags[allowed][np.argmax(acf[allowed])])


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_lateralised_periodic_discharges_repeat_at_their_rate_on_their_side(seed: int) -> None:
    data, _, truth = make("LPD", seed, rate_hz=1.2)
    x = middle(data)
    strongest = x[LEFT][np.argmax(x[LEFT].std(axis=1))]
    rate = truth.rate_hz[0]
    # The jitter of at most 12% a period averages out over 14 s; lags are looked for within half an octave each side.
    assert envelope_peak_hz(strongest, rate / 1.4, rate * 1.4) == pytest.approx(rate, rel=0.15)
    assert x[LEFT].std(axis=1).max() > 1.3 * x[RIGHT].std(axis=1).max()


@pytest.mark.parametrize("label", ["LPD", "GPD"])
def test_discharges_are_sharp_and_leave_an_interval(label: str) -> None:
    data, _, truth = make(label, 5, rate_hz=0.8, prominence=14.0, background_uv=15.0)
    peaks = np.array([event.onset_s for event in truth.of("discharge")])
    gaps = np.diff(peaks)
    assert np.all(gaps > 0.5)  # longer than a discharge may be
    assert 0.01 < gaps.std() / gaps.mean() < 0.2  # nearly regular, not exactly
    x = np.abs(data).max(axis=0)
    inside = [x[int((at - 0.1) * SFREQ) : int((at + 0.1) * SFREQ)].max() for at in peaks if 1 < at < 49]
    between = [
        np.median(x[int((a + 0.45) * SFREQ) : int((b - 0.25) * SFREQ)]) for a, b in pairwise(peaks) if b - a > 0.9
    ]
    assert np.median(inside) > 3 * np.median(between)


@pytest.mark.parametrize(("label", "lateral"), [("LRDA", True), ("GRDA", False)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rhythmic_delta_peaks_at_its_rate_and_keeps_its_side(label: str, lateral: bool, seed: int) -> None:
    data, _, truth = make(label, seed, rhythm_hz=2.2)
    freqs, power = signal.welch(middle(data), SFREQ, nperseg=int(7 * SFREQ))
    peak = freqs[1:][np.argmax(power.mean(axis=0)[1:])]
    assert peak == pytest.approx(truth.rate_hz[0], abs=0.3)  # two bins of 1/7 Hz
    assert 0.5 <= peak <= 4
    band = np.abs(freqs - peak) < 0.5
    left, right = power[LEFT][:, band].sum(), power[RIGHT][:, band].sum()
    asymmetry = (left - right) / (left + right)
    assert asymmetry > 0.4 if lateral else abs(asymmetry) < 0.3


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6])
def test_seizures_evolve(seed: int) -> None:
    data, _, truth = make("Seizure", seed)
    start, stop = truth.span_s
    assert start < 20
    assert stop > 30
    assert min(truth.rate_hz) > 2.5
    strongest = data[np.argmax(data.std(axis=1))]
    at = [(start + 2, start + 7), (stop - 7, stop - 2)]
    for (a, b), rate in zip(at, truth.rate_hz, strict=True):
        freqs, power = signal.welch(strongest[int(a * SFREQ) : int(b * SFREQ)], SFREQ, nperseg=int(5 * SFREQ))
        near = power[np.abs(freqs - rate) < 1.5].max()
        assert near > 2 * np.median(power[(freqs > 2) & (freqs < 20)])
    if truth.variant == "focal":
        assert abs(np.log(truth.rate_hz[1] / truth.rate_hz[0])) > np.log(1.1)


def test_alpha_is_posterior_and_blocks() -> None:
    data, _, truth = make("GRDA", 4, alpha_uv=40.0, alpha_hz=10.0, prominence=1.5, background_uv=10.0, mu=0.0, beta=0.0)
    closed = np.zeros(data.shape[1], bool)
    for event in truth.of("eyes_closed"):
        closed[int(event.onset_s * SFREQ) : int((event.onset_s + event.duration_s) * SFREQ)] = True
    sos = signal.butter(4, [8, 12], "bandpass", fs=SFREQ, output="sos")
    band = signal.sosfiltfilt(sos, data)
    front, back = band[[CH.index("Fp1"), CH.index("Fp2")]], band[[CH.index("O1"), CH.index("O2")]]
    assert back[:, closed].std() > 3 * front[:, closed].std()
    assert back[:, closed].std() > 2 * back[:, ~closed].std()


def test_neighbours_correlate_more_than_distant_channels() -> None:
    data, _, _ = make("Other", 8, background_uv=30.0)
    r = np.corrcoef(data + 1e-9 * np.random.default_rng(0).standard_normal(data.shape))
    near = EEG_1020.adjacency()
    far = np.array(EEG_1020.positions) @ np.array(EEG_1020.positions).T < 0
    assert r[near].mean() > r[far].mean() + 0.3


def test_blinks_are_frontal_and_where_the_truth_has_them() -> None:
    data, _, truth = make("Other", 12, blink_hz=0.2, background_uv=10.0)
    frontal = data[[CH.index("Fp1"), CH.index("Fp2")]].mean(axis=0)
    blinks = [event for event in truth.of("blink") if event.onset_s < 49]
    assert blinks
    for event in blinks:
        span = slice(int(event.onset_s * SFREQ), int((event.onset_s + event.duration_s) * SFREQ))
        assert frontal[span].max() - np.median(frontal) > 30
        assert frontal[span].max() > 2 * np.abs(data[CH.index("O1"), span]).max() - 40


@pytest.mark.parametrize("label", SIX_CLASS.classes)
def test_votes_are_of_3_to_20_experts_and_most_for_the_label(label: str) -> None:
    for seed in range(4):
        data, votes, truth = make(label, 20 + seed)
        assert 3 <= sum(votes) <= 20
        assert SIX_CLASS.classes[int(np.argmax(votes))] == label == truth.label
        assert sorted(votes)[-1] > sorted(votes)[-2]
        assert data.shape == (19, 10_000)
        assert np.isfinite(data).all()


def test_a_segment_is_a_function_of_its_seed() -> None:
    first, second, other = make("LPD", 3), make("LPD", 3), make("LPD", 30)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1:] == second[1:]
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"label": "SIRPID"}, "SIRPID"), ({"ch_names": ["Fp1", "X9"]}, "X9"), ({"duration_s": 5}, "5")],
)
def test_bad_arguments_are_named(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"label": "LPD", "ch_names": CH, "duration_s": 50} | change
    with pytest.raises(ValueError, match=message):
        segment(np.random.default_rng(0), sfreq=200, subject=plain_subject(), **arguments)  # type: ignore[arg-type]
