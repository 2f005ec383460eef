"""Segments of the wide prior hold what their label states, on simulated and on real-like backgrounds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from signals.modality import EEG_1020
from signals.patterns.features import pattern_features
from signals.shards.manifest import read_manifest
from signals.tasks import SIX_CLASS
from synthetic import critical_corpus
from synthetic.patterns.clinical import Clinical
from synthetic.patterns.near_misses import NEAR_MISSES, near_miss
from synthetic.patterns.pattern import PATTERNED, PatternFamily
from synthetic.patterns.waves import FORMS, Train, draw_discharge, train_times
from synthetic.patterns.wide import Habits, Wide
from synthetic.segments.families import HELD_OUT, TRAINED, Family, draw_segment
from synthetic.subject.carriers import Carrier, read_carriers, sickened, stretches, usable
from synthetic.subject.grid import Grid
from synthetic.subject.subjects import draw_subject

POSITIONS = np.asarray(EEG_1020.positions)
GRID = Grid(POSITIONS, 50 * 256, 256.0)
SITE = "albany-eegmmidb"


@pytest.fixture(scope="module")
def carrier() -> Carrier:
    """Pink noise in the place of a real recording."""
    rng = np.random.default_rng(5)
    x = np.cumsum(rng.standard_normal((19, 50 * 256)), axis=1)
    x = x - np.apply_along_axis(lambda row: np.convolve(row, np.ones(256) / 256, "same"), 1, x)
    x = 12 * (x - x.mean(axis=0)) / x.std()
    return Carrier(data=x.astype(np.float32), ch_state=np.full(19, 2, np.uint8), site_id=SITE, subject_id="s",
                   recording_id="r")  # fmt: skip


@pytest.mark.parametrize("label", SIX_CLASS.classes)
def test_every_class_on_every_kind_of_family(label: str, carrier: Carrier) -> None:
    families = [TRAINED[0], Family(name="carried", carriers=1.0), HELD_OUT[0]]
    for family in families:
        made = draw_segment(np.random.default_rng(1), label=label, family=family, carriers=[carrier])
        again = draw_segment(np.random.default_rng(1), label=label, family=family, carriers=[carrier])
        np.testing.assert_array_equal(made.data, again.data)
        assert made.data.shape == (19, 12800)
        assert made.data.dtype == np.float32
        assert np.isfinite(made.data).all()
        np.testing.assert_allclose(made.data.mean(axis=0), 0, atol=0.5)  # average reference
        assert SIX_CLASS.classes[int(np.argmax(made.votes))] == label


@pytest.mark.parametrize("form", FORMS)
def test_a_discharge_is_largest_in_its_middle_and_shorter_than_a_second(form: str) -> None:
    for seed in range(5):
        wave = draw_discharge(np.random.default_rng(seed), form, 256.0)
        assert np.abs(wave).max() == pytest.approx(1.0)
        assert abs(int(np.argmax(np.abs(wave))) - wave.size // 2) <= 0.3 * 256
        assert np.abs(wave[[0, -1]]).max() < 0.02


def test_a_train_keeps_its_rate_and_glides() -> None:
    even = Train(rate_hz=(2.0, 2.0), jitter=0.0, height_sd=0.0, stretch_sd=0.0, missed=0.0)
    np.testing.assert_allclose(np.diff(train_times(np.random.default_rng(0), even, (0.0, 50.0))), 0.5)
    gliding = Train(rate_hz=(1.0, 4.0), jitter=0.0, height_sd=0.0, stretch_sd=0.0, missed=0.0)
    gaps = np.diff(train_times(np.random.default_rng(0), gliding, (0.0, 50.0)))
    assert gaps[0] == pytest.approx(1.0, rel=0.05)
    assert gaps[-1] == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("label", ["LPD", "LRDA", "GPD", "GRDA"])
def test_patterns_lie_on_one_side_or_on_both(label: str) -> None:
    shares = []
    for seed in range(6):
        drawn = Wide(Habits(spread=(0.0, 0.1))).draw(np.random.default_rng(seed), label, GRID)
        power = (drawn.data**2).sum(axis=1)
        left, right = power[POSITIONS[:, 0] < -0.1].sum(), power[POSITIONS[:, 0] > 0.1].sum()
        shares.append(abs(left - right) / (left + right))
        middle = np.abs(drawn.data[:, 20 * 256 : 30 * 256]).max()
        assert middle > 0.3  # the label speaks of the middle 10 s
    assert np.median(shares) > 0.6 if label.startswith("L") else np.median(shares) < 0.3


@pytest.mark.parametrize("kind", NEAR_MISSES)
def test_near_misses_are_finite_and_named(kind: str) -> None:
    extra = near_miss(np.random.default_rng(3), kind, GRID, Habits())
    assert extra.shape == (19, 12800)
    assert np.isfinite(extra).all()
    assert np.abs(extra).max() > 0


def test_a_pattern_elsewhere_leaves_the_middle_alone() -> None:
    for seed in range(4):
        extra = near_miss(np.random.default_rng(seed), "elsewhere", GRID, Habits())
        assert np.abs(extra[:, 20 * 256 : 30 * 256]).max() < 1e-6


def test_planted_periodic_discharges_can_be_found_again() -> None:
    family = Family(name="loud", prominence=(9.0, 0.05), habits=Habits(forms=("sharp",), jitter=(0.02, 0.03)))
    measured = [
        pattern_features(draw_segment(np.random.default_rng(s), label=label, family=family).data, 256.0)
        for label in ("LPD", "Other") for s in range(4)
    ]  # fmt: skip
    strength = [row["whole_sharpness_best_strong"] for row in measured]
    assert np.median(strength[:4]) > np.median(strength[4:]) + 0.2


def test_a_sickened_background_is_slower_and_as_large(carrier: Carrier) -> None:
    slow = sickened(np.random.default_rng(0), carrier.data, 256.0, positions=POSITIONS, focus=POSITIONS[0],
                    slowing=1.0, asymmetry=0.0)  # fmt: skip
    power = [np.abs(np.fft.rfft(x, axis=1)) ** 2 for x in (carrier.data, slow)]
    above = [p[:, 50 * 10 :].sum() / p.sum() for p in power]
    assert above[1] < 0.3 * above[0]
    assert slow.std() == pytest.approx(carrier.data.std(), rel=0.35)


def test_carriers_are_joined_where_windows_follow_each_other() -> None:
    made = draw_segment(np.random.default_rng(0), label="Other", family=TRAINED[0])
    whole = critical_corpus.as_window(made, "w", site_id="simulated")
    parts = [replace(whole, data=made.data[:, k * 2560 : (k + 1) * 2560], start_s=10.0 * k) for k in (3, 0, 1, 2)]
    found = list(stretches(parts, length_s=30.0, hop_s=10.0))
    assert len(found) == 2
    np.testing.assert_array_equal(found[1].data, made.data[:, 2560 : 4 * 2560])
    assert not list(stretches([p for p in parts if p.start_s != 10.0], length_s=30.0, hop_s=10.0))  # a gap
    assert not usable(made.data, np.ones(19, np.uint8))  # nothing but interpolated channels
    torn = made.data.copy()
    torn[:, :2560] *= 50
    assert usable(made.data, made.ch_state)
    assert not usable(torn, made.ch_state)


def test_a_corpus_is_a_shard_set(tmp_path: Path, carrier: Carrier, capsys: pytest.CaptureFixture[str]) -> None:
    plan = critical_corpus.CorpusPlan(segments=6, held_out=6, seed=0, carrier_sites={"carried": (SITE,)})
    critical_corpus.write_corpus(tmp_path / "a", plan, carriers=[carrier])
    manifest = read_manifest(tmp_path / "a")
    windows = {site: entry["windows"] for site, entry in manifest.counts["sites"].items()}
    assert windows == {"simulated": 6, "carried": 6, "original": 6}
    assert len(manifest.subjects) == 18
    held = read_carriers(tmp_path / "a", length_s=50.0, hop_s=50.0, without=("simulated", "carried"))
    assert {c.site_id for c in held} == {"original"}
    assert held[0].data.shape == (19, 12800)
    with pytest.raises(ValueError, match="no usable stretch of 60.0 s"):
        read_carriers(tmp_path / "a", length_s=60.0, hop_s=10.0)
    assert critical_corpus.main(["--output", str(tmp_path / "a")]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert critical_corpus.main(["--output", str(tmp_path / "b"), "--segments", "3"]) == 2
    assert "at least 6" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_bad_input(carrier: Carrier) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="'ZPD' is none of"):
        draw_segment(rng, label="ZPD", family=TRAINED[0])
    with pytest.raises(ValueError, match="needs real backgrounds, and was given none"):
        draw_segment(rng, label="LPD", family=TRAINED[1])
    with pytest.raises(ValueError, match="is none of"):
        draw_discharge(rng, "round", 256.0)
    with pytest.raises(ValueError, match="is none of"):
        near_miss(rng, "nothing", GRID, Habits())
    with pytest.raises(ValueError, match="is none of"):
        Wide().draw(rng, "Other", GRID)
    assert SIX_CLASS.classes[:5] == PATTERNED


@pytest.mark.parametrize("family", [Clinical(draw_subject(np.random.default_rng(4))), Wide()], ids=["clinical", "wide"])
@pytest.mark.parametrize("label", PATTERNED)
def test_both_families_of_patterns_keep_one_contract(family: PatternFamily, label: str) -> None:
    for seed in range(3):
        pattern = family.draw(np.random.default_rng(seed), label, GRID)
        again = family.draw(np.random.default_rng(seed), label, GRID)
        np.testing.assert_array_equal(pattern.data, again.data)
        assert pattern.data.shape == (19, 12800)
        start, stop = pattern.span_s
        assert 0 <= start <= 20  # the middle 10 s lie inside
        assert 30 <= stop <= 50
        # one soft edge of at most 0.8 s and half a discharge reach beyond the span
        outside = (GRID.t < start - 1.5) | (GRID.t > stop + 1.5)
        assert np.abs(pattern.data[:, outside]).max(initial=0.0) < 0.05
        kinds = {event.kind for event in pattern.events}
        assert kinds >= {"LPD": {"discharge"}, "GPD": {"discharge"}, "Seizure": {"seizure"}}.get(label, {"rhythm"})
        assert all(start - 0.1 <= event.onset_s <= stop for event in pattern.events)
        if label in ("LPD", "GPD"):
            gaps = np.diff([event.onset_s for event in pattern.events])
            assert 1 / np.median(gaps) == pytest.approx(np.mean(pattern.rate_hz), rel=0.2)
    with pytest.raises(ValueError, match="'Other' is none of Seizure"):
        family.draw(np.random.default_rng(0), "Other", GRID)


def test_the_truth_of_a_family_states_what_was_put_in() -> None:
    segment = draw_segment(np.random.default_rng(2), label="LPD", family=TRAINED[0])
    assert segment.truth.label == "LPD"
    assert segment.truth.of("discharge")
    other = draw_segment(np.random.default_rng(2), label="Other", family=TRAINED[0])
    assert np.isnan(other.truth.prominence)
    assert other.truth.span_s == (0.0, 50.0)
