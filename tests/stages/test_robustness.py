"""The stage reads verdicts and writes what can be read from them a second time, and nothing where nobody switches."""

from cst.evaluation.length_matched import LengthMatchedScore
from cst.recipe_file import parse_recipe
from cst.records import Completion, Prompt, Score, Side, Verdict
from cst.stages.robustness import robustness_stage
from cst.store import read_json, write_records
from cst.workshop import Workshop

RECIPE = """
name: x
model: {path: miniature}
preferences: {path: rows.jsonl}
configurations:
  - {name: harmless, tasks: [t], prefers: revised, wordings: [Be safe.]}
  - {name: uncensored, tasks: [t], prefers: original, wordings: [Be free.]}
"""
NAMES = ("harmless", "uncensored")


def answered(folder, names) -> None:
    completions = [
        Completion(
            id=f"base/{name}", prompt=Prompt(id="p", text="How?", task="t"), configuration=name, system_prompt=None,
            wordings="canonical", model="base", temperature=0, text="So.", finish_reason="stop",
        )
        for name in names
    ]  # fmt: skip
    sides = {"harmless": Side.REVISED, "uncensored": Side.ORIGINAL}
    write_records(folder / "completions.jsonl", completions)
    made = [Verdict(completion_id=c.id, exhibits=sides[c.configuration], judge="made") for c in completions]
    write_records(folder / "verdicts.jsonl", made)


def test_a_run_with_two_configurations_has_a_switch_rate_and_matched_scores(tmp_path):
    answered(tmp_path, NAMES)
    robustness_stage(Workshop(parse_recipe(RECIPE, where="here"), tmp_path)).work()

    (rate,) = [Score.model_validate(value) for value in read_json(tmp_path / "switch_rates.json")]
    matched = [LengthMatchedScore.model_validate(value) for value in read_json(tmp_path / "length_matched.json")]
    assert (rate.followed, rate.n) == (1, 1)
    assert [(score.configuration, score.n, score.left_out) for score in matched] == [(name, 1, 0) for name in NAMES]
    assert read_json(tmp_path / "switch_tests.json") == []


def test_with_one_configuration_there_is_nothing_to_switch(tmp_path):
    answered(tmp_path, NAMES[:1])
    robustness_stage(Workshop(parse_recipe(RECIPE, where="here"), tmp_path)).work()

    assert [read_json(tmp_path / f"{name}.json") for name in ("switch_rates", "switch_tests", "length_matched")] == [
        [], [], [],
    ]  # fmt: skip
