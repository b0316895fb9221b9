"""Rows with the place they stood at; what is no row is named by that place."""

import json

import pytest

from cst.errors import DataError
from cst.preferences.rows import optional_text_of, read_rows, text_of


def test_a_list_and_lines_give_the_same_rows(tmp_path):
    rows = [{"prompt": "a\u2028b"}, {"prompt": "c", "n": 3}]
    (tmp_path / "list.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "lines.jsonl").write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")

    listed, lined = read_rows(tmp_path / "list.json"), read_rows(tmp_path / "lines.jsonl")

    assert [row for _, row in listed] == [row for _, row in lined] == rows
    assert [where for where, _ in listed] == [f"{tmp_path}/list.json: row {number}" for number in (1, 2)]
    assert [where for where, _ in lined] == [f"{tmp_path}/lines.jsonl:{number}" for number in (1, 3)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "file holds no rows. Check the path"),
        ("\n \n", "file holds no rows"),
        ("[]", "file holds no rows"),
        ('{"a": 1}\n{"a": \n', "file:2 is not JSON: Expecting value. Correct the line;"),
        (
            '{\n"a": [1]\n}',
            "file:1 is not JSON: Expecting property name enclosed in double quotes. Correct the line; rows are",
        ),
        ('[{"a": 1},\n{"a" 1}]', "file:2 is not JSON: Expecting ':' delimiter. Correct the line."),
        ('{"a": 1}\n"text"\n', 'file:2 is "text", and an object with named fields is needed.'),
        ('[{"a": 1}, [3]]', "file: row 2 is [3], and an object with named fields is needed."),
        ('{"a": "\\ud83d"}', "file:1 holds '\\ud83d', half of a character, which no file can hold."),
    ],
)
def test_what_is_no_row_is_named_with_its_place(tmp_path, text, says):
    (tmp_path / "file").write_text(text)

    with pytest.raises(DataError) as refusal:
        read_rows(tmp_path / "file")
    assert says in str(refusal.value)


def test_text_is_given_as_it_is():
    assert text_of({"prompt": " a "}, "prompt", "f:1") == " a "


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"promt": "x", "a": "y"}, "f:1 has no field 'prompt', only ['a', 'promt']. Add it, or rename your column."),
        ({"prompt": 3}, "f:1: prompt is 3, and text is needed. Correct or remove the row."),
        ({"prompt": None}, "f:1: prompt is null, and text is needed."),
        ({"prompt": ["x"] * 99}, "f:1: prompt is [" + '"x", ' * 11),
        ({"prompt": ""}, "f:1: prompt is empty (''). Fill it in, or remove the row."),
        ({"prompt": " \n"}, "f:1: prompt is empty (' \\n')."),
    ],
)
def test_a_field_that_says_nothing_is_named(row, says):
    with pytest.raises(DataError) as refusal:
        text_of(row, "prompt", "f:1")
    assert str(refusal.value).startswith(says)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("row", [{}, {"system": None}, {"system": ""}])
def test_an_optional_field_may_be_missing_null_or_empty(row):
    assert optional_text_of(row, "system", "f:1") is None


def test_an_optional_field_that_is_there_must_be_text():
    assert optional_text_of({"system": "Be good."}, "system", "f:1") == "Be good."
    with pytest.raises(DataError, match="f:1: system is 3, and text is needed"):
        optional_text_of({"system": 3}, "system", "f:1")
