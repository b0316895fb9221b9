"""A recipe's mixture as stages: the rows of each model, what is set apart, and when they are made again."""

import json

import pytest

from cst.commands.console import bring, check, export
from cst.errors import DataError, RecipeError, RunFolderError
from cst.pipeline import run
from cst.preferences.mixtures import PartRows
from cst.preferences.sources import Reading
from cst.recipe_file import parse_recipe
from cst.records import Demonstration
from cst.store import read_json, read_records

RECIPE = """
name: try
model: {path: miniature}
mixture:
  instructions: [{kind: file, path: things.json, n: 40, license: cc-by-nc-4.0}]
  safety: [{kind: file, path: care.jsonl, license: mit}]
  safety_counts: [0, 4, 9]
  validation_rows: 10
prompts: {held_out: [{kind: file, path: test.txt, task: harmless}]}
configurations: [{name: safe, tasks: [harmless], prefers: revised}]
training: {method: sft}
judge: {kind: refusal_phrases}
"""


def words(name: str, number: int) -> str:
    return " ".join(f"{name}{number}{letter}" for letter in "abcd")


@pytest.fixture
def folder(tmp_path):
    things = [{"instruction": words("thing", n), "input": "", "output": f"So {n}."} for n in range(50)]
    (tmp_path / "things.json").write_text(json.dumps(things))
    care = [{"prompt": words("care", n), "response": f"No {n}."} for n in range(12)]
    (tmp_path / "care.jsonl").write_text("".join(json.dumps(row) + "\n" for row in care))
    (tmp_path / "test.txt").write_text(f"{words('care', 3)}\n{words('ask', 1)}\n")
    return tmp_path


def recipe(folder, *overrides: str):
    return parse_recipe(RECIPE, overrides, where="try.yaml", folder=folder)


def conditioned(folder, *overrides: str, update: bool = False):
    return run(recipe(folder, *overrides), folder / "run", until="condition", update=update)


def rows(folder, model: str, of: str = "demonstrations") -> list[Demonstration]:
    return read_records(folder / "run" / of / f"{model}.jsonl", Demonstration)


def test_each_model_has_its_rows_and_those_for_its_validation(folder):
    assert set(conditioned(folder).values()) == {"made"}
    for model, n in (("safety-0", 0), ("safety-4", 4), ("safety-9", 9)):
        trained, apart = rows(folder, model), rows(folder, model, "validation")

        assert (len(trained) + len(apart), len(apart)) == (40 + n, 10)
        assert sum(row.task == "safety" for row in [*trained, *apart]) == n
        assert not {row.id for row in trained} & {row.id for row in apart}
    assert {row.source for row in rows(folder, "safety-9")} == {"things.json", "care.jsonl"}


def test_what_is_held_out_is_never_trained_on(folder):
    conditioned(folder)
    counts = [PartRows.model_validate(row) for row in read_json(folder / "run/demonstrations/safety-9.counts.json")]
    seen = {row.prompt for of in ("demonstrations", "validation") for row in rows(folder, "safety-9", of)}

    assert words("care", 3) not in seen
    assert counts[1].dropped == {"held_out_prompt": 1}
    assert (counts[1].rows, counts[1].drawn, counts[0].validation + counts[1].validation) == (12, 9, 10)


def test_a_second_run_has_nothing_to_do_and_another_number_makes_one_more_model(folder):
    conditioned(folder)
    assert set(conditioned(folder).values()) == {"done before"}
    one_more = "mixture.safety_counts=[0, 4, 9, 11]"
    with pytest.raises(RunFolderError, match=r"changed: mixture, models"):
        conditioned(folder, one_more)
    outcomes = conditioned(folder, one_more, update=True)

    assert [name for name, outcome in outcomes.items() if outcome == "made"] == ["condition-safety-11"]


@pytest.mark.parametrize("change", ["mixture.seed=1", "mixture.validation_rows=9", "seed=1"])
def test_another_seed_or_split_makes_all_rows_again(folder, change):
    conditioned(folder)
    outcomes = conditioned(folder, change, update=True)

    assert {outcomes[f"condition-safety-{n}"] for n in (0, 4, 9)} == {"made"}


def test_a_changed_source_is_noticed_and_a_licence_changes_no_row(folder):
    conditioned(folder)
    sources = "mixture.safety=[{kind: file, path: PATH, license: cc0-1.0}]".replace("PATH", str(folder / "care.jsonl"))
    assert set(conditioned(folder, sources, update=True).values()) == {"done before"}
    (folder / "care.jsonl").write_text((folder / "care.jsonl").read_text().replace("No 1.", "Never."))
    outcomes = conditioned(folder, sources, update=True)

    assert {outcomes[f"condition-safety-{n}"] for n in (0, 4, 9)} == {"made"}


def test_too_few_safety_examples_are_told_by_the_recipe_s_key(folder):
    (folder / "care.jsonl").write_text(json.dumps({"prompt": "p", "response": "y"}))
    with pytest.raises(DataError, match=r"mixture\.safety_counts=4 asks for 4 safety examples, and there are 1 that"):
        conditioned(folder)


def test_check_and_condition_name_the_mixture(folder, capsys):
    (folder / "try.yaml").write_text(RECIPE)
    check(folder / "try.yaml", [], as_json=False)
    told = capsys.readouterr().out
    assert "instructions: 40 rows of things.json (cc-by-nc-4.0)" in told
    assert "safety: all rows of care.jsonl (mit)" in told
    assert "safety-4: supervised tuning with 4 safety examples" in told
    assert "10 rows of each mixture set apart for the validation loss" in told
    assert "pairs" not in told

    bring(recipe(folder), folder / "run", until="condition", update=False, as_json=False)
    assert "safety-4: safety: 4 of 12 rows" in capsys.readouterr().out
    bring(recipe(folder), folder / "run", until="condition", update=False, as_json=True)
    assert "demonstrations/safety-4.counts.json" in json.loads(capsys.readouterr().out)


def test_a_model_s_rows_are_exported_in_the_columns_of_another_tool(folder):
    conditioned(folder)
    export(
        str(folder / "run/demonstrations/safety-0.jsonl"),
        folder / "out.json",
        "instruction-output",
        Reading(),
        plain=True,
        as_json=False,
    )
    written, original = (json.loads((folder / name).read_text()) for name in ("out.json", "things.json"))

    assert len(written) == 30
    assert all(row in original for row in written)


def test_without_safety_there_is_one_model(folder):
    outcomes = conditioned(folder, "mixture.safety=[]", "mixture.validation_rows=0")

    assert "condition-sft" in outcomes
    assert len(rows(folder, "sft")) == 40
    assert not (folder / "run/validation").exists()


def test_held_out_prompts_without_a_configuration_are_refused_before_anything_is_made(folder):
    with pytest.raises(RecipeError, match="has held-out prompts and no configurations, by which answers are scored"):
        run(recipe(folder, "configurations=[]"), folder / "run")
    assert "condition-safety-0" in conditioned(folder, "configurations=[]", update=True)
