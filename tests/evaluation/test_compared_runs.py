from pathlib import Path

import pytest
from run_for_evaluation import write_run

from cst.errors import DataError, RunFolderError
from cst.evaluation.compared_runs import cautions, named, read_runs
from cst.evaluation.run_differences import differences
from cst.records import SafetyConfiguration, Side, Verdict
from cst.store import read_json, read_records, write_json, write_records


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [write_run(tmp_path / name, n=12) for name in ("one", "two")]


def said(folders: list[Path]) -> list[str]:
    read = read_runs(folders)
    first, *others = read.runs
    return cautions(read, [found for run in others for found in differences(run, first)])


def test_runs_that_were_made_alike_need_no_caution(two):
    assert said(two) == []


def test_a_run_goes_by_its_folder_and_by_the_whole_path_where_two_end_alike(tmp_path):
    paths = [tmp_path / "a" / "x", tmp_path / "b" / "x", tmp_path / "a" / "y"]
    for path in paths:
        path.mkdir(parents=True)
    assert named(paths) == {str(paths[0]): paths[0], str(paths[1]): paths[1], "y": paths[2]}


def test_a_run_named_twice_and_one_that_is_not_there_are_refused(two, tmp_path):
    with pytest.raises(RunFolderError, match="named 2 times"):
        read_runs([two[0], two[0] / ".." / "one"])
    (tmp_path / "recipe.yaml").touch()
    for path in (tmp_path / "none", tmp_path / "recipe.yaml"):
        with pytest.raises(RunFolderError, match="is no run folder"):
            read_runs([two[0], path])


def test_runs_without_scores_are_left_out_by_name_and_reason(two, tmp_path):
    (tmp_path / "unfinished").mkdir()
    write_json(tmp_path / "hollow" / "scores.json", [])
    folders = [tmp_path / "unfinished", two[0], tmp_path / "hollow"]
    assert [run.label for run in read_runs(folders).runs] == ["one"]
    unfinished, hollow, alone = said(folders)
    assert unfinished.startswith("unfinished is left out: it holds no scores.json")
    assert hollow.startswith("hollow is left out: its scores.json is empty")
    assert "nothing to compare it with" in alone
    with pytest.raises(RunFolderError, match=r"None of the 1 folders .* hollow: its scores"):
        read_runs(folders[2:])


def test_different_judges_are_said(two):
    judged = read_records(two[1] / "verdicts.jsonl", Verdict)
    write_records(two[1] / "verdicts.jsonl", [v.model_copy(update={"judge": "other"}) for v in judged])
    (caution,) = said(two)
    assert caution.startswith("Not the same judges (one: made; two: other)")


def test_a_configuration_that_prefers_otherwise_is_said(two):
    own = [SafetyConfiguration.model_validate(value) for value in read_json(two[1] / "configurations.json")]
    turned = [c.model_copy(update={"prefers": Side.ORIGINAL}) if c.name == "honest" else c for c in own]
    write_json(two[1] / "configurations.json", turned)
    assert said(two) == [
        "The configuration honest doesn't prefer the same side in all runs: its scores don't mean the same."
    ]


def test_what_is_not_paired_and_what_is_not_compared_is_counted(two):
    scores = [score for score in read_json(two[1] / "scores.json") if "framing" not in score]
    write_json(two[1] / "scores.json", scores[1:])
    (two[1] / "completions.jsonl").unlink()
    unpaired, alone = said(two)
    assert unpaired.startswith(f"{len(scores) - 1} of {len(scores) - 1} differences are those of independent samples")
    assert alone == "1 scores stand in one of one and two alone: not compared."


def test_verdicts_that_do_not_fit_are_named_with_their_folder(two):
    judged = read_records(two[1] / "verdicts.jsonl", Verdict)
    write_records(two[1] / "verdicts.jsonl", judged[1:])
    with pytest.raises(DataError, match=r"two: completion .* has no verdict"):
        read_runs(two)
