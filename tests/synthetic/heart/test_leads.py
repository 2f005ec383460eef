import numpy as np
import pytest

from synthetic.heart.leads import WITHOUT_P, NoiseLevels, generate
from synthetic.heart.person import CONDITIONS, draw_heart
from synthetic.heart.truth import QRS, P, T

QUIET = NoiseLevels(wander=0.0, mains=0.0, muscle=0.0)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_truth_is_exact_and_limb_leads_depend_on_two(condition):
    made = generate(np.random.default_rng(1), condition)
    one, two, three, right, left, foot = made.x_mv[:6]
    np.testing.assert_allclose(three, two - one, atol=1e-12)
    np.testing.assert_allclose(right, -(one + two) / 2, atol=1e-12)
    np.testing.assert_allclose(left, one - two / 2, atol=1e-12)
    np.testing.assert_allclose(foot, two - one / 2, atol=1e-12)
    kinds = {wave.kind for wave in made.waves}
    assert kinds == ({QRS, T} if condition in WITHOUT_P else {P, QRS, T})
    assert all(wave.onset_s < wave.peak_s < wave.offset_s for wave in made.waves)
    assert all(wave.onset_s >= 0 and wave.offset_s < 10 for wave in made.waves)


def test_nothing_but_waves_moves_a_quiet_record():
    made = generate(np.random.default_rng(2), "normal", noise=QUIET)
    t = np.arange(made.x_mv.shape[1]) / made.sfreq
    inside = np.zeros(len(t), dtype=bool)
    for wave in made.waves:
        inside |= (t > wave.onset_s) & (t < wave.offset_s)
    first, last = made.waves[0].onset_s, made.waves[-1].offset_s
    whole = (t >= first) & (t <= last)
    assert np.abs(made.x_mv[:, whole & ~inside]).max() < 1e-12
    # At the ends of each wave its field is already on its way: truth is no wider than what there is.
    for wave in made.waves:
        edge = (t > wave.onset_s) & (t < wave.onset_s + 0.2 * (wave.peak_s - wave.onset_s))
        assert np.abs(made.x_mv[:, edge]).max() > 0


def test_the_same_seed_gives_the_same_record_and_another_another():
    a, b, c = (generate(np.random.default_rng(seed), "infarction").x_mv for seed in (4, 4, 5))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    with pytest.raises(ValueError, match="'asystole' is none of"):
        draw_heart(np.random.default_rng(0), "asystole")


def test_fibrillation_is_irregular_and_sinus_rhythm_is_not():
    def spread(condition):
        beats = [
            w.peak_s for w in generate(np.random.default_rng(3), condition, duration_s=60.0).waves if w.kind == QRS
        ]
        rr = np.diff(beats)
        return rr.std() / rr.mean()

    assert spread("fibrillation") > 0.12 > 0.06 > spread("normal")
