"""A recipe's method, its mixture, and what decides on its models fit together, or are refused with what to do."""

import pytest

from cst.errors import RecipeError
from cst.recipe.reading import parse_recipe

MIXTURE = "mixture: {instructions: [{kind: file, path: a.json}], safety: [{kind: file, path: s.json}], MORE}"
HELD_OUT = (
    "prompts: {held_out: [{kind: file, path: t.txt}]}\njudge: {kind: refusal_phrases}\nconfigurations: miniature\n"
)


def recipe(text: str, *overrides: str):
    return parse_recipe(f"name: try\nmodel: {{path: miniature}}\n{text}", overrides, where="try.yaml")


def sft(training: str = "", *, mixture: str = "safety_counts: [0, 5]", more: str = ""):
    return recipe(f"{MIXTURE.replace('MORE', mixture)}\ntraining: {{method: sft, {training}}}\n{more}")


def test_models_are_named_after_their_safety_examples():
    assert list(sft().models) == ["safety-0", "safety-5"]


def test_what_follows_from_other_keys_follows_their_overrides():
    text = f"{MIXTURE.replace('MORE', 'safety_counts: [0, 5]')}\ntraining: {{method: sft}}\n"
    assert list(recipe(text, "mixture.safety_counts=[0, 7]").models) == ["safety-0", "safety-7"]

    made = recipe("", "training.method=sft", "mixture.instructions=[{kind: file, path: a.json}]")
    assert (list(made.models), made.training.metric_for_best_model) == (["sft"], "eval_loss")


def test_what_is_written_stays_under_overrides():
    text = f"{MIXTURE.replace('MORE', 'safety_counts: [0]')}\nmodels: {{safety-0: []}}\n"
    text += "training: {method: sft, metric_for_best_model: mean_rate}"
    assert recipe(text, "training.beta=0.1").training.metric_for_best_model == "mean_rate"
    with pytest.raises(RecipeError, match=r"models names \['safety-0'\], and the mixture makes .* leave models out"):
        recipe(text, "mixture.safety_counts=[7]")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("training: {method: sft}", "training.method is sft, and there is no section mixture"),
        (MIXTURE.replace("MORE", ""), "training.method is dpo, and there is a section mixture"),
    ],
)
def test_method_and_mixture_go_together(text, says):
    with pytest.raises(RecipeError, match=says):
        recipe(text)


def test_preferences_and_other_models_are_refused():
    with pytest.raises(RecipeError, match=r"preferences makes preferences, but .* takes a mixture"):
        sft(more="preferences: {path: rows.jsonl}")
    with pytest.raises(RecipeError, match=r"models names \['cst'\], and the mixture makes \['safety-0', 'safety-5'\]"):
        sft(more="models: {cst: []}")


def test_evaluations_go_by_the_loss_of_validation_rows_unless_a_rate_is_named():
    rows = "safety_counts: [0], validation_rows: 9"
    assert not sft("eval_steps: 5", mixture=rows).training.asks_prompts
    assert sft("eval_steps: 5, metric_for_best_model: mean_rate", mixture=rows, more=HELD_OUT).training.asks_prompts
    with pytest.raises(
        RecipeError, match=r"the loss of validation rows, and the recipe has no mixture\.validation_rows"
    ):
        sft("eval_steps: 5")
    with pytest.raises(RecipeError, match="judged answers to held-out prompts, and the recipe has no prompts"):
        sft("eval_steps: 5, metric_for_best_model: mean_rate", mixture=rows)
