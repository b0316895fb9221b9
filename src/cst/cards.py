"""Data set cards and model cards for the Hub, from the facts of a run folder and nothing else.

A fact that isn't in the folder is left out; nothing is guessed and nothing praised. This file knows the Hub's YAML
header (its metadata for data sets and models) and no room's inside.
"""

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

from cst.errors import RecipeError
from cst.recipe import ContrastSettings, Recipe, SelfCritiqueSettings, SynthesisMethod
from cst.records import Preference, SafetyConfiguration, Score
from cst.store import parse_record, read_json, read_records, read_text
from cst.synthesis.gates import SynthesisSummary
from cst.workshop import Workshop

LISTED_PROMPTS = 10
"""System prompts that are listed, the most used first."""

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
"""The Hub's names for numbers of rows below these."""


def dataset_card(folder: Path, model: str) -> str:
    """The README.md of a model's preference rows.

    Raises:
        RecipeError: The run has no such model.
        DataError: The run's files are missing or damaged.
    """
    recipe = _recipe(folder, model)
    rows = read_records(folder / "preferences" / f"{model}.jsonl", Preference)
    header = {
        "license": recipe.license,
        "task_categories": ["text-generation"],
        "tags": ["dpo", "preference", "safety"],
        "size_categories": [next((name for size, name in SIZES if len(rows) < size), "n>10M")],
    }
    prompts = Counter(row.system_prompt or "" for row in rows).most_common()
    return _render(
        "dataset.md.j2",
        header=_header(header),
        name=recipe.name,
        note=recipe.note,
        rows=len(rows),
        mirrored=_mirrored(rows),
        groups=_groups(rows),
        source=_code(Path(recipe.preferences.path).name) if recipe.preferences else None,
        base_model=_model_name(recipe),
        seed=recipe.seed,
        methods=[_method(method) for method in recipe.synthesis.methods] if recipe.synthesis else [],
        gates=_gates(folder),
        system_prompts=[{"rows": count, "text": _code(text)} for text, count in prompts[:LISTED_PROMPTS]],
        unlisted=len(prompts[LISTED_PROMPTS:]),
    )


def model_card(folder: Path, model: str) -> str:
    """The README.md of a trained model or adapter; see `dataset_card` for what is raised."""
    from cst.training.results import read_result

    recipe = _recipe(folder, model)
    header = {
        "license": recipe.license,
        "base_model": recipe.model.path if _is_on_hub(recipe.model.path) else None,
        "library_name": "transformers" if recipe.training.full else "peft",
        "pipeline_tag": "text-generation",
        "tags": ["dpo", "safety"],
    }
    scores = [Score.model_validate(score) for score in _optional(folder / "scores.json")]
    return _render(
        "adapter.md.j2",
        header=_header(header),
        name=recipe.name,
        model=model,
        note=recipe.note,
        kind="full fine-tune" if recipe.training.full else "LoRA adapter",
        base_model=_model_name(recipe),
        configurations=[_configuration(each) for each in Workshop(recipe, folder).configurations_of(model)],
        rows=len(read_records(folder / "preferences" / f"{model}.jsonl", Preference)),
        result=read_result(folder / "models" / model),
        settings=[
            (name, value) for name, value in recipe.training.model_dump(mode="json").items() if value is not None
        ],
        scores=[score for score in scores if score.model == model],
    )


def _recipe(folder: Path, model: str) -> Recipe:
    recipe = parse_record(read_text(folder / "recipe.json"), Recipe, str(folder / "recipe.json"))
    if model not in recipe.models:
        raise RecipeError(f"The run has no model {model!r}; choose among {', '.join(recipe.models)}.")
    return recipe


def _is_on_hub(path: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", path) is not None and not Path(path).exists()


def _model_name(recipe: Recipe) -> str:
    """The start model without the folder that it lies in, which is no one else's business."""
    path = recipe.model.path
    return _code(path if _is_on_hub(path) else Path(path).name)


def _optional(path: Path) -> list[Mapping[str, object]]:
    return read_json(path) if path.exists() else []


def _gates(folder: Path) -> list[dict[str, object]]:
    """The counts of synthesis, task by task, with the drops in words."""
    found = [SynthesisSummary.model_validate(row) for row in _optional(folder / "synthesis.json")]
    return [
        {**dict(row), "drops": ", ".join(f"{reason} {count}" for reason, count in row.drops.items()) or "none"}
        for row in found
    ]


def _groups(rows: Sequence[Preference]) -> list[dict[str, object]]:
    counted = Counter((row.configuration, row.task) for row in rows)
    prompts = {(row.configuration, row.task, row.system_prompt) for row in rows}
    return [
        {
            "configuration": configuration,
            "task": task,
            "rows": count,
            "system_prompts": sum(key[:2] == (configuration, task) for key in prompts),
        }
        for (configuration, task), count in counted.items()
    ]


def _mirrored(rows: Sequence[Preference]) -> int:
    """Rows whose pair also stands in the other order."""
    orders = {(row.turns, row.chosen, row.rejected) for row in rows}
    return sum((row.turns, row.rejected, row.chosen) in orders for row in rows)


def _method(method: SynthesisMethod) -> str:
    tasks = ", ".join(method.tasks)
    match method:
        case SelfCritiqueSettings():
            asked = f"{_code(method.critique_request)} and {_code(method.revision_request)}"
            return f"{tasks}, by self-critique: the model answers, criticises and rewrites, asked {asked}."
        case ContrastSettings():
            systems = (method.original_system_prompt, method.revised_system_prompt)
            original, revised = (_code(text) if text else "the prompt's own system prompt" for text in systems)
            return f"{tasks}, by contrast: the original is answered under {original}, the revised one under {revised}."


def _configuration(configuration: SafetyConfiguration) -> dict[str, str]:
    wordings = "; ".join(_code(text) for text in configuration.wordings)
    return {
        "name": configuration.name,
        "tasks": ", ".join(configuration.tasks),
        "wordings": wordings or "each prompt's own system prompt",
    }


def _code(text: str) -> str:
    """Text as Markdown code in one line, fenced by more backticks than it holds."""
    line = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def _header(values: Mapping[str, object]) -> str:
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump({name: value for name, value in values.items() if value is not None}, text)
    return f"---\n{text.getvalue()}---\n"


def _render(template: str, **facts: object) -> str:
    loader = PackageLoader("cst", "card_templates")
    environment = Environment(loader=loader, undefined=StrictUndefined, autoescape=False, trim_blocks=False)
    return environment.get_template(template).render(**facts)
