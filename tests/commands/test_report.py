"""`cst report` on run folders and `cst export-results`: what is meant, what is written, what is refused."""

import json
from pathlib import Path

import pytest
from run_for_evaluation import write_run
from typer.testing import CliRunner

from cst.cli import app
from cst.commands.report import are_runs
from cst.errors import RecipeError, RunFolderError


def cst(*words: str | Path) -> str:
    """Standard output of a command in this process; its error is raised."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        write_run(home / name, n=6)
    return home


def test_a_recipe_is_told_from_runs_by_their_recipe_json(runs, tmp_path):
    assert are_runs([runs / "one"])
    assert are_runs([runs / "one", tmp_path])
    assert not are_runs([Path("miniature")])
    assert not are_runs([tmp_path])
    assert not are_runs([runs / "one" / "recipe.json"])


def test_runs_are_compared_and_an_earlier_comparison_is_no_run(runs):
    for _ in range(2):
        shown = cst("report", *sorted(runs.iterdir()), "--output", runs / "comparison")
    assert "two less one" in shown
    assert f"{runs}/comparison/comparison.html" in shown
    assert {path.name for path in (runs / "comparison").iterdir()} == {
        *("comparison.html", "comparison.md", "tables"),
    }
    assert (runs / "comparison" / "tables" / "differences.csv").exists()


def test_as_json_it_is_one_value_with_scores_differences_and_cautions(runs, tmp_path):
    recipe = json.loads((runs / "two" / "recipe.json").read_text())
    (runs / "two" / "recipe.json").write_text(json.dumps({**recipe, "seed": 5}))
    told = json.loads(cst("report", runs / "one", runs / "two", "--output", tmp_path, "--json"))
    assert list(told["runs"]) == ["one", "two"]
    assert len(told["differences"]) == len(told["runs"]["one"])
    assert told["made_differently"]["recipe"] == {"seed": {"one": "0", "two": "5"}}
    assert (told["left_out"], told["cautions"]) == ({}, [])
    assert all(Path(name).exists() for name in told["files"])


def test_options_of_a_recipe_and_of_runs_are_not_mixed(runs, tmp_path):
    with pytest.raises(RecipeError, match="are for a recipe, not for runs"):
        cst("report", runs / "one", "--folder", tmp_path)
    with pytest.raises(RecipeError, match="is for a comparison of run folders"):
        cst("report", "miniature", "--output", tmp_path)
    with pytest.raises(RunFolderError, match="is no run folder"):
        cst("report", "recipe.yaml", runs / "one", "--output", tmp_path)
    with pytest.raises(RunFolderError, match="is where the comparison goes"):
        cst("report", runs / "one", "--output", runs / "one")


def test_results_are_exported_into_the_run_unless_told_otherwise(runs):
    told = json.loads(cst("export-results", runs / "two", "--json"))
    assert str(runs / "two" / "results.tex") in told["files"]
    assert all(Path(name).exists() for name in told["files"])
    assert not (runs / "two" / "figures" / "plane.png").exists()
