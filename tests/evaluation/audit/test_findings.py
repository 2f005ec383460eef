"""How findings are put into words."""

import pytest

from evaluation.audit.findings import some


@pytest.mark.parametrize(
    ("names", "text"),
    [((), ""), ("b", "b"), ("cba", "a, b, c"), ("dcba", "a, b, c and 1 more"), (range(9), "0, 1, 2 and 6 more")],
)
def test_three_names_stand_for_many(names, text):
    assert some(names) == text
