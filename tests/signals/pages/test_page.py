import pytest

from signals.pages.page import CSS, document, flatten, key_values, table


def test_a_document_is_whole_and_escaped():
    html = document("<p>body</p>", title="a < b", css=".x{}")
    assert html.startswith('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">')
    assert "<title>a &lt; b</title>" in html
    assert f"<style>{CSS}.x{{}}</style></head><body><main><h1>a &lt; b</h1><p>body</p></main></body></html>\n" in html
    assert html.endswith("</html>\n")


def test_a_table_keeps_rows_as_they_are():
    assert table(["A", "B"], ["<tr><td>1</td></tr>", "<tr/>"]) == (
        '<div class="scroll"><table><thead><tr><th>A</th><th>B</th></tr></thead>'
        "<tbody><tr><td>1</td></tr><tr/></tbody></table></div>"
    )


def test_names_and_values_are_escaped():
    assert key_values({"a<": "b&", "n": 3}) == (
        "<table class=kv><tbody><tr><td>a&lt;</td><td><code>b&amp;</code></td></tr>"
        "<tr><td>n</td><td><code>3</code></td></tr></tbody></table>"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([1, 2, 3, 4, 5, 6], "1, 2, 3, 4, 5, 6"),
        ([1, 2, 3, 4, 5, 6, 7], "7 entries"),
        ([[1], [2]], "2 entries"),
        ([{"a": 1}], "1 entries"),
        ([], ""),
        (None, None),
        (False, False),
    ],
)
def test_long_and_nested_lists_are_counted(value, shown):
    assert flatten({"x": value}) == {"x": shown}


def test_nested_entries_have_dotted_names():
    assert flatten({"a": {"b": {"c": 1}, "d": 2}, "e": 3}) == {"a.b.c": 1, "a.d": 2, "e": 3}
