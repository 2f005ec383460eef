import numpy as np
import pytest

from training.objectives.validation import knn_accuracy


def test_neighbours_of_other_subjects_decide_the_probe() -> None:
    # Two clouds; each subject is nearest to itself, and labels follow the clouds for all but one window.
    embedding = np.array([[1, 0.0], [1, 0.01], [1, 0.1], [1, 0.11], [0.0, 1], [0.01, 1], [0.1, 1], [0.11, 1]])
    subjects = np.array(list("aabbccdd"))
    labels = np.array(["x", "x", "x", "x", "y", "y", "y", "x"])
    # k=1: windows of a and b find each other, c's find d's nearest, which is labelled y (cosine to [0.1, 1]);
    # d's y finds c: right; d's x finds c's y: wrong. x: 4 of 5, y: 3 of 3.
    assert knn_accuracy(embedding, labels, subjects, k=1) == pytest.approx((4 / 5 + 1) / 2)
    assert knn_accuracy(embedding, labels, np.array(["one"] * 8)) == 0.0
