"""What Python's json lets through, and two tools would read differently, is refused with its reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.preferences.json_rows import MAX_VALUES, RowFault, parse
from cst.preferences.pieces import Piece

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(row=st.dictionaries(TEXTS, TEXTS | st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_a_row_is_what_was_written(row):
    for escaped in (True, False):
        assert parse(Piece(1, json.dumps(row, ensure_ascii=escaped).encode())) == row


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "has the key 'a' twice. Keep one of the two."),
        (b'{"a": {"b": 1, "b": 1}}', "has the key 'b' twice."),
        (b'{"a": 1e999}', "holds 1e999, which is no finite number."),
        (b'{"a": NaN}', "holds NaN, which is no finite number."),
        (b'{"a": [-Infinity]}', "holds -Infinity, which"),
        (b'{"a": ' + b"9" * 5000 + b"}", "holds a number that can't be read"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is nested too deep to be a row."),
        (b'{"a": "x', "is not JSON: Unterminated string starting at. Correct it;"),
        (b'{"a": "\\ud83d"}', "holds '\\ud83d', half of a character, which no file can hold."),
        (b'{"a": "\xed\xa0\xbd"}', "is not UTF-8 (bytes ed a0 bd 22 at its byte 7). Convert it to UTF-8."),
        (b'{"a": "\xff"}', "is not UTF-8 (bytes ff"),
        (b'{"a": "\0"}', "holds a NUL byte"),
        (b'["a"]', 'is ["a"], and an object with named fields is needed.'),
        (b"3", "is 3, and an object"),
        (b"{" + b'"a": [' + b"0," * MAX_VALUES + b"0]}", "holds more than 200000 values."),
    ],
)
def test_what_is_no_row_is_said(data, says):
    with pytest.raises(RowFault) as fault:
        parse(Piece(1, data))
    assert str(fault.value).startswith(says)
    assert len(str(fault.value)) < 300


def test_a_whole_pair_of_surrogates_is_a_character():
    assert parse(Piece(1, b'{"a": "\\ud83d\\ude00"}')) == {"a": "\U0001f600"}


def test_a_piece_with_a_fault_is_not_parsed():
    with pytest.raises(RowFault, match=r"is no row: it is too long\."):
        parse(Piece(1, b"{}", "it is too long"))
