import numpy as np
import pytest
from scipy.optimize import minimize

from signals.description.features import BANDS, FEATURES
from signals.tasks import SIX_CLASS
from signals.window import ABSENT
from studies.baselines.classical import (
    FLOOR,
    band_powers,
    expanded,
    filled,
    filled_features,
    fit_boosting,
    fit_logistic,
    probabilities,
    stored_features,
)
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled


@pytest.fixture(scope="module")
def data(tmp_path_factory, request):
    write = request.getfixturevalue("write_shards")
    shards = write(tmp_path_factory.mktemp("toy"), n_sites=2, n_subjects=4, n_windows=3, window_s=50.0)
    return labelled(Corpus.open(shards), SIX_CLASS)


def test_features_are_those_of_the_shards(data):
    first = data.shards.window(int(data.windows[0]))
    stored = stored_features(data.shards, data.windows)
    n = 19 * len(FEATURES)
    assert stored.shape == (24, n + 3 * len(FEATURES))
    np.testing.assert_array_equal(stored[0, :n].reshape(19, -1), first.features)
    np.testing.assert_allclose(stored[0, n : n + len(FEATURES)], first.features.mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(filled_features(data.shards, data.windows)[0], first.features.ravel())
    powers = band_powers(data.shards, data.windows)[0].reshape(19, len(BANDS), 2)
    np.testing.assert_array_equal(powers[3, 2, 0], first.features[3, FEATURES.index("alpha_log10_uv2")])


def test_an_absent_channel_has_the_others_mean():
    values = np.array([[[1.0, 10.0], [np.nan, np.nan], [3.0, 30.0]]], dtype=np.float32)
    assert filled(values).tolist() == [[1, 10, 2, 20, 3, 30]]
    assert ABSENT == 0


def test_soft_targets_are_fitted_exactly(data):
    # the penalised cross-entropy to the vote distributions, minimised by SciPy instead
    rows = np.arange(len(data.windows))
    x = np.random.default_rng(0).normal(size=(len(rows), 2))
    model = fit_logistic(x, data, rows, penalty=0.5)
    _, _, weights = expanded(data, rows)
    scaler = model[0]
    z = (x - scaler.mean_) / scaler.scale_
    targets = data.targets / data.targets.sum(axis=1, keepdims=True)

    def loss(flat):
        w, b = flat[:12].reshape(6, 2), flat[12:]
        logits = z @ w.T + b
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -(targets * log_p).sum() / weights.sum() + 0.5 * 0.5 * (w**2).sum()

    best = minimize(loss, np.zeros(18), method="BFGS", options={"gtol": 1e-7})
    logits = z @ best.x[:12].reshape(6, 2).T + best.x[12:]
    seen = np.unique(np.nonzero(targets)[1])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(model, x, 6)[:, seen], expected[:, seen], atol=2e-3)


def test_people_of_one_class_are_refused_in_a_line_of_our_own(data):
    rows = np.flatnonzero((data.targets > 0).sum(axis=1) == 1)
    rows = rows[data.labels[rows] == data.labels[rows[0]]]
    people = len(set(data.subjects[rows].tolist()))
    name = SIX_CLASS.classes[data.labels[rows[0]]]
    with pytest.raises(
        ValueError, match=f"all {len(rows)} windows of {people} training subjects are of class '{name}'"
    ):
        fit_logistic(np.ones((len(data.windows), 2)), data, rows, penalty=0.5)


def test_trees_are_seeded_and_unseen_classes_stay_possible(data):
    x = stored_features(data.shards, data.windows)
    rows = np.flatnonzero(data.labels != 0)
    data_without = data.targets.copy()
    data.targets[:, 0] = 0.0
    try:
        fits = [
            probabilities(fit_boosting(x, data, rows, learning_rate=0.1, max_leaf_nodes=8, seed=seed), x, 6)
            for seed in (0, 0, 1)
        ]
    finally:
        data.targets[:] = data_without
    np.testing.assert_array_equal(fits[0], fits[1])
    assert np.abs(fits[0] - fits[2]).max() > 1e-6
    np.testing.assert_allclose(fits[0].sum(axis=1), 1.0)
    assert (fits[0][:, 0] > 0.9 * FLOOR).all()
    assert (fits[0][:, 0] < 2 * FLOOR).all()


def test_a_feature_that_no_training_window_has_changes_nothing(data):
    x = np.array(stored_features(data.shards, data.windows), dtype=np.float64)
    rows, some = np.arange(0, len(x), 2), np.full((len(x), 1), np.nan)
    some[1::2] = 7.0  # windows that are tested have it
    given = np.column_stack([x, np.zeros(len(x))]), np.column_stack([x, some])
    plain, with_gap = (
        probabilities(fit_boosting(each, data, rows, learning_rate=0.1, max_leaf_nodes=8, seed=0), each, 6)
        for each in given
    )
    np.testing.assert_array_equal(plain, with_gap)


def test_further_sensors_are_no_part_of_what_is_stated_of_the_eeg():
    values = np.array([[[1.0], [3.0], [50.0], [np.nan]]], dtype=np.float32)
    assert filled(values, n_primary=2).tolist() == [[1, 3, 50, 2]]
