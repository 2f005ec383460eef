"""The bench of what the queue saves: its arithmetic, and its small form to the end."""

import math
import sys

import pytest

from benchmarks.benches.services.review import labels_needed, main, share_saved


def test_labels_are_counted_between_batches():
    assert labels_needed([0.3, 0.5, 0.4, 0.7], 0.5, 10) == 10.0
    # From the best so far, 0.5 with 10 labels, to 0.7 with 30: 0.6 is half of the last batch.
    assert labels_needed([0.3, 0.5, 0.4, 0.7], 0.6, 10) == pytest.approx(25.0)
    assert labels_needed([0.6, 0.5], 0.5, 10) == 0.0
    assert labels_needed([0.3, 0.4], 0.5, 10) == float("inf")


def test_what_is_saved_is_a_share_of_what_random_choice_needs():
    random, queue = [0.2, 0.4, 0.5, 0.6], [0.2, 0.5, 0.6, 0.6]
    assert share_saved(queue, random, 8) == pytest.approx(1 - 16 / 24)
    assert share_saved([0.2, 0.3], [0.2, 0.4], 8) == -math.inf  # never as good
    assert math.isnan(share_saved([0.2, 0.3], [0.4, 0.3], 8))  # labels do not help: nothing to save


def test_the_small_form_runs(monkeypatch, capsys):
    options = {"seeds": 1, "first-seed": 3, "patients": 4, "batch": 6, "labels": 12}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["review", *words])
    main()
    out = capsys.readouterr().out
    for name in ("active_accuracy_queue", "active_accuracy_random", "active_labels_saved"):
        assert f"figure {name} " in out
    assert sum(line.startswith("seed 3, ") for line in out.splitlines()) == 2
