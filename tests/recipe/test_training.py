"""The section on training: which settings belong to which method, and that old recipes and runs stay what they are."""

import pytest
from pydantic import ValidationError

from cst.recipe import Recipe
from cst.recipe.training import TrainingSettings
from cst.store import fingerprint

MIXED = {
    "name": "x",
    "model": {"path": "miniature"},
    "mixture": {"instructions": [{"kind": "miniature", "n": 20}], "validation_rows": 4},
}
HELD_OUT = {"prompts": {"held_out": [{"kind": "miniature", "task": "harmless", "n": 9}]}}
JUDGED = {"configurations": "miniature", "judge": {"kind": "miniature"}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"train_on_inputs": True},
            "train_on_inputs=True belongs to method: sft, but method is dpo; leave it out",
        ),
        ({"cut_long": True}, "cut_long=True belongs to method: sft"),
        (
            {"metric_for_best_model": "eval_loss"},
            "eval_loss is a validation loss, which only method: sft has",
        ),
        ({"method": "sft", "beta": 0.2}, "beta=0.2 belongs to method: dpo, but method is sft"),
        ({"method": "sft", "loss_type": "ipo"}, "loss_type=ipo belongs to method: dpo"),
        ({"method": "sft", "nll_weight": 1.0}, "nll_weight=1.0 belongs to method: dpo"),
        ({"method": "sft", "reference": "runs/other"}, "reference=runs/other belongs to method: dpo"),
        ({"method": "sft", "cut_long": True, "drop_long": True}, "cut_long and drop_long exclude each other"),
    ],
)
def test_what_does_not_fit_the_method_is_refused(changes, says):
    with pytest.raises(ValidationError, match=says):
        TrainingSettings.model_validate(changes)


def test_settings_read_back_as_they_were_written():
    """Defaults of the other method are no settings of a user."""
    told = TrainingSettings(method="sft", train_on_inputs=True, cut_long=True, warmup_steps=10, eval_steps=25)

    assert TrainingSettings.model_validate(told.model_dump()) == told
    assert TrainingSettings.model_validate_json(told.model_dump_json()) == told


def test_what_came_later_is_not_written_where_it_is_off():
    """Fingerprints of runs that were made before don't change."""
    later = {"method", "train_on_inputs", "warmup_steps", "cut_long"}

    assert TrainingSettings().model_dump().keys() & later == set()
    told = TrainingSettings(method="sft", train_on_inputs=True, cut_long=True, warmup_steps=0).model_dump()
    assert told.keys() >= later
    assert fingerprint(told) != fingerprint(told | {"warmup_steps": 1})


def test_evaluations_go_by_the_loss_where_there_is_one():
    assert TrainingSettings(eval_steps=2).metric_for_best_model == "worst_rate"
    assert TrainingSettings(method="sft", eval_steps=2).metric_for_best_model == "eval_loss"
    asked = {"sft": False, "dpo": True}
    for method, asks in asked.items():
        assert TrainingSettings.model_validate({"method": method, "eval_steps": 2}).asks_prompts is asks
        assert not TrainingSettings.model_validate({"method": method}).asks_prompts
    assert TrainingSettings(method="sft", eval_steps=2, metric_for_best_model="worst_rate").asks_prompts


def test_the_loss_of_validation_rows_needs_neither_prompts_nor_a_judge():
    training = {"method": "sft", "eval_steps": 2, "load_best_model_at_end": True}

    assert Recipe.model_validate(MIXED | {"training": training}).training.eval_steps == 2
    with pytest.raises(ValidationError, match=r"the loss of validation rows, and the recipe has no mixture.validation"):
        Recipe.model_validate(MIXED | {"training": training, "mixture": {**MIXED["mixture"], "validation_rows": 0}})


def test_a_rate_needs_all_three():
    training = {"method": "sft", "eval_steps": 2, "metric_for_best_model": "mean_rate"}

    with pytest.raises(ValidationError, match=r"no prompts.held_out and no configurations and no judge"):
        Recipe.model_validate(MIXED | {"training": training})
    with pytest.raises(ValidationError, match=r"no configurations and no judge"):
        Recipe.model_validate(MIXED | HELD_OUT | {"training": training})
    assert Recipe.model_validate(MIXED | HELD_OUT | JUDGED | {"training": training}).training.asks_prompts
