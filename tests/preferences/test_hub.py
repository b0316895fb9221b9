"""Data sets as the hub has them, read from folders; whatever isn't there is one sentence with what to do."""

import os
import subprocess
import sys

import pytest
from datasets import Dataset

from cst.errors import DataError
from cst.preferences.hub import HubName, hub_name
from cst.preferences.rows import BadRow, FoundRow, read_rows

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
