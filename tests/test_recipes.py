"""Every recipe in the repository, and the one that ships inside the package, is read as it stands."""

from pathlib import Path

import pytest

from cst.doors import open_workshop
from cst.recipe import Recipe
from cst.recipe.reading import load_recipe
from cst.runs.folder import RunFolder
from cst.runs.pipeline import steps

ROOT = Path(__file__).parents[1]
RECIPES = sorted([*(ROOT / "recipes").rglob("*.y*ml"), *(ROOT / "src").rglob("recipe*.y*ml")])


def test_there_are_recipes():
    assert {"recipes", "miniature"} <= {path.parent.name for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_recipe_is_read_and_says_enough_for_a_run(path):
    recipe = load_recipe(path)

    assert recipe.synthesis or recipe.preferences or recipe.mixture
    assert recipe.models


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_resolved_recipe_is_itself_a_recipe(path):
    recipe = load_recipe(path)

    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_run_would_do_is_told_without_model_or_network(path, tmp_path):
    plan = steps(open_workshop(load_recipe(path), tmp_path))

    assert plan[-1].verb == "report"
    assert not any(RunFolder(tmp_path).is_up_to_date(step.stage) for step in plan)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_prompt_has_a_way_to_a_pair(path):
    """A task that no synthesis method or more than one of them claims would stop the run at its first stage."""
    recipe = load_recipe(path)
    if recipe.synthesis is None:
        return
    claimed = [task for method in recipe.synthesis.methods for task in method.tasks]

    assert len(set(claimed)) == len(claimed)
    assert {source.task for source in recipe.prompts.training} <= set(claimed)


def test_the_three_wordings_that_the_paper_has_for_s0_are_asked_and_one_is_tuned_on():
    from cst.annexes.paper import CONFIGURATIONS, configuration_of

    for name in ("tables", "paper-settings"):
        configurations = load_recipe(ROOT / "recipes" / f"{name}.yaml").configurations
        assert not isinstance(configurations, str)
        for paper in CONFIGURATIONS:
            assert {configuration_of(text, configurations).name for text in paper.wordings} == {paper.name}
        assert [(len(c.wordings), len(c.held_out_wordings)) for c in configurations] == [(1, 0), (1, 2), (1, 0), (0, 0)]
