"""Models on pattern features answer in ONNX as their arrays do; a fitted network finds what was planted."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier

from model.patterns.forest import forest_of
from model.patterns.graphs import Member, write_pattern_graph
from model.patterns.logistic import LogisticModel
from model.patterns.perceptron import Perceptron, fit_perceptron

NAMES, CLASSES = tuple("abcde"), ("x", "y", "z")
RNG = np.random.default_rng(0)


def rows(n: int = 300, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32) * [1, 10, 0.1, 1, 100] + [0, 5, 0, -3, 50]


def votes_of(x: np.ndarray) -> np.ndarray:
    """Return votes that the first two columns decide; two of ten experts differ."""
    label = (x[:, 0] > 0).astype(int) + (x[:, 1] > 5)
    return 8.0 * np.eye(3)[label] + 2.0 * np.eye(3)[(label + 1) % 3]


def logistic() -> LogisticModel:
    x = rows()
    return LogisticModel(
        names=NAMES, classes=CLASSES, low=np.quantile(x, 0.01, axis=0), high=np.quantile(x, 0.99, axis=0),
        weight=RNG.normal(size=(5, 3)) / x.std(axis=0)[:, None], offset=RNG.normal(size=3),
    )  # fmt: skip


def forest() -> Member:
    x = rows().astype(np.float32)
    model = ExtraTreesClassifier(15, min_samples_leaf=3, random_state=0).fit(x, votes_of(x).argmax(axis=1))
    return forest_of(model, names=NAMES, classes=CLASSES)


def perceptron() -> Perceptron:
    x = rows()
    return fit_perceptron(x, votes_of(x), names=NAMES, classes=CLASSES, seed=0)


@pytest.mark.parametrize("make", [logistic, forest, perceptron])
def test_a_graph_answers_as_its_model(make, tmp_path: Path) -> None:
    model = make()
    write_pattern_graph(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    x = np.concatenate([rows(50, seed=1), np.full((1, 5), 1e6), np.full((1, 5), -1e6)]).astype(np.float32)
    logits, representation = session.run(["logits", "representation"], {"patterns": x})
    np.testing.assert_allclose(logits, model.logits(x), atol=2e-4, rtol=1e-4)
    assert len(representation) == len(x)
    alone = np.concatenate([session.run(["logits"], {"patterns": row[None]})[0] for row in x])
    np.testing.assert_allclose(alone, logits, atol=1e-5)  # no answer depends on its batch


def test_a_value_at_a_threshold_goes_the_same_way(tmp_path: Path) -> None:
    x = rows().astype(np.float32)
    trees = ExtraTreesClassifier(3, random_state=1).fit(x, votes_of(x).argmax(axis=1))
    model = forest_of(trees, names=NAMES, classes=CLASSES)
    write_pattern_graph(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    inner = model.feature >= 0
    at = np.tile(x[0], (int(inner.sum()), 1))
    at[np.arange(len(at)), model.feature[inner]] = model.threshold[inner]
    np.testing.assert_allclose(session.run(["representation"], {"patterns": at})[0], model.predict(at), atol=1e-6)


def test_a_network_learns_votes_and_its_seed_is_all_that_it_draws() -> None:
    model, unseen = perceptron(), rows(400, seed=7)
    predicted = model.predict(unseen)
    assert (predicted.argmax(axis=1) == votes_of(unseen).argmax(axis=1)).mean() > 0.75
    assert predicted.max(axis=1).mean() < 0.95  # experts differ
    np.testing.assert_array_equal(perceptron().predict(unseen), predicted)
    far = np.where(np.arange(5) == 4, 1e9, unseen[:1])
    held = np.where(np.arange(5) == 4, model.high[4], unseen[:1])
    np.testing.assert_array_equal(model.predict(far), model.predict(held))


def test_bad_input(tmp_path: Path) -> None:
    x = rows(60)
    boosted = GradientBoostingClassifier(n_estimators=2).fit(x, votes_of(x).argmax(axis=1))
    with pytest.raises(ValueError, match="boosted trees"):
        write_pattern_graph(forest_of(boosted, names=NAMES, classes=CLASSES), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"must be \(n, 5\)"):
        perceptron().logits(np.zeros((2, 4)))
