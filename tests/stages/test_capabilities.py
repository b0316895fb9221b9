"""Which capability sets a recipe asks for, and under which system prompts."""

import subprocess
import sys

import pytest
from local_tasks import write_tasks

from cst.errors import RecipeError
from cst.recipe_file import parse_recipe
from cst.stages.capabilities import capability_prompts, capability_sets
from cst.workshop import Workshop


def workshop(tmp_path, text: str) -> Workshop:
    return Workshop(parse_recipe(f"name: try\nmodel: {{path: miniature}}\n{text}", where="try.yaml"), tmp_path)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ("", ["none", "harmless", "uncensored", "honest"]),
        (", configurations: []", ["none"]),
        (", configurations: [honest], without_configuration: false", ["honest"]),
    ],
)
def test_capabilities_are_asked_under_every_configuration_with_a_system_prompt_and_without(tmp_path, more, names):
    shop = workshop(tmp_path, f"configurations: miniature\ncapabilities: {{tasks: miniature{more}}}")
    first = {configuration.name: configuration.wordings[:1] for configuration in shop.configurations}
    prompts = capability_prompts(shop)
    assert list(prompts) == names
    assert all((prompt,) == first[name] for name, prompt in prompts.items() if name != "none")
    assert prompts.get("none") is None


def test_capabilities_under_a_configuration_without_a_system_prompt_are_refused(tmp_path):
    text = "configurations: miniature\ncapabilities: {tasks: miniature, configurations: [persona]}"
    with pytest.raises(RecipeError, match=r"names 'persona', and those with a system prompt are \['harmless'"):
        capability_prompts(workshop(tmp_path, text))


def test_lm_eval_is_missed_in_one_line_before_anything_is_done(tmp_path):
    """In a process of its own, in which it can't be found."""
    code = (
        "import sys; sys.modules['lm_eval'] = None\n"
        "from cst.recipe_file import parse_recipe; from cst.pipeline import run; from pathlib import Path\n"
        "text = '{name: t, model: {path: miniature}, preferences: {path: p.jsonl}, capabilities: {tasks: miniature}}'\n"
        "run(parse_recipe(text, where='t.yaml'), Path('run'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (
        "needs lm-eval, which isn't installed. Install it (pip install 'configurable-safety-tuning[capabilities]')"
        in done.stderr
    )
    assert not (tmp_path / "run" / "preferences").exists()


def test_the_sets_are_the_miniatures_or_those_that_the_recipe_names(tmp_path):
    own = capability_sets(workshop(tmp_path, "capabilities: {tasks: miniature}"))
    named = f"capabilities: {{tasks: [{{task: letters, metric: acc_norm}}], include_path: {write_tasks(tmp_path)}}}"
    (letters,) = capability_sets(workshop(tmp_path, named))
    assert [asked.name for asked in own] == ["arc_mini", "hellaswag_mini", "mmlu_mini", "truthfulqa_mini"]
    assert (letters.name, letters.metric) == ("letters", "acc_norm")
