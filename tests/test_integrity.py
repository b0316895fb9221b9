"""Markers and checksums say what is true, and a changed file or marker is rejected wherever it is used."""

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cst.annexes.audit import audit
from cst.errors import DataError, RunFolderError
from cst.integrity import (
    RECIPE,
    changed,
    checksum_file,
    fingerprint_of_path,
    intent_path,
    marker_path,
    read_marker,
    reject_changed,
    reject_damaged,
    write_checksum,
    write_marker,
)
from cst.preferences.sources import read_preferences, stream_prompts


@pytest.fixture
def home(tmp_path):
    """A folder whose recipe has one file, and whose one stage made a folder and a file."""
    for name, text in {"recipe.json": "{}", "made/adapter/a": "1", "made/adapter/b": "2", "made/log": "3"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    write_marker(tmp_path, RECIPE, "key", "made", outputs=["recipe.json"])
    write_marker(tmp_path, "train", "key", "made", outputs=["made/adapter"], by_products=["made/log", "made/none"])
    return tmp_path


def test_a_marker_says_what_is_there(home):
    marker = read_marker(marker_path(home, "train"))
    assert marker.outputs == {"made/adapter": fingerprint_of_path(home / "made" / "adapter")}
    assert list(marker.by_products) == ["made/log"]
    assert changed(home, marker, within=home) == []
    reject_changed(home)


@pytest.mark.parametrize(
    "asked", ["", "made", "made/adapter", "made/adapter/a", "made/adapter/b", "made/../made/adapter"]
)
def test_a_change_is_refused_wherever_it_is_looked_at(home, asked):
    (home / "made" / "adapter" / "a").write_text("0")
    with pytest.raises(RunFolderError, match="adapter has changed since it was made"):
        reject_changed(home / asked)
    for other in ("recipe.json", "made/log", "elsewhere"):
        reject_changed(home / other)


def test_a_file_more_or_another_name_in_a_folder_is_a_change(home):
    (home / "made" / "adapter" / "a").rename(home / "made" / "adapter" / "c")
    with pytest.raises(RunFolderError, match="has changed"):
        reject_changed(home)


def test_what_was_deleted_and_what_is_being_made_is_passed_over(home):
    (home / "made" / "log").unlink()
    reject_changed(home)
    (home / "made" / "adapter" / "a").write_text("0")
    intent_path(home, "train").write_text("key")
    reject_changed(home)


def test_a_path_in_no_run_folder_passes(tmp_path):
    reject_changed(tmp_path / "rows.jsonl")


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_of_a_marker_is_refused_or_says_the_same(home, data):
    file = marker_path(home, "train")
    before, said = file.read_bytes(), read_marker(file)
    flipped = bytearray(before)
    flipped[data.draw(st.integers(0, len(before) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(flipped)
    try:
        assert read_marker(file) == said
    except RunFolderError as error:
        assert "Delete it together with" in str(error)
    finally:
        file.write_bytes(before)


ROW = '{"prompt": "Hi?", "chosen": "Yes.", "rejected": "No."}\n'
PROMPT = '{"prompt": "Hi?"}\n'


def file_of(folder, text=ROW, name="rows.jsonl"):
    (folder / name).write_text(text)
    write_checksum(folder / name)
    return folder / name


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum isn't installed")
@pytest.mark.parametrize("name", ["rows.jsonl", "my rows \\ é.jsonl"])
def test_sha256sum_and_cst_agree(tmp_path, name):
    file = file_of(tmp_path, name=name)
    words = ["sha256sum", "--check", "--strict", "--status", checksum_file(file).name]
    assert subprocess.run(words, cwd=tmp_path, check=False).returncode == 0
    for option in ("--text", "--binary"):
        theirs = subprocess.run(["sha256sum", option, "rows.jsonl"], cwd=tmp_path, capture_output=True, check=False)
        if theirs.returncode == 0:
            checksum_file(file).write_bytes(theirs.stdout)
            reject_damaged(file)
    file.write_text(ROW.upper())
    assert subprocess.run(words, cwd=tmp_path, check=False).returncode == 1
    with pytest.raises(DataError):
        reject_damaged(file)


def test_a_changed_file_is_refused_before_a_row_is_used(tmp_path):
    file = file_of(tmp_path)
    assert [row.chosen for row in read_preferences(file)] == ["Yes."]
    file.write_text(ROW.replace("Yes.", "Yet."))
    for use in (read_preferences, audit, lambda path: audit(file_of(tmp_path, name="other.jsonl"), held_out=path)):
        with pytest.raises(DataError, match=r"rows\.jsonl isn't the file that rows\.jsonl\.sha256 was written for"):
            use(file)
    checksum_file(file).unlink()
    assert [row.chosen for row in read_preferences(file)] == ["Yet."]


def test_prompts_are_refused_before_the_first_is_given(tmp_path):
    file = file_of(tmp_path, PROMPT)
    file.write_text(PROMPT.replace("Hi", "Ho"))
    with pytest.raises(DataError, match="Export or fetch both again"):
        next(stream_prompts(file))


@pytest.mark.parametrize("text", ["", "rubbish", f"{'0' * 63}  rows.jsonl\n", f"{'0' * 64}  other.jsonl\n"])
def test_a_checksum_that_says_nothing_of_the_file_is_refused(tmp_path, text):
    file = file_of(tmp_path)
    checksum_file(file).write_text(text)
    with pytest.raises(DataError, match=r"rows\.jsonl\.sha256 isn't one line of sha256sum about rows\.jsonl"):
        reject_damaged(file)


def test_a_checksum_without_its_file_is_a_missing_file(tmp_path):
    file = file_of(tmp_path)
    file.unlink()
    with pytest.raises(DataError, match="There is no file"):
        reject_damaged(file)


def test_a_file_of_a_run_is_checked_against_its_marker(tmp_path, monkeypatch):
    (tmp_path / "rows.jsonl").write_text(ROW)
    write_marker(tmp_path, RECIPE, "key", "made", outputs=["rows.jsonl"])
    monkeypatch.chdir(tmp_path)
    assert read_preferences("rows.jsonl")
    (tmp_path / "rows.jsonl").write_text(ROW.replace("Yes.", "Yet."))
    for use in (read_preferences, audit):
        with pytest.raises(RunFolderError, match=r"rows\.jsonl has changed since it was made"):
            use("rows.jsonl")
