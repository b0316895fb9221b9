"""Checksums of exported files: as `sha256sum` has them, and checked before a row is used."""

import shutil
import subprocess

import pytest

from cst.annexes.audit import audit
from cst.checksums import checksum_file, refuse_damaged, write_checksum
from cst.errors import DataError, RunFolderError
from cst.markers import RECIPE, write_marker
from cst.preferences.sources import read_preferences, stream_prompts

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
            refuse_damaged(file)
    file.write_text(ROW.upper())
    assert subprocess.run(words, cwd=tmp_path, check=False).returncode == 1
    with pytest.raises(DataError):
        refuse_damaged(file)


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
        refuse_damaged(file)


def test_a_checksum_without_its_file_is_a_missing_file(tmp_path):
    file = file_of(tmp_path)
    file.unlink()
    with pytest.raises(DataError, match="There is no file"):
        refuse_damaged(file)


def test_a_file_of_a_run_is_checked_against_its_marker(tmp_path, monkeypatch):
    (tmp_path / "rows.jsonl").write_text(ROW)
    write_marker(tmp_path, RECIPE, "key", "made", outputs=["rows.jsonl"])
    monkeypatch.chdir(tmp_path)
    assert read_preferences("rows.jsonl")
    (tmp_path / "rows.jsonl").write_text(ROW.replace("Yes.", "Yet."))
    for use in (read_preferences, audit):
        with pytest.raises(RunFolderError, match=r"rows\.jsonl has changed since it was made"):
            use("rows.jsonl")
