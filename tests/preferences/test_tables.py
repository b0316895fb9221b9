"""Tables: what is written by others' writers comes back, and a bad record is named by its line."""

import csv
import io

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from cst.preferences.json_rows import RowFault
from cst.preferences.rows import BadRow, read_rows
from cst.preferences.tables import csv_rows

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(records=st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=5), delimiter=st.sampled_from(",\t"))
def test_what_the_csv_module_writes_is_read_back(records, delimiter):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([["goal", "target"], *records])
    rows = [row for _, row, _ in csv_rows([text.getvalue().encode()], delimiter=delimiter)]

    assert rows == [{"goal": goal, "target": target} for goal, target in records]


def test_a_record_has_the_line_where_it_begins():
    text = b'a,b\n"one\ntwo","x"\n\nthree,y\n'

    assert [(line, row) for line, row, _ in csv_rows([text], delimiter=",")] == [
        (2, {"a": "one\ntwo", "b": "x"}),
        (5, {"a": "three", "b": "y"}),
    ]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (b"1,2,3\n", "has 3 cells, and 2 columns are named (['a', 'b'])."),
        (b"1\n", "has 1 cells, and 2 columns"),
        (b'"1"x,2\n', "is no CSV: ',' expected after '\"'."),
        (b"\xff,2\n", "is not UTF-8"),
        (b"1\0,2\n", "holds a NUL byte"),
        (b'"' + b"x" * 131_073 + b'",2\n', "is no CSV: field larger than field limit (131072)"),
    ],
)
def test_a_bad_record_is_named_and_those_after_it_are_read(record, says):
    (line, fault, text), (after, row, _) = csv_rows([b"a,b\n" + record + b"3,4\n"], delimiter=",")

    assert isinstance(fault, RowFault)
    assert (line, after, row) == (2, 3, {"a": "3", "b": "4"})
    assert str(fault).startswith(says)
    assert text.rstrip("\n") == record.decode(errors="backslashreplace").rstrip("\n")


def test_a_missing_quote_is_said_at_the_record_where_it_is_missing():
    (line, fault, _), *_ = csv_rows([b'a,b\n"1,2\n3,4\n'], delimiter=",")

    assert line == 2
    assert "unexpected end of data" in str(fault)


def test_a_column_named_twice_is_refused():
    ((line, fault, _),) = csv_rows([b"a,a\n"], delimiter=",")

    assert line == 1
    assert "names a column twice" in str(fault)


def test_parquet_is_read_with_its_nested_values(tmp_path):
    rows = [{"prompt": [{"role": "user", "content": f"{n}"}], "n": n} for n in range(2500)]
    Dataset.from_list(rows).to_parquet(str(tmp_path / "rows.parquet"))
    found = list(read_rows(tmp_path / "rows.parquet"))

    assert [each.row for each in found] == rows
    assert found[-1].place == f"{tmp_path}/rows.parquet: row 2500"


def test_damaged_parquet_is_said(tmp_path):
    Dataset.from_list([{"prompt": "x"}] * 100).to_parquet(str(tmp_path / "rows.parquet"))
    data = (tmp_path / "rows.parquet").read_bytes()
    (tmp_path / "rows.parquet").write_bytes(data[: len(data) // 2])
    (bad,) = read_rows(tmp_path / "rows.parquet")

    assert isinstance(bad, BadRow)
    assert "it is no parquet, or damaged" in bad.reason
