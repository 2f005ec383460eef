import itertools

import numpy as np
import pytest

from explain.asking.ask import answers, centred, scores
from explain.asking.occlusion import occlusion, stretches
from explain.asking.parts import BANDS, EDGE_S, Part, Replacer, in_band, regions_of, weight
from explain.asking.shapley import exact, sampled, shapley
from signals.modality import EEG_1020

SFREQ = 64.0
NAMES = EEG_1020.ch_names


def noise(seed, n_chans=19, n_times=256):
    return np.random.default_rng(seed).normal(size=(n_chans, n_times)).astype(np.float32)


def reads(channel, start_s, stop_s, band):
    """A model that sees the power of one channel in one stretch and band, and nothing else."""
    inside = slice(round(start_s * SFREQ), round(stop_s * SFREQ))

    def ask(windows):
        power = (in_band(windows[:, channel].astype(np.float64), band, SFREQ)[:, inside] ** 2).mean(axis=1)
        return np.stack([-power / 2, power / 2], axis=1)

    return ask


def with_burst(channel=4, start_s=1.5, stop_s=2.5, hz=10.0):
    x, t = 0.2 * noise(0), np.arange(256) / SFREQ
    x[channel] += (3 * np.sin(2 * np.pi * hz * t) * ((t >= start_s) & (t < stop_s))).astype(np.float32)
    return x


def test_a_common_number_on_all_logits_changes_nothing():
    logits = np.array([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(centred(logits, 2), [3.0, 0.0])
    np.testing.assert_allclose(centred(logits + 1e3, 2), centred(logits, 2))


def test_batches_change_no_answer_and_what_is_not_finite_is_refused():
    ask, windows = reads(0, 0, 4, None), [noise(k) for k in range(7)]
    np.testing.assert_allclose(answers(ask, windows, batch_size=2), ask(np.stack(windows)), rtol=1e-6)
    with pytest.raises(ValueError, match="no windows"):
        answers(ask, [])
    with pytest.raises(ValueError, match="not finite"):
        answers(lambda x: np.full((len(x), 2), np.nan), windows)


def test_stretches_side_by_side_replace_everything_once():
    edges = [0.0, 0.7, 1.75, 4.0]
    parts = [Part(channels=(0,), start_s=a, stop_s=b) for a, b in itertools.pairwise(edges)]
    np.testing.assert_allclose(sum(weight(p, 256, SFREQ) for p in parts), 1.0, atol=1e-6)
    middle = weight(parts[1], 256, SFREQ)
    t = (np.arange(256) + 0.5) / SFREQ
    assert (middle[(t > 0.7 + EDGE_S) & (t < 1.75 - EDGE_S)] == 1).all()
    assert (middle[(t < 0.7 - EDGE_S) | (t > 1.75 + EDGE_S)] == 0).all()


def test_all_parts_together_are_the_background_and_none_of_them_the_window():
    x, other = noise(1), noise(2)
    replacer = Replacer(x, other, SFREQ)
    edges = [0.0, *(high for _, high in BANDS.values() if high < 32), 33.0]
    parts = [
        Part(channels=rows, start_s=a, stop_s=a + 2, band_hz=band)
        for rows in regions_of(NAMES).values()
        for a in (0.0, 2.0)
        for band in itertools.pairwise(edges)
    ]
    np.testing.assert_allclose(replacer.without(parts), other, atol=1e-4)
    np.testing.assert_array_equal(replacer.without([]), x)
    np.testing.assert_allclose(replacer.only(parts, within=parts), x, atol=1e-4)
    with pytest.raises(ValueError, match="background has shape"):
        Replacer(x, other[:, 1:], SFREQ)


def test_every_channel_is_in_exactly_one_region():
    found = sorted(i for rows in regions_of((*NAMES, "ECG")).values() for i in rows)
    assert found == list(range(20))
    assert regions_of((*NAMES, "ECG"))["ECG"] == (19,)


def test_bands_add_up():
    x = noise(3)
    edges = [0.0, 4.0, 8.0, 13.0, 33.0]
    total = sum(in_band(x, band, SFREQ) for band in itertools.pairwise(edges))
    np.testing.assert_allclose(total, x, atol=1e-5)


@pytest.mark.parametrize("where", [(4, 1.5, 2.5), (16, 0.25, 1.25)])
def test_occlusion_finds_when_where_and_in_which_band(where):
    channel, start_s, stop_s = where
    x = with_burst(channel, start_s, stop_s)
    ask = reads(channel, start_s, stop_s, (8.0, 13.0))
    found = occlusion(ask, x, 1, sfreq=SFREQ, backgrounds=0.2 * noise(5)[None])
    assert int(found.per_channel.argmax()) == channel
    assert start_s <= (int(found.per_step.argmax()) + 0.5) * 0.25 <= stop_s
    assert found.bands[int(found.per_band.argmax())] == BANDS["B3"]
    # The other channels, which the model never reads, get nothing beside it.
    others = np.delete(found.per_channel, channel)
    assert np.abs(others).max() < 0.02 * found.per_channel[channel]


def test_occlusion_of_a_model_that_reads_nothing_is_nothing():
    found = occlusion(lambda w: np.zeros((len(w), 3)), noise(1), 0, sfreq=SFREQ, backgrounds=noise(2)[None])
    np.testing.assert_array_equal(found.values, 0.0)


def test_stretches_are_the_runs_at_half_of_the_largest_strongest_first():
    assert stretches(np.array([0, 2, 3, 0, 4, 4, 4, 1.0])) == [(4, 7), (1, 3)]
    assert stretches(np.zeros(4)) == []
    assert stretches(-np.ones(4)) == []


def test_exact_values_are_those_of_the_definition():
    # Gloves: player 0 has a left one, 1 and 2 have right ones, a pair is worth 1. By the definition 2/3, 1/6, 1/6.
    def game(coalitions):
        return [float(c[0] and (c[1] or c[2])) for c in coalitions]

    np.testing.assert_allclose(exact(game, 3), [2 / 3, 1 / 6, 1 / 6])
    with pytest.raises(ValueError, match="13 players"):
        exact(game, 13)


def test_sampled_values_add_up_whatever_the_orders_and_come_near_the_exact_ones():
    rng = np.random.default_rng(0)
    weights, pairs = rng.normal(size=6), rng.normal(size=(6, 6))

    def game(coalitions):
        return [float(weights @ c + c @ pairs @ c) for c in np.array([np.asarray(c, float) for c in coalitions])]

    few, _ = sampled(game, 6, n_pairs=1, rng=np.random.default_rng(1))
    whole = game([np.ones(6, bool)])[0] - game([np.zeros(6, bool)])[0]
    assert few.sum() == pytest.approx(whole, abs=1e-9)
    many, error = sampled(game, 6, n_pairs=200, rng=np.random.default_rng(1))
    # Antithetic orders are exact for games of pairs: the error is rounding alone.
    np.testing.assert_allclose(many, exact(game, 6), atol=1e-9)
    np.testing.assert_allclose(error, 0, atol=1e-9)


def test_grouped_values_sum_to_the_logits_change_and_sit_in_the_region():
    x, other = with_burst(), 0.2 * noise(5)
    found = shapley(
        reads(4, 1.5, 2.5, (8.0, 13.0)), x, 1, sfreq=SFREQ, background=other, ch_names=NAMES, n_pairs=1,
        bands=[(0.5, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 25.0)],
    )  # fmt: skip
    change = np.diff(scores(reads(4, 1.5, 2.5, (8.0, 13.0)), [other, x], 1))[0]
    assert found.values.sum() == pytest.approx(change, rel=1e-5)
    assert found.sum_error < 1e-5
    assert NAMES[4] == "F7"
    region = regions_of(NAMES)["left front"]
    assert set(np.argsort(-found.per_channel)[:3].tolist()) == set(region)
    assert found.bands[int(found.per_band.argmax())] == (8.0, 13.0)
