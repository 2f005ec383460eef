"""Trees and regressions as arrays answer as scikit-learn does."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from model.patterns.forest import forest_of
from model.patterns.logistic import logistic_of

NAMES, CLASSES = tuple("abcde"), ("x", "y", "z")


def _data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5)).astype(np.float32)
    return x, (x[:, 0] + 0.5 * x[:, 1] > 0).astype(int) + (x[:, 2] > 1), rng.normal(size=(400, 5)).astype(np.float32)


@pytest.mark.parametrize(
    "model",
    [
        ExtraTreesClassifier(20, min_samples_leaf=2, random_state=0),
        GradientBoostingClassifier(n_estimators=12, max_depth=3, learning_rate=0.2, random_state=0),
    ],
    ids=["extra trees", "boosting"],
)
def test_it_answers_as_scikit_learn_does(model: ExtraTreesClassifier) -> None:
    x, y, unseen = _data()
    model.fit(x, y, sample_weight=np.linspace(0.5, 2, len(y)))
    forest = forest_of(model, names=NAMES, classes=CLASSES)
    np.testing.assert_allclose(forest.predict(unseen), model.predict_proba(unseen), atol=1e-5)
    np.testing.assert_allclose(forest.logits(unseen), np.log(np.maximum(forest.predict(unseen), 1e-3)))


def test_a_value_at_the_threshold_goes_left() -> None:
    # 0.1 as float32 lies above 0.1 as float64: rounding the threshold to nearest would send it the other way.
    x = np.array([[0.1], [0.3]], np.float32)
    model = ExtraTreesClassifier(1, random_state=0).fit(np.repeat(x, 5, axis=0), [0] * 5 + [1] * 5)
    model.estimators_[0].tree_.threshold[0] = 0.1
    predicted = forest_of(model, names="a", classes=("p", "q")).predict(x)
    np.testing.assert_array_equal(predicted, model.predict_proba(x))


def test_a_regression_answers_as_scikit_learn_does() -> None:
    x, y, unseen = _data()
    mean, scale, limits = x.mean(axis=0), x.std(axis=0), (x.min(axis=0), x.max(axis=0))
    model = LogisticRegression().fit((x - mean) / scale, y)
    linear = logistic_of(
        mean, scale, model.coef_, model.intercept_, limits=limits, names=NAMES, classes=CLASSES
    )  # fmt: skip
    expected = model.predict_proba((np.clip(unseen, *limits) - mean) / scale)
    np.testing.assert_allclose(linear.predict(unseen), expected, atol=1e-6)
    np.testing.assert_array_equal(linear.predict(1e6 * np.ones((1, 5))), linear.predict(limits[1][None]))
    with pytest.raises(ValueError, match=r"must be \(n, 5\)"):
        linear.predict(np.zeros((3, 4)))


def test_bad_input() -> None:
    x, y, _ = _data()
    model = ExtraTreesClassifier(2, random_state=0).fit(x, y)
    with pytest.raises(ValueError, match=r"knows the classes \[0, 1, 2\]"):
        forest_of(model, names=NAMES, classes=("x", "y"))
    with pytest.raises(ValueError, match=r"reads \(n, 5\)"):
        forest_of(model, names=NAMES, classes=CLASSES).predict(np.zeros((3, 4)))
