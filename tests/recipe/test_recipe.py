"""The schema of recipes: closed, bounded, described, and with the values that docs name."""

import types
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from cst.recipe import Recipe
from cst.recipe.reading import record_types
from cst.recipe.synthesis import SelfCritiqueSettings
from cst.recipe.training import TrainingSettings

SMALLEST: dict[str, Any] = {"name": "x", "model": {"path": "miniature"}}
ENDPOINT = {"kind": "endpoint", "base_urls": ["http://localhost:8000/v1"], "model": "m"}
ANY_NUMBER = {"seed", "threshold"}
"""Fields that take any number."""


def sections(kind: type[BaseModel] = Recipe) -> list[type[BaseModel]]:
    """A record and all that its fields speak of."""
    inner = [found for field in kind.model_fields.values() for found in record_types(field.annotation)]
    return list(dict.fromkeys([kind, *(deeper for each in inner for deeper in sections(each))]))


FIELDS = [
    pytest.param(section, name, id=f"{section.__name__}.{name}")
    for section in sections()
    for name in section.model_fields
]


def test_the_smallest_recipe_takes_every_default():
    recipe = Recipe.model_validate(SMALLEST)

    assert recipe.training == TrainingSettings()
    assert recipe.models == {"cst": ()}


def test_the_defaults_of_training_are_those_of_the_paper_where_it_names_them():
    defaults = TrainingSettings()

    assert (defaults.beta, defaults.learning_rate, defaults.lora_r, defaults.lora_alpha) == (0.1, 5e-5, 24, 48)
    assert (defaults.per_device_train_batch_size, defaults.gradient_accumulation_steps) == (2, 4)
    assert (defaults.num_train_epochs, defaults.loss_type, defaults.max_length) == (1, "sigmoid", None)


@pytest.mark.parametrize(("section", "name"), FIELDS)
def test_each_field_has_a_line_of_prose(section, name):
    description = section.model_fields[name].description

    assert description is not None
    assert description.endswith(".")
    assert "\n" not in description


@pytest.mark.parametrize(("section", "name"), FIELDS)
def test_each_number_has_a_bound(section, name):
    field = section.model_fields[name]
    kinds = (
        get_args(field.annotation) if get_origin(field.annotation) in (Union, types.UnionType) else [field.annotation]
    )
    if name in ANY_NUMBER or not {int, float} & set(kinds):
        return

    assert any(hasattr(constraint, "ge") or hasattr(constraint, "gt") for constraint in field.metadata)


@pytest.mark.parametrize("section", sections())
def test_each_section_refuses_unknown_keys_and_is_frozen(section):
    assert section.model_config["extra"] == "forbid"
    assert section.model_config["frozen"] is True


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"models": {"base": []}}, "models.base is the start model's own name"),
        ({"models": {"dpo": ["s1"]}}, "models.dpo names the configuration 's1', but there are only"),
        (
            {"configurations": [{"name": "s", "prefers": "original", "tasks": ["t"]}] * 2},
            r"configurations has a name twice among \['s', 's'\]",
        ),
        ({"chat_models": {"a": {**ENDPOINT, "base_urls": []}}}, "at least 1 item"),
        ({"chat_models": {"a": {**ENDPOINT, "base_urls": ["localhost:8000"]}}}, "String should match pattern"),
        ({"chat_models": {"a": {**ENDPOINT, "base_urls": ["http://me:secret@host/v1"]}}}, "String should match"),
        ({"chat_models": {"a": {**ENDPOINT, "base_urls": ["http://host/v1?key=1"]}}}, "String should match pattern"),
        ({"chat_models": {"a": {**ENDPOINT, "api_key_env": "sk-0123"}}}, "String should match pattern"),
        ({"chat_models": {"a": {**ENDPOINT, "kind": "endpont"}}}, "does not match any of the expected tags"),
        ({"name": "../elsewhere"}, "String should match pattern"),
        ({"training": {"lora_alpha": float("inf")}}, "finite number"),
        ({"training": {"beta": 0}}, "greater than 0"),
        ({"training": {"learning_rate": 2}}, "less than or equal to 1"),
        ({"training": {"gradient_checkpointing": "maybe"}}, "Input should be 'auto'"),
        (
            {"model": {"path": "miniature", "quantization": "4bit"}, "training": {"full": True}},
            "training.full trains all weights, and model.quantization=4bit",
        ),
        ({"training": {"report_to": ["someone"]}}, "'tensorboard', 'wandb' or 'trackio'"),
        ({"training": {"early_stopping_patience": 2}}, "early_stopping_patience=2 needs evaluations; set eval_steps"),
        ({"training": {"load_best_model_at_end": True}}, "load_best_model_at_end=True needs evaluations"),
        (
            {"training": {"eval_steps": 20}, "judge": {"kind": "miniature"}},
            "eval_steps=20 asks for .* the recipe has no prompts.held_out and no configurations; add that",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, says):
    with pytest.raises(ValidationError, match=says):
        Recipe.model_validate(SMALLEST | changes)


def test_configurations_of_the_miniature_are_checked_where_they_are_known():
    recipe = Recipe.model_validate(SMALLEST | {"configurations": "miniature", "models": {"dpo": ["harmless"]}})

    assert recipe.models == {"dpo": ("harmless",)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"critique_request": "{critique}"}, "can be filled in there"),
        ({"revision_request": "{orignal}"}, "can be filled in there"),
        ({"critique_request": "{principle}"}, "can be filled in there"),
        ({"original_request": "{prompt} {original}"}, "can be filled in there"),
        ({"original_request": "Sing."}, "doesn't use {prompt}"),
        ({"principles": {"kind": "Be kind."}}, "no {principle} in critique_request"),
    ],
)
def test_a_template_may_only_ask_for_what_is_known_by_then(changes, says):
    values = {"critique_request": "Judge {original}", "revision_request": "Mend it: {critique}", **changes}

    with pytest.raises(ValidationError, match=says):
        SelfCritiqueSettings.model_validate({"kind": "self_critique", "tasks": ["t"], **values})


def test_a_role_is_played_by_a_model_that_the_recipe_knows():
    method = {"kind": "contrast", "tasks": ["t"], "author": "mia"}
    chats = {"mia": {"kind": "local", "path": "miniature"}}
    recipe = SMALLEST | {"synthesis": {"methods": [method]}}

    assert Recipe.model_validate(recipe | {"chat_models": chats}).synthesis is not None
    with pytest.raises(ValidationError, match=r"methods.0 has the author 'mia', but chat_models has only \[\]"):
        Recipe.model_validate(recipe)


@pytest.mark.parametrize("sampling", [{"top_k": 40}, {"num_beams": 2}])
def test_what_an_endpoint_can_not_be_asked_for_is_refused_before_anything_is_paid(sampling):
    def recipe(reviser, **sampling):
        method = {"kind": "contrast", "tasks": ["t"], "reviser": reviser}
        chats = {"far": ENDPOINT, "near": {"kind": "local", "path": "miniature"}}
        return SMALLEST | {"chat_models": chats, "synthesis": {"methods": [method], "sampling": sampling}}

    assert Recipe.model_validate(recipe("far")).synthesis is not None
    assert Recipe.model_validate(recipe("near", **sampling)).synthesis is not None
    with pytest.raises(ValidationError, match=r"sampling has (top_k=40|num_beams=2), which chat_models.far, an endp"):
        Recipe.model_validate(recipe("far", **sampling))
