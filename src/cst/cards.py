"""Data set cards and model cards for the Hub, from the facts of a run folder and nothing else.

A fact that isn't in the folder is left out; nothing is guessed and nothing praised. This file knows the Hub's YAML
header (huggingface.co/docs/hub: model-cards, datasets-cards; the keys are those of huggingface_hub's card data).
"""

import io
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

from cst import card_facts as facts
from cst.errors import RecipeError
from cst.markers import refuse_changed
from cst.recipe import Recipe
from cst.records import Preference, Score
from cst.store import parse_record, read_records, read_text
from cst.workshop import BASE, Workshop

LISTED_PROMPTS = 10
"""System prompts that are listed, the most used first."""

SIZES = (
    *((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")),
    *((10**8, "10M<n<100M"), (10**9, "100M<n<1B")),
)
"""The Hub's names for numbers of rows below these."""


def dataset_card(folder: Path, model: str) -> str:
    """The README.md of a model's preference rows.

    Raises:
        RecipeError: The run has no such model.
        DataError: The run's files are missing or damaged.
        RunFolderError: A file has changed since its stage ran.
    """
    recipe = _recipe(folder, model)
    rows = read_records(folder / "preferences" / f"{model}.jsonl", Preference)
    prompts = Counter(row.system_prompt or "" for row in rows).most_common()
    return _render(
        "dataset.md.j2",
        header=_header(_dataset_header(recipe, len(rows))),
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
        "size_categories": [next((name for size, name in SIZES if rows < size), "other")],
    }


def model_card(folder: Path, model: str) -> str:
    """The README.md of a trained model or adapter; see `dataset_card` for what is raised."""
    from cst.training.results import read_result

    recipe = _recipe(folder, model)
    scores = [Score.model_validate(score) for score in facts.optional(folder / "scores.json")]
    return _render(
        "adapter.md.j2",
        header=_header(_model_header(recipe)),
        recipe=recipe,
        model=model,
        base_model=facts.model_name(recipe.model.path),
        configurations=[facts.configuration_line(c) for c in Workshop(recipe, folder).configurations_of(model)],
        rows=len(read_records(folder / "preferences" / f"{model}.jsonl", Preference)),
        source=facts.source_name(recipe.preferences.path) if recipe.preferences else None,
        selection=facts.selection(recipe),
        selected=facts.selected(folder, model),
        result=read_result(folder / "models" / model),
        settings=_settings(recipe),
        scores=[score for score in scores if score.model in (BASE, model) and score.framing is None],
    )


def _model_header(recipe: Recipe) -> dict[str, object]:
    is_full, path = recipe.training.full, recipe.model.path
    source = facts.hub_id(recipe.preferences.path) if recipe.preferences else None
    return {
        "license": recipe.license,
        "base_model": path if facts.is_on_hub(path) else None,
        "base_model_relation": ("finetune" if is_full else "adapter") if facts.is_on_hub(path) else None,
        "datasets": [source] if source else None,
        "library_name": "transformers" if is_full else "peft",
        "pipeline_tag": "text-generation",
        "tags": ["dpo", "safety", *([] if is_full else ["lora"])],
    }


def _settings(recipe: Recipe) -> list[tuple[str, object]]:
    """The settings of training, and how the start model was loaded; where the reference was kept changes nothing."""
    training = recipe.training.model_dump(mode="json", exclude={"reference", "report_to"})
    model = recipe.model.model_dump(mode="json", include={"dtype", "quantization", "system_policy"})
    return [(name, value) for name, value in (model | training).items() if value is not None]


def _recipe(folder: Path, model: str) -> Recipe:
    refuse_changed(folder)
    recipe = parse_record(read_text(folder / "recipe.json"), Recipe, str(folder / "recipe.json"))
    if model not in recipe.models:
        raise RecipeError(f"The run has no model {model!r}; choose among {', '.join(recipe.models)}.")
    return recipe


def _header(values: Mapping[str, object]) -> str:
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump({name: value for name, value in values.items() if value is not None}, text)
    return f"---\n{text.getvalue()}---\n"


def _render(template: str, **known: object) -> str:
    loader = PackageLoader("cst", "card_templates")
    environment = Environment(loader=loader, undefined=StrictUndefined, autoescape=False, trim_blocks=False)
    text = environment.get_template(template).render(**known)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"
