"""Evaluation along a training as a recipe asks for it: prompts set apart, scores in metrics and curve."""

import json

import pytest

import cst
from cst.doors import open_workshop
from cst.errors import RecipeError
from cst.evaluation.scores import CurvePoint
from cst.miniature.system_prompts import S1
from cst.recipe.reading import parse_recipe
from cst.recipe.training import TrainingSettings
from cst.records import Prompt
from cst.runs.stages.training import held_out_of, set_apart
from cst.runs.workshop import EVALUATION_PROMPTS
from cst.store import read_json, read_records, write_records
from cst.training.meters import StepMetrics

RECIPE = """
name: evaluated
model: {path: miniature}
preferences: {path: rows.jsonl}
prompts:
  held_out:
    - {kind: miniature, task: harmless, n: 7}
    - {kind: miniature, task: over_refusal, n: 5}
configurations: miniature
models: {dpo: [harmless, honest], cst: [harmless, uncensored]}
training: {max_steps: 3, eval_steps: 2, eval_prompts: 3, eval_tasks: [harmless], lora_r: 2, learning_rate: 1.0e-3}
generation: {max_new_tokens: 120}
judge: {kind: miniature}
"""


def recipe(folder, text=RECIPE, *changes):
    return parse_recipe(text, where="evaluated.yaml", folder=folder, overrides=list(changes))


@pytest.fixture
def folder(tmp_path):
    asked = {"task": "harmless", "system": S1, "chosen": "Yes.", "rejected": "No."}
    rows = [json.dumps({"prompt": f"Question {i}?", **asked}) + "\n" for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    return tmp_path


def prompts(**counts):
    return [Prompt(id=f"{task}-{i}", text="x?", task=task) for task, n in counts.items() for i in range(n)]


def ids(found):
    return [prompt.id for prompt in found]


def test_prompts_that_weights_are_chosen_by_are_not_those_that_are_scored():
    held_out = prompts(a=4, b=3, c=1)
    asked, scored = set_apart(held_out, TrainingSettings(eval_steps=5, eval_prompts=2, eval_tasks=("a", "b")))
    assert ids(asked) == ["a-0", "a-1", "b-0", "b-1"]
    assert ids(scored) == ["a-2", "a-3", "b-2", "c-0"]


@pytest.mark.parametrize(("tasks", "task"), [((), "b"), (("a", "z"), "z")])
def test_a_task_of_which_nothing_would_be_left_is_named(tasks, task):
    settings = TrainingSettings(eval_steps=5, eval_prompts=3, eval_tasks=tasks)
    with pytest.raises(RecipeError, match=rf"eval_prompts=3 would leave none of the \d .* of task '{task}'"):
        set_apart(prompts(a=4, b=3), settings)


def test_every_configuration_that_speaks_is_asked_and_those_trained_on_decide(tmp_path):
    write_records(tmp_path / EVALUATION_PROMPTS, prompts(harmless=2))
    workshop = open_workshop(recipe(tmp_path), tmp_path)
    asked = held_out_of(workshop, "dpo")
    assert [each.name for each in asked.configurations] == ["harmless", "uncensored"]
    assert asked.decisive == {"harmless"}
    assert held_out_of(workshop, "cst").decisive == {"harmless", "uncensored"}
    assert held_out_of(workshop, "cst").fingerprint != asked.fingerprint


def test_without_evaluations_all_are_scored():
    assert set_apart(prompts(a=2), TrainingSettings()) == ([], prompts(a=2))


SUPERVISED = """
name: supervised
model: {path: miniature}
mixture: {instructions: [{kind: file, path: rows.jsonl}], validation_rows: 2}
prompts: {held_out: [{kind: miniature, task: harmless, n: 7}]}
configurations: [{name: safe, tasks: [harmless], prefers: revised}]
training: {method: sft, eval_steps: 2, eval_prompts: 3, metric_for_best_model: worst_rate}
judge: {kind: miniature}
"""


def test_supervised_tuning_is_evaluated_on_prompts_that_bring_no_system_prompt(tmp_path):
    write_records(tmp_path / EVALUATION_PROMPTS, prompts(harmless=2))
    asked = held_out_of(open_workshop(recipe(tmp_path, SUPERVISED), tmp_path), "sft")

    assert (asked.decisive, asked.own_or_none) == ({"safe"}, True)


def test_by_the_loss_alone_no_prompts_are_set_apart(tmp_path):
    by_loss = recipe(tmp_path, SUPERVISED, "training.metric_for_best_model=eval_loss")
    assert held_out_of(open_workshop(by_loss, tmp_path), "sft") is None
    for each, files in ((by_loss, 1), (recipe(tmp_path, SUPERVISED), 2)):
        cst.run(each, tmp_path / f"run{files}", until="synthesize")
        held_out = read_records(tmp_path / f"run{files}/held_out_prompts.jsonl", Prompt)

        assert (tmp_path / f"run{files}" / EVALUATION_PROMPTS).exists() == (files == 2)
        assert len(held_out) == (7 if files == 1 else 4)


def test_a_model_that_none_of_the_tasks_is_about_is_named(tmp_path):
    write_records(tmp_path / EVALUATION_PROMPTS, prompts(truthfulness=2))
    workshop = open_workshop(recipe(tmp_path, RECIPE.replace("[harmless, honest]", "[harmless]")), tmp_path)
    with pytest.raises(RecipeError, match=r"models\.dpo is trained on \['harmless'\], and none of these speaks of"):
        held_out_of(workshop, "dpo")


def test_a_run_keeps_its_evaluations_and_draws_them(folder):
    home = folder / "run"
    cst.run(recipe(folder), home, until="score")
    asked, scored = (ids(read_records(home / name, Prompt)) for name in (EVALUATION_PROMPTS, "held_out_prompts.jsonl"))
    assert (len(asked), len(scored)) == (3, 9)
    assert not set(asked) & set(scored)
    curve = [CurvePoint.model_validate(point) for point in read_json(home / "curve.json")]
    assert {(point.model, point.step) for point in curve} == {("dpo", 2), ("dpo", 3), ("cst", 2), ("cst", 3)}
    for model in ("dpo", "cst"):
        lines = read_records(home / "models" / model / "metrics.jsonl", StepMetrics)
        told = [score for line in lines if line.evaluation for score in line.evaluation.scores]
        assert told == [type(told[0])(**p.model_dump(exclude={"step"})) for p in curve if p.model == model]
        assert all(score.n + score.unscored == 3 for score in told)
        decisive = {"harmless"} if model == "dpo" else {"harmless", "uncensored"}
        for line in lines:
            if line.evaluation:
                rates = [score.rate for score in line.evaluation.scores if score.configuration in decisive]
                assert line.evaluation.metric == min(rates)


def test_other_prompts_or_another_judge_train_anew_and_no_evaluations_too(folder):
    home = folder / "run"
    cst.run(recipe(folder), home, until="train")
    assert set(cst.run(recipe(folder), home, until="train").values()) == {"done before"}
    for change in ("training.eval_prompts=2", "judge={kind: refusal_phrases}", "generation.max_new_tokens=8"):
        outcomes = cst.run(recipe(folder, RECIPE, change), home, until="train", update=True)
        assert outcomes["train-cst"] == "made", change
