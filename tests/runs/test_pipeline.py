"""Which stages a recipe asks for, and how a folder keeps to its recipe."""

import json

import pytest

from cst.doors import open_workshop, run
from cst.errors import RunFolderError
from cst.recipe.reading import parse_recipe
from cst.records import Prompt, ResponsePair
from cst.runs.pipeline import steps
from cst.store import write_records

ROWS = "preferences: {path: rows.jsonl}\n"
HELD_OUT = "prompts: {held_out: [{kind: miniature, task: harmless, n: 4}]}\nconfigurations: miniature\n"


def recipe(text, folder):
    return parse_recipe(f"name: try\nmodel: {{path: miniature}}\n{text}", where="try.yaml", folder=folder)


def stages(text, folder, until="report"):
    return [step.stage.name for step in steps(open_workshop(recipe(text, folder), folder / "run"), until)]


def test_rows_made_elsewhere_are_trained_on_and_nothing_else_is_done(tmp_path):
    assert stages(ROWS, tmp_path) == ["condition-cst", "train-cst", "report"]


def test_each_model_has_stages_of_its_own(tmp_path):
    assert stages(ROWS + "models: {a: [], b: []}\n", tmp_path, "train") == [
        "condition-a", "condition-b", "train-a", "train-b"
    ]  # fmt: skip


def test_where_nothing_is_trained_no_pairs_are_asked_for(tmp_path):
    assert stages(HELD_OUT + "models: {}\n", tmp_path, "generate") == ["prompts", "generate"]
    assert "pairs" in stages(HELD_OUT, tmp_path)


def test_held_out_prompts_are_answered_judged_and_scored(tmp_path):
    assert stages(ROWS + HELD_OUT, tmp_path, "score")[-4:] == ["generate", "judge", "score", "robustness"]


def test_curve_and_capabilities_are_made_where_they_are_asked_for(tmp_path):
    more = "generation: {curve_prompts: 2}\ncapabilities: {tasks: miniature}\n"
    assert stages(ROWS + HELD_OUT + more, tmp_path, "score")[-2:] == ["curve", "capabilities"]


def test_stages_after_the_verb_are_not_looked_at(tmp_path):
    text = ROWS.replace("rows", "none") + "models: {cst: []}\n"
    elsewhere = recipe(text, tmp_path).model_copy(update={"model": recipe(text, tmp_path).model.model_copy(
        update={"path": str(tmp_path / "no-model-here")})})  # fmt: skip
    assert [step.verb for step in steps(open_workshop(elsewhere, tmp_path), "condition")] == ["condition"]


def test_pairs_made_elsewhere_are_taken_as_given_and_a_change_of_them_is_noticed(tmp_path):
    ours, home = recipe("configurations: miniature\n", tmp_path), tmp_path / "run"
    with pytest.raises(RunFolderError, match=r"pairs\.jsonl, which isn't there"):
        run(ours, home, until="condition")
    prompt = Prompt(id="p", text="Hi?", task="harmless")
    write_records(home / "pairs.jsonl", [ResponsePair(prompt=prompt, original="So.", revised="No.", author="hand")])
    assert run(ours, home, until="condition")["pairs"] == "given"
    before = (home / "pairs.jsonl").read_text()
    (home / "pairs.jsonl").write_text(before.replace("So.", "Sp."))
    with pytest.raises(RunFolderError, match=r"pairs\.jsonl has changed since it was given"):
        run(ours, home, until="condition")
    outcomes = run(ours, home, until="condition", update=True)
    assert outcomes == {"pairs": "given", "condition-cst": "made"}


def test_each_outcome_is_told_as_it_comes(tmp_path):
    row = {"prompt": "Hi?", "chosen": "Yes.", "rejected": "No."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    told = []
    run(recipe(ROWS, tmp_path), tmp_path / "run", until="condition", tell=lambda *words: told.append(words))
    assert told == [("condition-cst", "made")]
