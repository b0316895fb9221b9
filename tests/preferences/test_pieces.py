"""Cutting is parsing without the parsing: the pieces of a list are its elements, however the file comes in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.preferences.pieces import EXCERPT_BYTES, MAX_ROW_BYTES, lines, list_elements, objects

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def in_chunks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(values=st.lists(VALUES, max_size=5), indent=st.sampled_from([None, 0, 2]), size=st.integers(1, 40))
def test_the_pieces_of_a_list_are_its_elements(values, indent, size):
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    pieces = list(list_elements(in_chunks(text.encode(), size)))

    assert [piece.fault for piece in pieces] == [None] * len(values)
    assert [json.loads(piece.data) for piece in pieces] == values


@given(values=st.lists(st.dictionaries(st.text(max_size=3), VALUES), max_size=4), size=st.integers(1, 40))
def test_objects_one_after_the_other_are_told_apart_without_commas(values, size):
    text = "\n".join(json.dumps(value, indent=1) for value in values)

    assert [json.loads(piece.data) for piece in objects(in_chunks(text.encode(), size))] == values


@given(data=st.binary(max_size=60), size=st.integers(1, 9))
@pytest.mark.parametrize("cut", [lines, list_elements, objects])
def test_pieces_do_not_hang_on_how_the_file_was_read(cut, data, size):
    data = b"[" * (cut is list_elements) + data

    assert list(cut(in_chunks(data, size))) == list(cut([data]))


@given(data=st.binary(max_size=60))
def test_lines_joined_are_the_file(data):
    joined = b"\n".join(piece.data for piece in lines([data]))

    assert data.rstrip() == joined.rstrip()


def test_a_piece_has_the_line_where_it_begins():
    text = b'[\n\n{"a": 1,\n"b": "x\\ny"},\n  {"a": 2}, {"a":\n3}\n]\n'

    assert [piece.line for piece in list_elements([text])] == [3, 5, 5]


def test_a_bad_element_spoils_itself_alone():
    text = b'[{"a": 1}}, {"a": "never closed},\n{"a": 2},\n, {"a": 3}]'
    pieces = list(list_elements([text]))

    assert [piece.data for piece in pieces[:1]] == [b'{"a": 1}}']
    assert pieces[-1].fault is not None or json.loads(pieces[-1].data) == {"a": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'[{"a": 1}, {"a"', "is never closed: the file is torn"),
        (b'[{"a": 1},\n', "is never closed"),
        (b'[{"a": 1}]\n{"b": 2}', "stands after the list's end"),
        (b'[{"a": 1},, {"b": 2}]', "nothing before the comma"),
        (b'[{"a": 1},]', "nothing before the comma"),
    ],
)
def test_what_is_wrong_with_a_list_is_a_fault_of_a_piece(text, says):
    faults = [piece.fault for piece in list_elements([text]) if piece.fault is not None]

    assert len(faults) == 1
    assert says in faults[0]


@pytest.mark.parametrize("cut", [lines, list_elements, objects])
def test_a_piece_too_long_is_let_go_of_and_the_next_one_is_read(cut):
    ends = {lines: b"\n%s\n", list_elements: b",\n%s]", objects: b"\n%s"}[cut]
    begins = b"[" if cut is list_elements else b""
    long = b'{"a": "' + b"x" * MAX_ROW_BYTES + b'"}'
    first, second = cut(in_chunks(begins + long + ends % b'{"a": 2}', 2**16))

    assert "longer than 2097152 bytes" in first.fault
    assert len(first.data) <= EXCERPT_BYTES + 2**16
    assert (second.line, second.data.strip(), second.fault) == (2, b'{"a": 2}', None)


def test_depth_is_no_matter():
    deep = b"[" * 100_000 + b"]" * 100_000

    assert [piece.data for piece in list_elements([b"[1," + deep + b",2]"])] == [b"1", deep, b"2"]
