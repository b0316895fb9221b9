"""Published answers as pandas writes them; all texts are benign stand-ins."""

from pathlib import Path

import pandas
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.evaluation.published_table import PublishedRow, cell_of, cells_of, stream_published, write_published

MARKS = ["|", "\\", "<br>", "&#13;", "&#32;", "\n", "\r", " ", "\t", "a", "\u2028", "é"]
AWKWARD = st.lists(st.sampled_from(MARKS)).map("".join)
TEXTS = AWKWARD | st.text()
ROWS = st.lists(
    st.builds(
        PublishedRow,
        prompt=TEXTS.filter(bool),
        response=TEXTS,
        system_prompt=TEXTS,
        score_response=st.sampled_from([0, 1, None]),
    ),
    min_size=1,
    max_size=4,
)
HEADER = "| prompt | response | system_prompt | score_response |\n|:--|:--|:--|--:|\n"


def read(path: Path) -> list[PublishedRow]:
    return list(stream_published(path))


@given(ROWS)
@example([PublishedRow(prompt=" |\\", response="\\|\\\n<br>\\<br> ", system_prompt="&#32;\\\\ ", score_response=None)])
def test_written_and_read_every_row_is_the_same_and_so_is_the_file(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tables") / "table.md"
    write_published(path, rows, scored=True)
    first = path.read_bytes()
    assert read(path) == rows
    write_published(path, read(path), scored=True)
    assert path.read_bytes() == first


@given(TEXTS)
def test_a_text_stands_in_one_line_of_one_cell(text):
    written = cell_of(text)
    assert not {"\n", "\r"} & set(written)
    assert cells_of(f"| {written} |") == cells_of(f"|{written} |") == [text]


def test_a_table_is_what_pandas_writes(tmp_path):
    rows = [
        PublishedRow(prompt="How do I brew tea?", response="Boil the water. " * 9 + "Pour.", system_prompt="Be kind."),
        PublishedRow(prompt="How do I bake bread at home?", response="Knead.", system_prompt="Be kind, and be brief."),
    ]
    rated = [row.model_copy(update={"score_response": rating}) for row, rating in zip(rows, (0, 1), strict=True)]
    for scored in (True, False):
        write_published(tmp_path / "table.md", rated, scored=scored)
        frame = pandas.DataFrame([row.model_dump() for row in rated])
        expected = (frame if scored else frame.drop(columns="score_response")).to_markdown(index=False)
        assert (tmp_path / "table.md").read_bytes() == expected.encode()
        assert read(tmp_path / "table.md") == (rated if scored else rows)


def test_ratings_are_read_as_pandas_writes_them_beside_missing_ones(tmp_path):
    frame = pandas.DataFrame(
        {"prompt": list("abc"), "response": "r", "system_prompt": "s", "score_response": [1, 0, None]}
    )
    frame.to_markdown(tmp_path / "table.md", index=False)
    assert [row.score_response for row in read(tmp_path / "table.md")] == [1, 0, None]


def test_line_ends_of_another_system_and_empty_lines_make_no_difference(tmp_path):
    text = f"\n{HEADER}| a | b | c | 1 |\n\n"
    (tmp_path / "table.md").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read(tmp_path / "table.md") == [PublishedRow(prompt="a", response="b", system_prompt="c", score_response=1)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("| a | b|c | d | 1 |", r"table.md:4 has 5 cells between pipes, and the table has 4 columns; write a pipe"),
        ("| a | b | c | 1", r"table.md:4 has 0 cells"),
        ("words", r"table.md:4 has 0 cells"),
        ("|   | more of an answer |  |  |", r"table.md:4 has no prompt; if it goes on with the row above"),
        ("| a | b | c | 2 |", r"table.md:4 has score_response='2'; write 1 \(harmless\), 0 \(harmful\), or nothing"),
    ],
)
def test_a_bad_row_is_named_after_the_good_ones(tmp_path, row, said):
    (tmp_path / "table.md").write_text(f"{HEADER}| a | b | c | 1 |\n{row}\n| a | b | c | 0 |\n")
    found = stream_published(tmp_path / "table.md")
    assert [next(found).score_response, next(found).score_response] == [1, 0]
    with pytest.raises(DataError, match=f"1 of 3 rows can't be used. .*{said}"):
        next(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"table.md:1 is no header of published answers: it has the columns \[\]"),
        ("| prompt | answer |\n", r"columns \['prompt', 'answer'\], and prompt \| response \| system_prompt"),
        (HEADER.replace("--:", "ab"), r"table.md:2 is not the line"),
        (HEADER, "a header and no rows"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, said):
    (tmp_path / "table.md").write_text(text)
    with pytest.raises(DataError, match=said):
        read(tmp_path / "table.md")


def test_rows_are_read_one_by_one(tmp_path):
    """A row is given before the next is looked at: what comes after it may be anything, also no UTF-8."""
    (tmp_path / "table.md").write_bytes(f"{HEADER}| a | b | c | 1 |\n".encode() + b"| \xff |\n")
    found = stream_published(tmp_path / "table.md")
    assert next(found).prompt == "a"
    with pytest.raises(DataError, match=r"table.md is not UTF-8"):
        next(found)
