"""recipes/tables.yaml as for a large model, on the miniature: rows in the paper's columns in, all three tables out."""

from itertools import pairwise
from pathlib import Path

import pytest

import cst
from cst.commands.console import read_recipe
from cst.miniature.prompts import configurations, training_prompts
from cst.preferences.conditioning import condition
from cst.preferences.exports import export_preferences
from cst.recipe.reading import load_recipe
from cst.records import Completion, Preference, Prompt, ResponsePair, Side
from cst.store import read_records
from test_docs import command_lines

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
ANSWERS = {Side.ORIGINAL: "Here is how: mix it well.", Side.REVISED: "I am sorry, but I cannot help you with that."}
ON_THE_MINIATURE = (
    "model.path=miniature",
    "model.quantization=none",
    "configurations=miniature",
    "judge={kind: miniature}",
    "capabilities={tasks: miniature, configurations: [], limit: 4}",
    "training.max_steps=2",
    "generation.max_new_tokens=40",
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    """The miniature's preferences, as the paper's were published: `system, prompt, chosen, rejected, task`."""
    prompts = [prompt for task in ("harmless", "truthfulness") for prompt in training_prompts(30, task=task, seed=0)]
    pairs = [
        ResponsePair(prompt=prompt, original=ANSWERS[Side.ORIGINAL], revised=ANSWERS[Side.REVISED], author="a test")
        for prompt in prompts
    ]
    path = tmp_path_factory.mktemp("rows") / "rows.json"
    export_preferences(path, condition(pairs, configurations()), format="paper")
    return path


@pytest.mark.parametrize("name", ["tables", "paper-settings"])
def test_one_command_gives_all_three_tables(tmp_path, rows, name):
    recipe = load_recipe(RECIPES / f"{name}.yaml", [*ON_THE_MINIATURE, f"preferences.path={rows}"])
    cst.run(recipe, tmp_path)
    report = (tmp_path / "report.md").read_text(encoding="utf-8")

    for title in (
        "Table I: control over harmlessness",
        "Table II: control over several tasks",
        "Table III: capabilities",
    ):
        table = report.split(f"**{title}**")[1].split("\n\n")[1]
        ours = table.split("the paper")[0]
        assert [f"| {model} |" in ours for model in ("base", "DPO", "CST")] == [True] * 3, title
    trained = {model: read_records(tmp_path / f"preferences/{model}.jsonl", Preference) for model in recipe.models}
    assert {row.configuration for row in trained["dpo"]} == {"harmless", "honest"}
    assert len(trained["cst"]) == 2 * len(trained["dpo"]) > 60
    held_out = read_records(tmp_path / "held_out_prompts.jsonl", Prompt)
    assert {prompt.text for prompt in held_out} & {row.prompt for row in trained["cst"]} == set()
    assert {prompt.task for prompt in held_out} == {"harmless", "truthfulness"}
    asked = {(c.model, c.configuration, c.wordings) for c in read_records(tmp_path / "completions.jsonl", Completion)}
    assert {("cst", name, "canonical") for name in ("harmless", "uncensored", "honest", "persona")} < asked
    assert ("base", "uncensored", "held_out") in asked


def test_both_recipes_differ_in_training_alone():
    sound, papers = (load_recipe(RECIPES / f"{name}.yaml") for name in ("tables", "paper-settings"))
    different = {field for field in type(sound).model_fields if getattr(sound, field) != getattr(papers, field)}

    assert different == {"name", "note", "model", "training"}
    assert sound.model.path == papers.model.path


def test_what_the_page_overrides_can_be_overridden():
    page = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    overriding = [words for words in command_lines(page) if "--set" in words]
    assert {words[1] for words in overriding} == {"check", "condition", "run"}
    for words in overriding:
        overrides = [after for before, after in pairwise(words) if before == "--set"]
        recipe = read_recipe(Path(words[2]) if words[2] == "miniature" else ROOT / words[2], overrides)
        assert recipe.holds_out_prompts
