"""Lines and JSON values are read as they were meant; what can't be is said where it stands, and never guessed."""

import gzip
import io
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.files import (
    FREE_EXPANSION_BYTES,
    MAX_ROW_CHARACTERS,
    MAX_VALUES,
    RowFault,
    Unreadable,
    as_it_stood,
    checked,
    is_open,
    lines,
    opened_text,
    rows_of_document,
    rows_of_lines,
    strict_value,
)

TEXT = '{"prompt": "Grüße, \U0001f600 \u4f60"}\n' * 3
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def read(path) -> str:
    with opened_text(path) as text:
        return text.read()


def row(line: str) -> object:
    """The row of a line, or its fault."""
    ((_, found, _),) = rows_of_lines([(1, line)])
    return found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_text_is_read_as_it_was_meant(tmp_path, encoding, suffix):
    data = TEXT.encode(encoding)
    (tmp_path / f"file{suffix}").write_bytes(gzip.compress(data) if suffix else data)

    assert read(tmp_path / f"file{suffix}") == TEXT


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32", "utf-32-be"])
def test_another_encoding_is_no_row_and_the_row_says_what_to_do(tmp_path, encoding):
    (tmp_path / "file").write_bytes(TEXT.encode(encoding))
    with opened_text(tmp_path / "file") as text:
        found = [fault for _, fault, _ in rows_of_lines(lines(text))]

    assert found
    assert all(isinstance(fault, RowFault) and "to UTF-8" in str(fault) for fault in found)


def test_half_a_pair_of_surrogates_in_utf_16_is_passed_on_for_the_row_to_be_named(tmp_path):
    (tmp_path / "file").write_bytes('"a\ud83db"'.encode("utf-16", "surrogatepass"))

    assert read(tmp_path / "file") == '"a\ud83db"'
    with pytest.raises(RowFault, match="half of a character"):
        checked('"a\ud83db"')


def test_torn_utf_16_is_said(tmp_path):
    (tmp_path / "file").write_bytes(TEXT.encode("utf-16")[:-1])

    with pytest.raises(Unreadable, match="torn or not utf-16"):
        read(tmp_path / "file")


@pytest.mark.parametrize("damage", ["torn", "flipped", "no gz"])
def test_a_damaged_packed_file_is_said(tmp_path, damage):
    data = bytearray(gzip.compress(random.Random(0).randbytes(10_000)))
    if damage == "flipped":
        data[5000] ^= 255
    (tmp_path / "file.gz").write_bytes({"torn": data[:-100], "flipped": data, "no gz": b"plain"}[damage])

    with pytest.raises(Unreadable, match=r"torn or damaged .*Fetch it again"):
        read(tmp_path / "file.gz")


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(8 * FREE_EXPANSION_BYTES), compresslevel=1))
    seen = 0

    with opened_text(tmp_path / "bomb.gz") as text, pytest.raises(Unreadable, match="as a gz bomb's do"):
        while chunk := text.read(2**16):
            seen += len(chunk)
    assert seen <= 4 * FREE_EXPANSION_BYTES


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*none"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="is a folder, and a file is needed"):
        read(tmp_path)


@given(text=st.text(st.sampled_from("a\n \r{"), max_size=30))
def test_lines_joined_are_the_file(text):
    numbered = list(lines(io.StringIO(text, newline="\n")))

    assert "\n".join(line for _, line in numbered) == text.removesuffix("\n")
    assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1))


def test_a_line_too_long_is_let_go_of_and_the_next_one_is_read():
    text = io.StringIO('{"a": "' + "x" * 3 * MAX_ROW_CHARACTERS + '"}\n{"a": 2}')
    (_, fault, excerpt), (number, second, _) = rows_of_lines(lines(text))

    assert "longer than 2097152 characters" in str(fault)
    assert len(excerpt) < 3000
    assert (number, second) == (2, {"a": 2})


@given(row=st.dictionaries(TEXTS, TEXTS | st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_a_row_is_what_was_written(row):
    for escaped in (True, False):
        line = json.dumps(row, ensure_ascii=escaped)
        assert [found for _, found, _ in rows_of_lines([(1, line)])] == [row]
        assert strict_value(line) == row


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
        (b'{"a": 1} 2', "is not JSON: Extra data."),
        (b"{" + b'"a": [' + b"0," * MAX_VALUES + b"0]}", "holds more than 200000 values."),
    ],
)
def test_what_is_no_row_is_said(data, says):
    fault = row(data.decode("utf-8", "surrogateescape"))

    assert isinstance(fault, RowFault)
    assert str(fault).startswith(says)
    assert len(str(fault)) < 300


def test_a_whole_pair_of_surrogates_is_a_character():
    assert row('{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


def test_bytes_that_are_not_utf_8_are_shown():
    assert as_it_stood(b"a\xffb".decode("utf-8", "surrogateescape")) == "a\\xffb"


@given(values=st.lists(st.dictionaries(TEXTS, VALUES), max_size=5), indent=st.sampled_from([None, 0, 2]))
def test_the_rows_of_a_list_are_its_elements(values, indent):
    text = json.dumps(values, indent=indent, ensure_ascii=False)

    assert [found for _, found, _ in rows_of_document(text)] == values


@given(values=st.lists(st.dictionaries(st.text(max_size=3), VALUES), max_size=4))
def test_objects_one_after_the_other_are_told_apart_without_commas(values):
    text = "\n".join(json.dumps(value, indent=1) for value in values)

    assert [found for _, found, _ in rows_of_document(text)] == values


def test_an_element_has_the_line_where_it_begins():
    text = '[\n\n{"a": 1,\n"b": "x\\ny"},\n  {"a": 2}, {"a":\n3}\n]\n'

    assert [line for line, _, _ in rows_of_document(text)] == [3, 5, 5]


def test_a_bad_element_that_is_json_spoils_itself_alone():
    text = '[{"a": 1}, {"a": NaN},\n[2], {"a": 1, "a": 2}, {"a": "\\ud83d"}, {"a": 3}]'
    found = list(rows_of_document(text))

    assert [each for _, each, _ in found if isinstance(each, dict)] == [{"a": 1}, {"a": 3}]
    assert [(line, source) for line, each, source in found if isinstance(each, RowFault)] == [
        (1, '{"a": NaN}'),
        (2, "[2]"),
        (2, '{"a": 1, "a": 2}'),
        (2, '{"a": "\\ud83d"}'),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"a": 1}, {"a"', "is not JSON: Expecting ':' delimiter. Correct it; rows are"),
        ('[{"a": 1}}, {"a": 2}]', "Nothing after it is read."),
        ('[{"a": 1} {"a": 2}]', "is not JSON: Expecting ',' delimiter."),
        ('[{"a": 1},\n', "is never closed: the file is torn"),
        ('[{"a": 1}', "is never closed"),
        ('[{"a": 1}]\n{"b": 2}', "stands after the list's end"),
        ('[{"a": 1},, {"a": 1}]', "a comma stands without a row"),
        ('[, {"a": 1}]', "a comma stands without a row"),
        ('[{"a": 1},]', "a comma stands without a row"),
    ],
)
def test_what_is_wrong_with_a_list_is_one_fault(text, says):
    found = [each for _, each, _ in rows_of_document(text)]
    (fault,) = [each for each in found if isinstance(each, RowFault)]

    assert says in str(fault)
    assert {"a": 1} in found


@pytest.mark.parametrize(
    ("line", "goes_on"),
    [
        ("{", True),
        ('{"a": [1],', True),
        ('{"a":', True),
        ('{"a": 1}', False),
        ('{"a" 1}', False),
        ('{"a": "x', False),
        ("[" * 100_000, False),
    ],
)
def test_a_line_that_is_cut_within_a_value_goes_on(line, goes_on):
    assert is_open(line + "\n") == goes_on
