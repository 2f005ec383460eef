import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.pages.svg import line, number, svg, text, ticks


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(None, 2, "–"), (0.126, 2, "0.13"), (-0.5, 1, "−0.5"), (-0.001, 2, "0.00"), (3, 0, "3"), (1234.5, 1, "1234.5")],
)
def test_numbers(value, digits, shown):
    assert number(value, digits) == shown


def test_two_digits_unless_others_are_given():
    assert number(0.126) == "0.13"


def test_elements():
    assert svg(10.4, "<g/>", "a & b") == '<svg viewBox="0 0 440 10" role="img" aria-label="a &amp; b"><g/></svg>'
    assert svg(5, "", "x", width=60.5).startswith('<svg viewBox="0 0 60.5 5"')
    assert text(1, 2.25, "<µV>") == '<text x="1.0" y="2.2" text-anchor="start" class="">&lt;µV&gt;</text>'
    assert 'text-anchor="end" class="soft"' in text(1, 2, "a", anchor="end", cls="soft")
    assert line(1, 2, 3, 4.56) == ('<line x1="1.0" y1="2.0" x2="3.0" y2="4.6" stroke="#d5dbdf" stroke-width="1"/>')
    assert line(0, 0, 1, 1, colour="red", width=2, dash="2 4").endswith(
        'stroke="red" stroke-width="2" stroke-dasharray="2 4"/>'
    )


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 6, [0, 1, 2, 3, 4, 5, 6]),
        (0, 6.1, [0, 2, 4, 6, 8]),
        (0, 30, [0, 5, 10, 15, 20, 25, 30]),
        (0, 50, [0, 10, 20, 30, 40, 50]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.35, 0.3, [-0.4, -0.2, 0.0, 0.2, 0.4]),
        (0, 51, [0, 10, 20, 30, 40, 50, 60]),
    ],
)
def test_ticks(low, high, marks):
    assert ticks(low, high) == marks


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6))
def test_a_few_round_numbers_cover_any_range(low, span):
    high = low + span
    marks = ticks(low, high)
    slack = 1e-9 * max(abs(low), abs(high), 1.0)
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    assert 2 <= len(marks) <= 9
    steps = {round(b - a, 9) for a, b in itertools.pairwise(marks)}
    assert max(steps) == pytest.approx(min(steps), rel=1e-6)
    # 1, 2 or 5 times a power of ten.
    assert f"{max(steps):.3e}"[:5] in {"1.000", "2.000", "5.000"}
