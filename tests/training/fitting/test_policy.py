import itertools
from dataclasses import fields, replace

import numpy as np
import pytest

from signals.modality import ECG_12, LIMB_LEADS
from signals.tasks import SIX_CLASS, TASKS, Task
from signals.window import MEASURED
from synthetic.heart.leads import NoiseLevels, generate
from training.fitting.policy import CHANGES, LEVELS, at_level, kept, settled, spoilt
from training.objectives.augment import STRENGTHS, Augmentation
from training.objectives.augmenting.disturbances import N_WARP, noise, warped
from training.objectives.augmenting.images import photographed
from training.recipes.finetuning import FinetuneAugment

HEARTS = TASKS["ecg-superclass"]
RHYTHM = Task(
    name="af", classes=("AF", "other"), window_s=10.0, evidence=tuple((c, ("rhythm",)) for c in ("AF", "other"))
)
FORM = Task(name="mi", classes=("MI", "other"), window_s=10.0, evidence=tuple((c, ("shape",)) for c in ("MI", "other")))
FORBIDDEN = {"time_warp", "time_mask", "cutmix", "polarity", "channel_shuffle", "time_shift_s"}


def chosen(augment: FinetuneAugment) -> set[str]:
    return {each.name for each in fields(augment) if each.name != "level" and getattr(augment, each.name) > 0}


def test_every_change_is_a_field_of_recipes_and_the_other_way_round():
    names = {change.name for change in CHANGES}
    assert names == {each.name for each in fields(FinetuneAugment)} - {"level"}
    assert {change.module for change in CHANGES} == {"time", "frequency", "spatial", "mix", "image", "synthetic"}
    assert names - set(STRENGTHS) == {"image", "mixup", "cutmix"}


@pytest.mark.parametrize("level", LEVELS)
def test_no_level_spoils_the_form_of_waves(level):
    assert not FORBIDDEN & chosen(at_level(level, FORM))
    assert not FORBIDDEN & chosen(at_level(level, HEARTS))
    assert "gain_sd" in chosen(at_level(level, FORM))
    assert "gain_sd" not in chosen(at_level(level, HEARTS))  # voltage shows hypertrophy
    assert {"polarity", "channel_shuffle", "band_stop"} <= chosen(at_level(level, RHYTHM))
    assert not {"time_warp", "cutmix", "mixup", "time_mask"} & chosen(at_level(level, RHYTHM))


def test_a_label_of_a_stretch_leaves_time_around_it_to_change():
    found = chosen(at_level(3, SIX_CLASS))
    assert {"time_mask", "cutmix", "time_shift_s", "mirror"} <= found
    assert not {"channel_shuffle", "time_warp"} & found
    assert at_level(3, SIX_CLASS).time_shift_s == 2.0
    short = replace(SIX_CLASS, label_span_s=(20.0, 24.0))
    assert at_level(3, short).time_shift_s == 1.0  # a quarter of 4 s


def test_levels_grow():
    by_level = [at_level(level, SIX_CLASS) for level in LEVELS]
    assert all(getattr(a, name) <= getattr(b, name) for a, b in itertools.pairwise(by_level) for name in chosen(a))
    with pytest.raises(ValueError, match="level=4"):
        at_level(4, FORM)
    with pytest.raises(ValueError, match="'eyes' does not state what shows its classes"):
        at_level(1, TASKS["eyes"])
    with pytest.raises(ValueError, match="level=7"):
        FinetuneAugment(level=7)


def test_given_strengths_lose_what_would_spoil_labels_and_state_so(caplog):
    given = FinetuneAugment(gain_sd=0.1, polarity=0.5, noise_sd=0.1, cutmix=0.3)
    found, out = kept(given, HEARTS)
    assert set(out) == {"gain_sd", "polarity", "cutmix"}
    assert (found.noise_sd, found.gain_sd, found.polarity) == (0.1, 0.0, 0.0)
    assert kept(given, TASKS["eyes"]) == (given, ())
    with caplog.at_level("INFO"):
        assert settled(given, HEARTS) == found
    assert "gain_sd, polarity, cutmix" in caplog.text
    assert settled(replace(given, level=2), HEARTS) == at_level(2, HEARTS)


def test_evidence_is_stated_for_all_classes_in_known_words():
    with pytest.raises(ValueError, match="every class or for none"):
        replace(RHYTHM, evidence=(("AF", ("rhythm",)),))
    with pytest.raises(ValueError, match=r"\['smell'\]"):
        replace(RHYTHM, evidence=tuple((c, ("smell",)) for c in RHYTHM.classes))


def st_mv(x: np.ndarray, record) -> np.ndarray:
    """Mean level of each lead 10 to 40 ms behind the QRS complex, mV."""
    ends = [wave.offset_s for wave in record.waves if wave.kind == "QRS"]
    inside = np.concatenate(
        [np.arange(round((t + 0.01) * record.sfreq), round((t + 0.04) * record.sfreq)) for t in ends]
    )
    return x[:, inside[inside < x.shape[1]]].mean(axis=1)


QUIET = NoiseLevels(wander=0.0, mains=0.0, muscle=0.0)


def test_what_a_level_does_keeps_the_raised_level_of_an_infarction_and_what_it_leaves_out_does_not():
    record = generate(np.random.default_rng(3), "infarction", sfreq=100.0, noise=QUIET)
    x, state = (record.x_mv / 0.25).astype(np.float32), np.full(12, MEASURED)
    before = st_mv(x, record)
    lead = int(np.abs(before).argmax())

    def after(**strengths: float) -> np.ndarray:
        plan = Augmentation(
            sfreq=100.0, window_s=10.0, span_s=None, mirror_with=None, ch_names=ECG_12.ch_names, **strengths
        )
        found = [plan.signal(plan.draw(np.random.default_rng(seed), state), x.copy(), state)[0] for seed in range(8)]
        return np.array([st_mv(each, record)[lead] for each in found]) / before[lead]

    allowed = {name: getattr(at_level(3, HEARTS), name) for name in STRENGTHS}
    assert np.abs(after(**{**allowed, "drop_channels": 0.0}) - 1).max() < 0.25
    assert after(polarity=1.0) == pytest.approx(-1.0)
    assert np.ptp(after(channel_shuffle=1.0)) > 0.5
    assert np.abs(after(time_warp=0.1) - 1).max() > 0.25


def test_warped_time_keeps_its_ends_and_never_runs_backwards():
    x = np.linspace(0, 1, 500, dtype=np.float32)[None]
    for seed in range(20):
        y = warped(x, np.random.default_rng(seed).uniform(0, 2 * np.pi, N_WARP), sd=0.1)
        assert y.dtype == np.float32
        assert (np.diff(y[0]) >= 0).all()
        assert (y[0, 0], y[0, -1]) == (0.0, pytest.approx(1.0))
    assert np.array_equal(warped(x, np.zeros(N_WARP), sd=0.1), x)


def test_noise_keeps_limb_leads_sums_of_two():
    rng = np.random.default_rng(0)
    found = noise(rng, ECG_12.ch_names, 1000, 100.0, sd=0.2)
    one, two = found[0], found[1]
    for row, (a, b) in enumerate(LIMB_LEADS.values()):
        np.testing.assert_allclose(found[row], a * one + b * two, atol=1e-5)
    assert found[6:].std() == pytest.approx(0.2, rel=0.5)
    assert np.linalg.matrix_rank(found, tol=1e-3) == 8
    eeg = noise(rng, ("Fp1", "Cz"), 256 * 200, 256.0, sd=0.2)
    assert abs(np.corrcoef(eeg)[0, 1]) < 0.5


def test_a_photograph_is_an_image_still_and_never_a_mirror_image():
    image = np.ones((3, 64, 96), dtype=np.float32)
    image[:, 30:34, 4:8] = 0.0  # a mark at the left
    for seed in range(10):
        found = photographed(image, np.random.default_rng(seed), strength=1.0)
        assert found.shape == image.shape
        assert (found.dtype, found.min() >= 0, found.max() <= 1) == (np.float32, True, True)
        assert found[0, 20:44, :20].min() < found[0, 20:44, -20:].min()
    assert np.array_equal(photographed(image, np.random.default_rng(0), strength=0.0), image)
    with pytest.raises(ValueError, match="strength=2"):
        photographed(image, np.random.default_rng(0), strength=2)


def test_spoilt_names_what_is_lost():
    polarity = next(change for change in CHANGES if change.name == "polarity")
    assert spoilt(polarity, HEARTS) == {"shape"}
    assert spoilt(polarity, RHYTHM) == frozenset()
