"""Data set cards and model cards for the Hub, from the facts of a run folder and nothing else.

A fact that isn't in the folder is left out; nothing is guessed and nothing praised. This file knows the Hub's YAML
header (huggingface.co/docs/hub: model-cards, datasets-cards; the keys are those of huggingface_hub's card data).
"""

from collections import Counter
from pathlib import Path

from cst.errors import RecipeError
from cst.hub_cards import facts as facts
from cst.hub_cards.mixture_facts import hub_ids, sources_of
from cst.hub_cards.mixtures import demonstrations_card
from cst.hub_cards.text import header, render, size_category
from cst.integrity import refuse_changed
from cst.recipe import Recipe
from cst.recipe_training import OF_DPO
from cst.records import Demonstration, Preference, Score
from cst.stages.mixture import demonstrations_of
from cst.stages.training import preferences_of
from cst.store import parse_record, read_records, read_text
from cst.workshop import BASE, Workshop

LISTED_PROMPTS = 10
"""System prompts that are listed, the most used first."""


def dataset_card(folder: Path, model: str) -> str:
    """The README.md of a model's rows: preferences, or the mixture of supervised tuning.

    Raises:
        RecipeError: The run has no such model.
        DataError: The run's files are missing or damaged.
        RunFolderError: A file has changed since its stage ran.
    """
    recipe = _recipe(folder, model)
    if recipe.mixture is not None:
        return demonstrations_card(recipe, recipe.mixture, folder, model)
    rows = read_records(folder / preferences_of(model), Preference)
    prompts = Counter(row.system_prompt or "" for row in rows).most_common()
    return render(
        "dataset.md.j2",
        header=header(_dataset_header(recipe, len(rows))),
        recipe=recipe,
        rows=len(rows),
        mirrored=facts.mirrored(rows),
        groups=facts.groups(rows),
        source=facts.source_name(recipe.preferences.path) if recipe.preferences else None,
        base_model=facts.model_name(recipe.model.path),
        prompt_sources=facts.prompt_sources(recipe),
        methods=facts.methods(recipe),
        gates=facts.gates(recipe),
        drops=facts.drops(folder),
        selection=facts.selection(recipe),
        selected=facts.selected(folder, model),
        system_prompts=[{"rows": count, "text": facts.as_code(text)} for text, count in prompts[:LISTED_PROMPTS]],
        unlisted=len(prompts[LISTED_PROMPTS:]),
    )


def _dataset_header(recipe: Recipe, rows: int) -> dict[str, object]:
    source = facts.hub_id(recipe.preferences.path) if recipe.preferences else None
    return {
        "pretty_name": recipe.name,
        "license": recipe.license,
        "task_categories": ["text-generation"],
        "tags": ["dpo", "preference", "safety", *([] if recipe.preferences else ["synthetic"])],
        "annotations_creators": None if recipe.preferences else ["machine-generated"],
        "source_datasets": [source] if source else None,
        "size_categories": [size_category(rows)],
    }


def model_card(folder: Path, model: str) -> str:
    """The README.md of a trained model or adapter; see `dataset_card` for what is raised."""
    from cst.training.results import read_result

    recipe = _recipe(folder, model)
    scores = [Score.model_validate(score) for score in facts.optional(folder / "scores.json")]
    return render(
        "adapter.md.j2",
        header=header(_model_header(recipe)),
        recipe=recipe,
        model=model,
        base_model=facts.model_name(recipe.model.path),
        configurations=[
            facts.configuration_line(each, own_or_none=recipe.mixture is not None)
            for each in Workshop(recipe, folder).configurations_of(model)
        ],
        safety_examples=recipe.mixture.models[model] if recipe.mixture else 0,
        mixture=[] if recipe.mixture is None else sources_of(recipe.mixture),
        as_code=facts.as_code,
        rows=_rows(recipe, folder, model),
        source=facts.source_name(recipe.preferences.path) if recipe.preferences else None,
        selection=facts.selection(recipe),
        selected=facts.selected(folder, model),
        result=read_result(folder / "models" / model),
        settings=_settings(recipe),
        scores=[score for score in scores if score.model in (BASE, model) and score.framing is None],
    )


def _rows(recipe: Recipe, folder: Path, model: str) -> int:
    """How many rows the model was trained on."""
    if recipe.mixture is None:
        return len(read_records(folder / preferences_of(model), Preference))
    return len(read_records(folder / demonstrations_of(model), Demonstration))


def _model_header(recipe: Recipe) -> dict[str, object]:
    is_full, path = recipe.training.full, recipe.model.path
    source = facts.hub_id(recipe.preferences.path) if recipe.preferences else None
    mixed = hub_ids(sources_of(recipe.mixture)) if recipe.mixture else None
    return {
        "license": recipe.license,
        "base_model": path if facts.is_on_hub(path) else None,
        "base_model_relation": ("finetune" if is_full else "adapter") if facts.is_on_hub(path) else None,
        "datasets": [source] if source else mixed,
        "library_name": "transformers" if is_full else "peft",
        "pipeline_tag": "text-generation",
        "tags": [recipe.training.method, "safety", *([] if is_full else ["lora"])],
    }


def _settings(recipe: Recipe) -> list[tuple[str, object]]:
    """The settings of training, and how the start model was loaded; where the reference was kept changes nothing."""
    silent = OF_DPO if recipe.training.method == "sft" else ()
    training = recipe.training.model_dump(mode="json", exclude={"reference", "report_to", *silent})
    model = recipe.model.model_dump(mode="json", include={"dtype", "quantization", "system_policy"})
    model["chat_template"] = recipe.model.chat_template and recipe.model.chat_template.name
    return [(name, value) for name, value in (model | training).items() if value is not None]


def _recipe(folder: Path, model: str) -> Recipe:
    refuse_changed(folder)
    recipe = parse_record(read_text(folder / "recipe.json"), Recipe, str(folder / "recipe.json"))
    if model not in recipe.models:
        raise RecipeError(f"The run has no model {model!r}; choose one with --model, among {', '.join(recipe.models)}.")
    return recipe
