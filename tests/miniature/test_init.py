"""The town is a world as recipes know it: nothing is drawn otherwise than by its own functions."""

import inspect

import pytest

from cst.miniature import RECIPES, WORLD, model_path, prompts, recipe_path
from cst.miniature.judge import exact_judge
from cst.recipe_world import World

ASKED = [name for name in vars(World) if not name.startswith("_")]


def test_the_town_answers_whatever_a_recipe_may_ask():
    assert len(ASKED) == 8
    assert WORLD.model_path() == model_path()
    assert WORLD.configurations() == prompts.configurations()
    assert WORLD.capability_items() == prompts.capability_items()
    for task in prompts.TASKS:
        assert WORLD.training_prompts(3, task=task, seed=5) == prompts.training_prompts(3, task=task, seed=5)
        asked = WORLD.evaluation_prompts(3, task=task, seed=5)
        assert asked == prompts.evaluation_prompts(3, task=task, seed=5)
        assert [WORLD.judge(prompt, "I do not know.") for prompt in asked] == [None] * 3
    rows = WORLD.instruction_demonstrations(4, seed=1), WORLD.safety_demonstrations(4, seed=1)
    assert rows == (prompts.instruction_demonstrations(4, seed=1), prompts.safety_demonstrations(4, seed=1))
    assert WORLD.judge is exact_judge


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_has_the_arguments_of_the_protocol(name):
    wanted = [each for each in inspect.signature(getattr(World, name)).parameters if each != "self"]

    assert list(inspect.signature(getattr(WORLD, name)).parameters)[: len(wanted)] == wanted


@pytest.mark.parametrize("name", RECIPES)
def test_its_recipes_are_in_the_package(name):
    assert recipe_path(name).is_file()
