"""Which stages a recipe asks for, and how a folder keeps to its recipe."""

import json

import pytest

from cst.errors import RunFolderError
from cst.pipeline import run, steps
from cst.recipe_file import parse_recipe
from cst.store import read_json
from cst.workshop import Workshop

ROWS = "preferences: {path: rows.jsonl}\n"
HELD_OUT = "prompts: {held_out: [{kind: miniature, task: harmless, n: 4}]}\nconfigurations: miniature\n"


def recipe(text, folder):
    return parse_recipe(f"name: try\nmodel: {{path: miniature}}\n{text}", where="try.yaml", folder=folder)


def stages(text, folder, until="report"):
    return [step.stage.name for step in steps(Workshop(recipe(text, folder), folder / "run"), until)]


def test_rows_made_elsewhere_are_trained_on_and_nothing_else_is_done(tmp_path):
    assert stages(ROWS, tmp_path) == ["condition-cst", "train-cst", "report"]


def test_each_model_has_stages_of_its_own(tmp_path):
    assert stages(ROWS + "models: {a: [], b: []}\n", tmp_path, "train") == [
        "condition-a", "condition-b", "train-a", "train-b"
    ]  # fmt: skip


def test_held_out_prompts_are_answered_judged_and_scored(tmp_path):
    assert stages(ROWS + HELD_OUT, tmp_path, "score")[-3:] == ["generate", "judge", "score"]


def test_curve_and_capabilities_are_made_where_they_are_asked_for(tmp_path):
    more = "generation: {curve_prompts: 2}\ncapabilities: {path: miniature}\n"
    assert stages(ROWS + HELD_OUT + more, tmp_path, "score")[-2:] == ["curve", "capabilities"]


def test_stages_after_the_verb_are_not_looked_at(tmp_path):
    text = ROWS.replace("rows", "none") + "models: {cst: []}\n"
    elsewhere = recipe(text, tmp_path).model_copy(update={"model": recipe(text, tmp_path).model.model_copy(
        update={"path": str(tmp_path / "no-model-here")})})  # fmt: skip
    assert [step.verb for step in steps(Workshop(elsewhere, tmp_path), "condition")] == ["condition"]


def test_a_folder_keeps_its_recipe_and_says_what_changed(tmp_path):
    row = {"prompt": "Hi?", "chosen": "Yes.", "rejected": "No.", "system": "Be kind."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    first, other = recipe(ROWS, tmp_path), recipe(ROWS + "training: {beta: 0.5}\n", tmp_path)
    assert run(first, tmp_path / "run", until="condition") == {"condition-cst": "made"}
    with pytest.raises(RunFolderError, match=r"another recipe \(changed: training\)"):
        run(other, tmp_path / "run", until="condition")
    assert read_json(tmp_path / "run" / "recipe.json")["training"]["beta"] == 0.1
    assert run(other, tmp_path / "run", until="condition", update=True) == {"condition-cst": "done before"}
    assert read_json(tmp_path / "run" / "recipe.json")["training"]["beta"] == 0.5


def test_each_outcome_is_told_as_it_comes(tmp_path):
    row = {"prompt": "Hi?", "chosen": "Yes.", "rejected": "No."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    told = []
    run(recipe(ROWS, tmp_path), tmp_path / "run", until="condition", tell=lambda *words: told.append(words))
    assert told == [("condition-cst", "made")]
