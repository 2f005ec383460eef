from pathlib import Path

import numpy as np
import pytest

from signals.modality import EEG_1020
from signals.patterns.bank import ARTIFACTS, BOTH, LEFT, NO_SIDE, PATTERNS_FILE, RIGHT, SEGMENTS_FILE, Bank
from signals.tasks import SIX_CLASS
from synthetic import bank as command
from synthetic.bank import write_bank
from synthetic.patterns.waves import FORMS
from synthetic.segments.entries import OTHERS, Entry, compact, draw_entry, draw_other, packed, traces_of
from synthetic.segments.families import HELD_OUT, TRAINED

SFREQ = EEG_1020.sfreq


def entries(label: str, n: int) -> list[Entry]:
    return [draw_entry(np.random.default_rng([5, k]), label=label, family=TRAINED[0]) for k in range(n)]


def best_channel(entry: Entry) -> np.ndarray:
    return np.asarray(entry.data[np.abs(entry.data).max(1).argmax()])


def test_traces_times_maps_are_the_samples() -> None:
    for label in ("Seizure", "LPD", "GRDA"):
        entry = entries(label, 1)[0]
        found = packed([compact(entry)]).samples(0)
        # int16 steps of 1/32000 of each trace's peak; the power left out is below a millionth, 1e-3 in amplitude.
        assert np.abs(found - entry.data).max() < 5e-3 * np.abs(entry.data).max()
    traces, maps = traces_of(np.zeros((19, 100)))
    assert (traces.shape, maps.shape) == ((0, 100), (0, 19))


@pytest.mark.parametrize("label", ["LPD", "GPD", "Seizure"])
def test_discharges_peak_where_the_truth_has_them(label: str) -> None:
    n_scored = 0
    for entry in entries(label, 12):
        if entry.train != 1:
            continue
        n_scored += 1
        x = np.abs(best_channel(entry))
        at = np.rint(entry.onsets_s * SFREQ).astype(int)
        at = at[(at > 64) & (at < x.size - 64)]

        def size(shift: int, x: np.ndarray = x, at: np.ndarray = at) -> float:
            return float(x[at + shift].mean())

        # Where onsets are exact, no shift finds larger values but that to another phase of the same discharge, which
        # is farther off than the main one is wide: 15 ms to either side is still the main phase.
        near = [size(shift) for shift in range(-4, 5)]
        assert max(near) <= size(0) * 1.1
        assert size(0) > 1.5 * x[(x > 0)].mean()
    assert n_scored >= 3


def test_rates_and_regularity_are_those_of_the_onsets() -> None:
    for entry in (*entries("LPD", 10), *entries("GPD", 10)):
        first, last = np.log(entry.rate_hz)
        # The rate glides evenly in log: its mean over the span is that of exp over a line.
        mean_hz = np.exp(np.linspace(first, last, 1000)).mean()
        length = entry.span_s[1] - entry.span_s[0]
        # Jitter up to 18% an interval adds up to its root; up to 12% of discharges fail to come.
        expected = mean_hz * length
        assert 0.75 * expected - 2 < entry.onsets_s.size < 1.06 * expected + 2
        gaps = np.diff(entry.onsets_s)
        if gaps.size >= 5:
            assert entry.regularity == pytest.approx(gaps.std() / gaps.mean())


def test_side_is_where_the_power_is() -> None:
    x = np.asarray(EEG_1020.positions)[:, 0]
    for label in ("LPD", "LRDA", "GPD", "GRDA", "Seizure"):
        for entry in entries(label, 8):
            data = entry.data - entry.data.mean(0)
            power = (data**2).sum(1)
            left, right = power[x < -0.1].sum(), power[x > 0.1].sum()
            lean = (right - left) / (right + left)
            if entry.side == BOTH:
                assert abs(lean) < 0.5, label
            else:
                assert entry.side == (RIGHT if lean > 0 else LEFT), (label, entry.variant)


def test_a_lag_is_how_much_later_the_other_side_has_the_same_waves() -> None:
    errors = []
    for entry in entries("LPD", 30):
        if not np.isfinite(entry.lag_s):
            continue
        # Every channel is a sum of the train and of the train a lag later: with the right lag nothing is left over.
        first = best_channel(entry)
        left = []
        for lag in range(1, 14):
            both = np.stack([first, np.roll(first, lag)], 1)
            left.append(float(np.linalg.lstsq(both, entry.data.T, rcond=None)[1].sum()))
        errors.append((1 + int(np.argmin(left))) / SFREQ - entry.lag_s)
    assert len(errors) >= 15
    # Whole samples are 4 ms apart; a quarter of the trains have fast or slow activity besides, which blurs it.
    assert abs(np.median(errors)) < 0.004
    assert np.mean(np.abs(errors) < 0.006) > 0.6


@pytest.mark.parametrize("variant", OTHERS)
def test_every_form_of_other_can_be_drawn(variant: str) -> None:
    entry = draw_other(np.random.default_rng(1), variant, TRAINED[0])
    assert np.isfinite(entry.data).all()
    assert entry.side == NO_SIDE
    has_envelope = variant in ("burst-suppression", "attenuated")
    assert (entry.envelope is not None) == has_envelope
    assert (np.abs(entry.data).max() > 0) != has_envelope
    assert (len(entry.artifacts) > 0) == (variant == "artifacts")
    assert {event.kind for event in entry.artifacts} <= set(ARTIFACTS)


def test_patterns_come_of_families_to_learn_from_alone(toy_patterns: Bank) -> None:
    held = {form for family in HELD_OUT for form in family.habits.forms} - set(TRAINED[0].habits.forms)
    assert held == {"damped"} < set(FORMS)
    assert not held & set(toy_patterns.variant_E.tolist())
    assert np.bincount(toy_patterns.class_E).tolist() == [8] * 6
    np.testing.assert_allclose(toy_patterns.doubt_EK.sum(1), 1, rtol=1e-6)
    own = toy_patterns.doubt_EK[np.arange(48), toy_patterns.class_E]
    assert (own[toy_patterns.class_E != SIX_CLASS.classes.index("Other")] == 0).all()


def test_processes_do_not_change_a_bank(tmp_path: Path) -> None:
    for jobs in (1, 2):
        write_bank(tmp_path / str(jobs), seed=3, patterns=6, held_out=1, jobs=jobs)
    for name in (PATTERNS_FILE, SEGMENTS_FILE):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_mistakes_end_in_one_line_and_code_2(
    toy_bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--output", str(tmp_path / "b"), "--patterns", "5"]) == 2
    assert "patterns=5 must be at least 6" in capsys.readouterr().err
    assert command.main(["--output", str(toy_bank)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
