"""What cards say of a run, in words: who made the rows and how, what was dropped, held out and mixed.

Facts come from the recipe and the files of the run folder; a path is told by its last name, which is all that a reader
of the Hub can use. This file knows no header and no template.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cst.preferences import sources
from cst.preferences.selection import TaskRows
from cst.preferences.tables import HUB, hub_name
from cst.recipe import ContrastSettings, PromptFile, Recipe, SynthesisMethod
from cst.recipe_models import EndpointSettings
from cst.records import Preference, SafetyConfiguration
from cst.stages.row_selection import counts_of
from cst.store import read_json
from cst.synthesis.critique import cast_of
from cst.synthesis.gates import SynthesisSummary


def as_code(text: str) -> str:
    """Text as Markdown code in one line, fenced by more backticks than it holds."""
    line = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def is_on_hub(path: str) -> bool:
    """Whether a model's name is a hub id and no folder here."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", path) is not None and not Path(path).exists()


def model_name(path: str) -> str:
    """A model without the folder that it lies in, which is no one else's business."""
    return as_code(path if is_on_hub(path) else Path(path).name)


def hub_id(path: Path | str) -> str | None:
    """`OWNER/NAME` of rows or prompts on the hub; None for a file or folder."""
    name = hub_name(str(path)) if str(path).startswith(HUB) else None
    return None if name is None or name.is_folder else name.path


def source_name(path: Path | str) -> str:
    """A file or folder by its name, a data set of the hub by its id."""
    return as_code(sources.source_name(path))


def prompt_sources(recipe: Recipe) -> list[str]:
    """Where training prompts come from."""
    return [
        f"{source.task} from {source_name(source.path)}"
        if isinstance(source, PromptFile)
        else f"{source.n} {source.task} of the embedded world"
        for source in recipe.prompts.training
    ]


def methods(recipe: Recipe) -> list[dict[str, object]]:
    """Each method of synthesis: what was done, by whom, and under which principles."""
    found = recipe.synthesis.methods if recipe.synthesis else ()
    return [
        {"what": _what(method), "roles": _roles(method, recipe), "principles": _principles(method)} for method in found
    ]


def _what(method: SynthesisMethod) -> str:
    tasks = ", ".join(method.tasks)
    if isinstance(method, ContrastSettings):
        systems = (method.original_system_prompt, method.revised_system_prompt)
        original, revised = (as_code(text) if text else "the prompt's own system prompt" for text in systems)
        begins = f", made to begin with {as_code(method.revised_prefix)}" if method.revised_prefix else ""
        return f"{tasks}, by contrast: the original is answered under {original}, the revised under {revised}{begins}"
    asked = f"{as_code(method.critique_request)} and {as_code(method.revision_request)}"
    rounds = f", in {method.rounds} rounds" if method.rounds > 1 else ""
    return f"{tasks}, by self-critique{rounds}: the answer is criticised and rewritten, asked {asked}"


def _roles(method: SynthesisMethod, recipe: Recipe) -> str:
    return ", ".join(f"{role} {_model_of(name, recipe)}" for role, name in cast_of(method).items())


def _model_of(name: str | None, recipe: Recipe) -> str:
    settings = recipe.model if name is None else recipe.chat_models[name]
    return model_name(settings.model if isinstance(settings, EndpointSettings) else settings.path)


def _principles(method: SynthesisMethod) -> list[str]:
    named = {} if isinstance(method, ContrastSettings) else method.principles
    return [f"{as_code(name)}: {as_code(text)}" for name, text in named.items()]


def gates(recipe: Recipe) -> str:
    """The gates that were on, with their thresholds."""
    if recipe.synthesis is None:
        return ""
    settings = recipe.synthesis.gates.model_dump()
    said = [name if value is True else f"{name} at {value:g}" for name, value in settings.items() if value]
    judge = ["judge_gate"] if recipe.synthesis.judge_gate and recipe.judge else []
    return ", ".join(as_code(each) for each in (*judge, *said))


def drops(folder: Path) -> list[dict[str, object]]:
    """The counts of synthesis, task by task, with the drops in words."""
    found = [SynthesisSummary.model_validate(row) for row in optional(folder / "synthesis.json")]
    return [
        {**dict(row), "drops": ", ".join(f"{reason} {count}" for reason, count in row.drops.items()) or "none"}
        for row in found
    ]


def selected(folder: Path, model: str) -> list[TaskRows]:
    """What became of rows that were there, where a split or a mix left some out."""
    return [TaskRows.model_validate(row) for row in optional(folder / counts_of(model))]


def selection(recipe: Recipe) -> str:
    """How rows and prompts were held out and mixed, in sentences; empty where they weren't."""
    of_rows = recipe.preferences.held_out_share if recipe.preferences else 0
    said: list[str] = []
    if share := of_rows or recipe.prompts.held_out_share:
        said.append(f"Of the groups of prompts that say nearly the same, {share:g} were held out.")
    if recipe.preferences and recipe.holds_out_prompts:
        said.append("No row asks a held-out prompt.")
    if recipe.mixing:
        weights = ", ".join(f"{task} {weight:g}" for task, weight in recipe.mixing.items())
        said.append(f"Tasks were mixed by weight: {weights}; rows of one pair stayed together.")
    return " ".join(said)


def optional(path: Path) -> list[Mapping[str, object]]:
    """A JSON list, or nothing where there is no such file."""
    return read_json(path) if path.exists() else []


def groups(rows: Sequence[Preference]) -> list[dict[str, object]]:
    """Rows and system prompts of each configuration and task."""
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


def mirrored(rows: Sequence[Preference]) -> int:
    """Rows whose pair also stands in the other order."""
    orders = {(row.turns, row.chosen, row.rejected) for row in rows}
    return sum((row.turns, row.rejected, row.chosen) in orders for row in rows)


def configuration_line(configuration: SafetyConfiguration, *, own_or_none: bool) -> dict[str, str]:
    """A configuration: its name, tasks and wordings; without wordings, whether prompts without their own are asked."""
    wordings = "; ".join(as_code(text) for text in configuration.wordings)
    return {
        "name": configuration.name,
        "tasks": ", ".join(configuration.tasks),
        "wordings": wordings or f"each prompt's own system prompt{', or none' if own_or_none else ''}",
    }
