"""Tables and data sets: what others write comes back, and a bad record is named by its line."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.files import RowFault, lines
from cst.preferences.rows import BadRow, FoundRow, read_rows
from cst.preferences.tables import HubName, csv_rows, hub_name

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def numbered(data: bytes) -> Iterator[tuple[int, str]]:
    return lines(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="\n"))


@given(records=st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=5), delimiter=st.sampled_from(",\t"))
def test_what_the_csv_module_writes_is_read_back(records, delimiter):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([["goal", "target"], *records])
    rows = [row for _, row, _ in csv_rows(lines(io.StringIO(text.getvalue(), newline="\n")), delimiter=delimiter)]

    assert rows == [{"goal": goal, "target": target} for goal, target in records]


def test_a_record_has_the_line_where_it_begins():
    text = b'a,b\n"one\ntwo","x"\n\nthree,y\n'

    assert [(line, row) for line, row, _ in csv_rows(numbered(text), delimiter=",")] == [
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
    (line, fault, text), (after, row, _) = csv_rows(numbered(b"a,b\n" + record + b"3,4\n"), delimiter=",")

    assert isinstance(fault, RowFault)
    assert (line, after, row) == (2, 3, {"a": "3", "b": "4"})
    assert str(fault).startswith(says)
    assert text.rstrip("\n") == record.decode(errors="backslashreplace").rstrip("\n")


def test_a_missing_quote_is_said_at_the_record_where_it_is_missing():
    (line, fault, _), *_ = csv_rows(numbered(b'a,b\n"1,2\n3,4\n'), delimiter=",")

    assert line == 2
    assert "unexpected end of data" in str(fault)


def test_a_column_named_twice_is_refused():
    ((line, fault, _),) = csv_rows(numbered(b"a,a\n"), delimiter=",")

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


CONFIGS = """---
configs:
- config_name: easy
  data_files: easy/*.parquet
- config_name: hard
  data_files: [{split: train, path: hard/train.parquet}, {split: test, path: hard/test.parquet}]
---
"""


def put(folder, name: str, words: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_list([{"prompt": word, "chosen": "y", "rejected": "n"} for word in words]).to_parquet(folder / name)


@pytest.fixture
def shards(tmp_path):
    """Two shards of one split, and another split."""
    for name, words in (("train-00000-of-00002", "ab"), ("train-00001-of-00002", "c"), ("test-00000-of-00001", "d")):
        put(tmp_path, f"data/{name}.parquet", words)
    return tmp_path


@pytest.fixture
def configs(tmp_path):
    """Two configs, told by the folder's card."""
    (tmp_path / "README.md").write_text(CONFIGS)
    for name, words in (("easy/train", "a"), ("hard/train", "b"), ("hard/test", "c")):
        put(tmp_path, f"{name}.parquet", words)
    return tmp_path


def prompts(name: str) -> list[object]:
    return [found.row["prompt"] for found in read_rows(name) if isinstance(found, FoundRow)]


@pytest.mark.parametrize(("split", "found"), [("", "abc"), (":test", "d"), (":default:test", "d"), (":all", "abcd")])
def test_shards_are_read_in_order_split_by_split(shards, split, found):
    assert prompts(f"hub:{shards}{split}") == list(found)
    assert next(iter(read_rows(f"hub:{shards}{split}"))).place == f"hub:{shards}{split}: row 1"


@pytest.mark.parametrize(("name", "found"), [(":easy:train", "a"), (":hard:train", "b"), (":hard:test", "c")])
def test_a_config_is_read_by_its_name(configs, name, found):
    assert prompts(f"hub:{configs}{name}") == [found]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (":validation", r"Bad split: validation\. Available splits: .*'train'.*\. Name a config and a split"),
        (":none:train", r"BuilderConfig 'none' not found\. Available: \['default'\]\. Name a config"),
        (":a:b:c", "has too many colons; write hub:OWNER/NAME"),
        ("/data/none", "is no folder here, and no name of a data set on the hub; write hub:OWNER/NAME"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(shards, name, said):
    with pytest.raises(DataError, match=said):
        list(read_rows(f"hub:{shards}{name}"))


def test_a_config_must_be_named_where_there_are_several(configs):
    with pytest.raises(DataError, match=r"available configs: \['easy', 'hard'\]\. Name a config and a split"):
        list(read_rows(f"hub:{configs}"))


def test_a_folder_without_data_and_one_with_a_script_are_refused(tmp_path):
    (tmp_path / "data.py").write_text("raise SystemExit('was run')")
    with pytest.raises(DataError, match=r"can't be opened: .*Name a folder with whole data files"):
        list(read_rows(f"hub:{tmp_path}"))


def test_a_shard_with_other_columns_ends_the_reading_after_the_rows_before_it(shards):
    Dataset.from_list([{"other": 1}]).to_parquet(shards / "data" / "train-00001-of-00002.parquet")
    *good, bad = read_rows(f"hub:{shards}")

    assert [found.row["prompt"] for found in good if isinstance(found, FoundRow)] == ["a", "b"]
    assert isinstance(bad, BadRow)
    assert "can't be read on after" in bad.reason
    assert "column names don't match" in bad.reason


def test_a_name_has_its_parts():
    assert hub_name("hub:owner/name") == HubName("owner/name", None, None, "train")
    assert hub_name("hub:owner/name@refs/pr/1:test") == HubName("owner/name", "refs/pr/1", None, "test")
    assert hub_name("hub:owner/name@v1.0:hard:test") == HubName("owner/name", "v1.0", "hard", "test")


@pytest.mark.parametrize("name", ["hub:json", "hub:", "hub:./none", "hub:a//b", "hub:a/b/c", "hub:-a/b"])
def test_what_is_no_name_is_refused_before_anything_is_asked(name):
    with pytest.raises(DataError, match="is no folder here, and no name of a data set on the hub"):
        hub_name(name)


@pytest.mark.parametrize("revision", ["", "@v2"])
def test_a_data_set_that_can_not_be_reached_is_one_line_with_a_way_out(tmp_path, revision):
    done = subprocess.run(
        [sys.executable, "-m", "cst", "audit", f"hub:some-owner/none{revision}"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "Couldn't reach 'some-owner/none' on the Hub" in done.stderr
    assert "hf download --repo-type dataset some-owner/none --local-dir DIR" in done.stderr
