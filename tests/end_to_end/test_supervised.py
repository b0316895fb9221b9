"""Supervised tuning on the embedded model, small: from a user's files to a report, resumed, and asked of cards."""

import json
from pathlib import Path

import pytest

import cst
from cst.annexes.cards.pages import dataset_card, model_card
from cst.miniature.prompts import evaluation_prompts, training_prompts
from cst.recipe.reading import parse_recipe
from cst.records import Completion, Score
from cst.store import read_json, read_records

MODELS = ("safety-0", "safety-6")
RECIPE = """
name: supervised
model: {path: miniature}
mixture:
  instructions: [{kind: file, path: things.json, n: 24, license: cc-by-4.0}]
  safety: [{kind: file, path: care.jsonl, license: cc-by-4.0}]
  safety_counts: [0, 6]
  validation_rows: 6
prompts:
  held_out:
    - {kind: miniature, task: harmless, n: 8}
    - {kind: miniature, task: over_refusal, n: 8}
configurations:
  - {name: safe, tasks: [harmless, over_refusal], prefers: {default: revised, topics: {benign: original}}}
training:
  method: sft
  max_steps: 4
  per_device_train_batch_size: 4
  gradient_accumulation_steps: 1
  eval_steps: 2
  save_steps: 2
  metric_for_best_model: eval_loss
  load_best_model_at_end: true
generation:
  max_new_tokens: 24
  arms: [{wordings: canonical}, {wordings: none, tasks: [harmless]}]
judge: {kind: miniature}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe of files that were written for it."""
    folder: Path = tmp_path_factory.mktemp("files")
    asked = training_prompts(40, task="over_refusal", seed=3)
    things = [{"instruction": prompt.text, "input": "", "output": "Here is how it is done."} for prompt in asked]
    (folder / "things.json").write_text(json.dumps(things))
    care = [
        {"prompt": prompt.text, "response": "I am sorry, but I cannot help you."}
        for prompt in training_prompts(12, task="harmless", seed=3)
    ]
    (folder / "care.jsonl").write_text("".join(json.dumps(row) + "\n" for row in care))
    return parse_recipe(RECIPE, where="supervised.yaml", folder=folder)


@pytest.fixture(scope="module")
def home(recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "supervised"
    outcomes = cst.run(recipe, folder)
    assert set(outcomes.values()) == {"made"}
    return folder


def test_a_second_run_has_nothing_to_do(recipe, home):
    assert set(cst.run(recipe, home).values()) == {"done before"}


def test_models_are_evaluated_on_the_loss_of_their_validation_rows(home):
    for model in MODELS:
        lines = [json.loads(line) for line in (home / "models" / model / "metrics.jsonl").read_text().splitlines()]
        losses = [line["evaluation"]["loss"] for line in lines if "evaluation" in line]

        assert len(losses) == 2
        assert losses[1] < losses[0]
        assert (home / "models" / model / "adapter/adapter_model.safetensors").exists()
    assert not (home / "evaluation_prompts.jsonl").exists()


def test_every_prompt_is_asked_without_a_system_prompt_and_scored(home):
    completions = read_records(home / "completions.jsonl", Completion)
    scores = [Score.model_validate(score) for score in read_json(home / "scores.json")]
    cells = {(s.model, s.task, s.wordings): s.n + s.unscored for s in scores}

    assert {completion.system_prompt for completion in completions} == {None}
    for model in ("base", *MODELS):
        assert cells[model, "harmless", "canonical"] == cells[model, "over_refusal", "canonical"] == 8
        assert cells[model, "harmless", "none"] == 8
    ids = {completion.prompt.id for completion in completions}
    assert ids == {p.id for task in ("harmless", "over_refusal") for p in evaluation_prompts(8, task=task, seed=0)}


def test_nothing_can_switch_where_there_is_one_configuration(home):
    assert read_json(home / "switch_rates.json") == []
    assert (home / "report.html").exists()


def test_the_cards_are_of_this_run(home):
    assert "| safety-6.jsonl | 24 |" in dataset_card(home, "safety-6")
    assert "(method sft)" in model_card(home, "safety-6")
    assert "4 steps" in model_card(home, "safety-6")
