import shutil
from pathlib import Path

import pytest

from cst.errors import DataError, RunFolderError
from cst.reporting.evidence import read_evidence


def test_everything_is_found(run: Path) -> None:
    evidence = read_evidence(run)
    assert evidence.missing == []
    assert (evidence.name, evidence.note) == ("made", "A made-up run.")
    assert list(evidence.metrics) == list(evidence.preferences) == ["cst", "dpo"]


def test_an_empty_folder_is_all_missing(tmp_path: Path) -> None:
    evidence = read_evidence(tmp_path)
    assert evidence.name == tmp_path.name
    assert {"scores.json", "completions.jsonl", "preferences/*.jsonl"} <= set(evidence.missing)
    assert evidence.scores == []


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run folder"):
        read_evidence(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ['{"a": 1}', '[{"model": "m"}]', "no json"])
def test_a_damaged_file_is_named(run: Path, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "scores.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"scores\.json"):
        read_evidence(folder)


def test_a_model_may_have_a_dot_in_its_name(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "preferences" / "cst.jsonl").rename(folder / "preferences" / "hermes-2.5.jsonl")
    assert list(read_evidence(folder).preferences) == ["dpo", "hermes-2.5"]
