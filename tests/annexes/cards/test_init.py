"""Cells can't break a table, and code shows what it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cst.annexes.cards import as_code, listed, plain, size_category, table

TEXT = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)


def cells(page: str) -> list[list[str]]:
    """The words of a table's cells, as a reader of GitHub's Markdown sees them."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(page):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            assert {child.type for child in token.children} <= {"text", "code_inline"}
            rows[-1].append("".join(child.content for child in token.children))
    return rows


@given(TEXT, TEXT, TEXT)
def test_a_table_shows_each_cell_as_it_was(first, second, third):
    shown = cells(table(("one", "two"), [(first, second), (as_code(third), "x")]))

    assert shown == [["one", "two"], [first, second], [third, "x"]]


def test_lines_become_one_and_lists_have_one_line_each():
    assert plain("a\nb  c") == "a b c"
    assert listed(["a", "b"]) == "- a\n- b"


@pytest.mark.parametrize(
    ("rows", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**9 - 1, "100M<n<1B"), (10**9, "other"), (10**12, "other")],
)
def test_a_size_has_the_hub_s_name(rows, name):
    assert size_category(rows) == name
