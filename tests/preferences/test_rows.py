"""Rows with the place they stood at; what is no row is named by that place, and what is sound goes on."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.json_rows import RowFault
from cst.preferences.pieces import MAX_ROW_BYTES
from cst.preferences.rows import BadRow, FoundRow, optional_text_of, read_rows, text_of

IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".txt", "", ".json.gz", ".csv.gz")


def found(path: Path) -> tuple[list[FoundRow], list[BadRow]]:
    rows = list(read_rows(path))
    return [row for row in rows if isinstance(row, FoundRow)], [row for row in rows if isinstance(row, BadRow)]


def test_a_list_and_lines_give_the_same_rows(tmp_path):
    rows = [{"prompt": "a\u2028b"}, {"prompt": "c", "n": 3}]
    (tmp_path / "list.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "lines.jsonl").write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")

    listed, lined = list(read_rows(tmp_path / "list.json")), list(read_rows(tmp_path / "lines.jsonl"))

    assert [each.row for each in listed] == [each.row for each in lined] == rows
    assert [each.place for each in listed] == [f"{tmp_path}/list.json:{line}" for line in (2, 5)]
    assert [each.place for each in lined] == [f"{tmp_path}/lines.jsonl:{line}" for line in (1, 3)]


@pytest.mark.parametrize("text", ["", "\n \n", "[]", "[ \n]"])
@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".txt", ".csv", ""])
def test_a_file_without_rows_is_named(tmp_path, text, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_text("prompt\n" if suffix == ".csv" else "" if "[" in text and suffix == ".txt" else text)

    with pytest.raises(DataError, match=r"file\S* holds no rows\. Check the path"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ('{"a": 1}\n{"a": \n', "file:2", "is not JSON: Expecting value. Correct it; rows are one object a line, or a"),
        ('[{"a": 1},\n{"a" 1}]', "file:2", "is not JSON: Expecting ':' delimiter."),
        ('{"a": 1}\n"text"\n', "file:2", 'is "text", and an object with named fields is needed.'),
        ('[{"a": 1}, [3]]', "file:1", "is [3], and an object with named fields is needed."),
        ('{"a": 1}\n{"a": "\\ud83d"}', "file:2", "holds '\\ud83d', half of a character, which no file can hold."),
        ('[{"a": 1},\n{"a": 2, "a": 3}]', "file:2", "has the key 'a' twice."),
        ('{"a": 1}\n{"a": "x', "file:2", "is not JSON: Unterminated string"),
    ],
)
def test_what_is_no_row_is_named_with_its_place_and_the_others_are_read(tmp_path, text, place, says):
    (tmp_path / "file").write_text(text)
    good, (bad,) = found(tmp_path / "file")

    assert [row.row for row in good] == [{"a": 1}]
    assert bad.place == f"{tmp_path}/{place}"
    assert bad.reason.startswith(says)
    assert bad.text.strip() in text


def test_an_object_over_several_lines_is_one_row(tmp_path):
    (tmp_path / "file.json").write_text('{\n"a": [1],\n"b": "x"}\n')

    assert found(tmp_path / "file.json")[0] == [FoundRow(f"{tmp_path}/file.json:1", {"a": [1], "b": "x"})]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_of_columns_is_a_row_for_each_item(tmp_path, indent):
    columns = {"instructions": ["a", "b"], "inputs": [], "tags": ["x", "y"]}
    (tmp_path / "file.json").write_text(json.dumps(columns, indent=indent))
    good, bad = found(tmp_path / "file.json")

    assert [each.row for each in good] == [{"instructions": "a", "tags": "x"}, {"instructions": "b", "tags": "y"}]
    assert bad == []


def test_columns_of_unequal_length_are_refused(tmp_path):
    (tmp_path / "file.json").write_text('{"instructions": ["a", "b"], "tags": ["x"]}')
    good, (bad,) = found(tmp_path / "file.json")

    assert good == []
    assert "columns of unequal length: {'instructions': 2, 'tags': 1}" in bad.reason


def test_a_conversation_that_stands_alone_is_no_object_of_columns(tmp_path):
    row = {"chosen": [{"role": "user", "content": "a"}], "rejected": [{"role": "user", "content": "b"}]}
    (tmp_path / "file.json").write_text(json.dumps(row))

    assert [each.row for each in found(tmp_path / "file.json")[0]] == [row]


def test_the_first_byte_tells_json_from_plain_text(tmp_path):
    (tmp_path / "prompts").write_text("First?\n  Second?\n")

    assert [each.row for each in read_rows(tmp_path / "prompts")] == [{"prompt": "First?"}, {"prompt": "Second?"}]


@given(data=st.binary(max_size=200) | st.text(st.sampled_from('[]{}",:\\\n a1'), max_size=60).map(str.encode))
@pytest.mark.parametrize("suffix", SUFFIXES)
@IN_A_FOLDER
def test_any_bytes_give_rows_or_faults_or_a_data_error(tmp_path, suffix, data):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)

    try:
        good, bad = found(path)
    except DataError as error:
        assert "holds no rows" in str(error)
        return
    assert good or bad
    assert all(each.place.startswith(str(path)) for each in (*good, *bad))
    json.dumps([each.row for each in good], ensure_ascii=False, allow_nan=False).encode()


@given(data=st.binary(max_size=300))
@IN_A_FOLDER
def test_bytes_that_are_no_parquet_and_no_gz_are_said(tmp_path, data):
    for name in ("file.parquet", "file.jsonl.gz"):
        (tmp_path / name).write_bytes(data)
        try:
            (bad,) = read_rows(tmp_path / name)
        except DataError as error:
            assert "holds no rows" in str(error)
            continue
        assert isinstance(bad, BadRow)
        assert "can't be read on: it is no parquet" in bad.reason or "the gz file is torn or damaged" in bad.reason


def test_what_was_read_before_a_tear_stands_and_the_place_of_the_tear_is_said(tmp_path):
    lines = "".join(
        json.dumps({"prompt": f"{number} {number * 2654435761 % 2**32}"}) + "\n" for number in range(20_000)
    )
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:-1000])
    good, (bad,) = found(tmp_path / "torn.jsonl.gz")

    assert 10_000 < len(good) < 20_000
    assert bad.reason.startswith(f"can't be read on after {good[-1].place}: the gz file is torn")


ATTACKS = {
    "depth": b'{"a": ' + b"[" * 8_000_000 + b"\n",
    "one row": b'{"a": "' + b"x" * 8_000_000 + b'"}\n',
    "one line": b"x" * 8_000_000,
    "many values": b'{"a": [' + b"[]," * 2_000_000 + b"0]}\n",
    "no end": b'[{"a": "' + b"x" * 8_000_000,
    "quote": b'a,b\n"' + (b"x" * 198 + b",\n") * 20_000,
    "bad lines": (b"x" * 199 + b"\n") * 20_000,
    "commas": b"[" + (b"," + b" " * 199) * 20_000 + b"]",
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_no_file_takes_more_than_twice_its_size_of_memory(tmp_path, name, suffix):
    path = tmp_path / f"attack{suffix}"
    path.write_bytes(ATTACKS[name])
    tracemalloc.start()
    try:
        for _ in read_rows(path):
            pass
    except DataError:
        assert name in ("one line", "quote")
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert peak < 2 * len(ATTACKS[name])


def test_the_longest_row_takes_a_bounded_amount_of_memory(tmp_path):
    row = {"prompt": "\U0001f6a2" + "x" * (MAX_ROW_BYTES - 100)}
    path = tmp_path / "row.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False))
    tracemalloc.start()
    read = sum(isinstance(each, FoundRow) for each in read_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert read == 1
    assert peak < 12 * MAX_ROW_BYTES


def test_a_good_file_is_read_in_much_less_memory_than_its_size(tmp_path):
    rows = [{"prompt": "Where is the harbour? \U0001f6a2" * 20, "n": number} for number in range(10_000)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, ensure_ascii=False))
    tracemalloc.start()
    read = sum(1 for _ in read_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert read == 10_000
    assert peak < path.stat().st_size / 2


def test_text_is_given_as_it_is():
    assert text_of({"prompt": " a "}, "prompt") == " a "


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"promt": "x", "a": "y"}, "has no field 'prompt', only ['a', 'promt']. Add it, or map your column to it."),
        ({"prompt": 3}, "has prompt=3, and text is needed. Correct or remove the row."),
        ({"prompt": None}, "has prompt=null, and text is needed."),
        ({"prompt": ["x"] * 99}, "has prompt=[" + '"x", ' * 11),
        ({"prompt": ""}, "has an empty prompt (''). Fill it in, or remove the row."),
        ({"prompt": " \n"}, "has an empty prompt (' \\n')."),
    ],
)
def test_a_field_that_says_nothing_is_named(row, says):
    with pytest.raises(RowFault) as fault:
        text_of(row, "prompt")
    assert str(fault.value).startswith(says)
    assert len(str(fault.value)) < 200


@pytest.mark.parametrize("row", [{}, {"system": None}, {"system": ""}])
def test_an_optional_field_may_be_missing_null_or_empty(row):
    assert optional_text_of(row, "system") is None


def test_an_optional_field_that_is_there_must_be_text():
    assert optional_text_of({"system": "Be good."}, "system") == "Be good."
    with pytest.raises(RowFault, match="has system=3, and text is needed"):
        optional_text_of({"system": 3}, "system")
