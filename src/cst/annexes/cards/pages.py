"""Data set cards and model cards for the Hub, from the facts of a run folder and nothing else.

A fact that isn't in the folder is left out; nothing is guessed. Only the last part of a path is shown, because a reader
of the Hub can't use the rest. The keys of the header are those of huggingface_hub's card data.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cst.annexes.cards import NO_VALUE, Code, as_code, card, listed, plain, size_category, table
from cst.annexes.cards.mixtures import SOURCE_COLUMNS, demonstrations_card, hub_id, hub_ids, sources_of
from cst.errors import RecipeError
from cst.integrity import reject_changed
from cst.miniature import WORLD
from cst.preferences.selection import TaskRows
from cst.preferences.sources import source_name
from cst.recipe import Recipe
from cst.recipe.data import PromptFile
from cst.recipe.models import EndpointSettings, PythonChatSettings
from cst.recipe.synthesis import ContrastSettings, SynthesisMethod
from cst.recipe.training import OF_DPO
from cst.records import Demonstration, Preference, SafetyConfiguration, Score
from cst.runs.own import OwnParts
from cst.runs.stages.rows import counts_of, demonstrations_of
from cst.runs.stages.scores import CARD
from cst.runs.stages.training import preferences_of
from cst.runs.workshop import BASE, Workshop
from cst.store import parse_record, read_json, read_records, read_text
from cst.synthesis.critique import cast_of
from cst.synthesis.gates import SynthesisSummary

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

FIGURES = ("accuracy", "kappa")
"""The figures of a judge's card that a model card repeats."""
LISTED_PROMPTS = 10
"""At most this many system prompts are listed, the most used first."""


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
    header = {
        "pretty_name": recipe.name,
        "license": recipe.license,
        "task_categories": ["text-generation"],
        "tags": ["dpo", "preference", "safety", *([] if recipe.preferences else ["synthetic"])],
        "annotations_creators": None if recipe.preferences else ["machine-generated"],
        "source_datasets": _source_ids(recipe),
        "size_categories": [size_category(len(rows))],
    }
    own = f"These rows: {plain(recipe.license)}." if recipe.license else "The recipe names none for these rows."
    parts = (
        f"# {plain(recipe.name)}: preference rows",
        recipe.note,
        f"{len(rows)} rows of preference data for Configurable Safety Tuning: under its system prompt, a row's "
        f"`chosen` is preferred to its `rejected`. {_mirrored(rows)} of them are one of two rows that hold the same "
        "pair in both orders, under two configurations.",
        table(("configuration", "task", "rows", "system prompts"), _groups(rows)),
        "## How it was made",
        *_how_rows_were_made(recipe, folder),
        *_selection(recipe, folder, model),
        "## System prompts",
        *_system_prompts(rows),
        "## Licence",
        f"{own} Terms of the models and of the data that they were made from may hold too.",
    )
    return card("dataset", header, parts)


def _groups(rows: Sequence[Preference]) -> list[tuple[str, str, int, int]]:
    """Rows and system prompts of each configuration and task."""
    counted = Counter((row.configuration or "none", row.task) for row in rows)
    prompts = {(row.configuration or "none", row.task, row.system_prompt) for row in rows}
    return [(*group, count, sum(prompt[:2] == group for prompt in prompts)) for group, count in counted.items()]


def _mirrored(rows: Sequence[Preference]) -> int:
    """Rows whose pair also stands in the other order."""
    orders = {(row.turns, row.chosen, row.rejected) for row in rows}
    return sum((row.turns, row.rejected, row.chosen) in orders for row in rows)


def _system_prompts(rows: Sequence[Preference]) -> Iterator[str]:
    used = Counter(row.system_prompt or "" for row in rows).most_common()
    yield listed(f"{count} rows: {as_code(text)}" for text, count in used[:LISTED_PROMPTS])
    if len(used) > LISTED_PROMPTS:
        yield f"and {len(used) - LISTED_PROMPTS} further ones."


def _how_rows_were_made(recipe: Recipe, folder: Path) -> Iterator[str]:
    """The source of the rows, or prompts, methods with their roles, gates, and what was dropped."""
    synthesis = recipe.synthesis
    if recipe.preferences:
        yield f"The rows were read from {as_code(source_name(recipe.preferences.path))}."
    else:
        prompts = "; ".join(
            f"{plain(source.task)} from {as_code(source_name(source.path))}"
            if isinstance(source, PromptFile)
            else f"{source.n} {source.task} of the embedded world"
            for source in recipe.prompts.training
        )
        yield f"Start model: {_model_name(recipe.model.path)}. Seed: {recipe.seed}. Prompts: {prompts or 'not named'}."
    if synthesis and not recipe.preferences:
        yield listed(_method(method, recipe) for method in synthesis.methods)
        sampling = synthesis.sampling
        yield f"Sampling: temperature {sampling.temperature:g}, at most {sampling.max_new_tokens} tokens."
    counts = [SynthesisSummary.model_validate(row) for row in _optional(folder / "synthesis.json")]
    if counts:
        settings = synthesis.gates.model_dump(exclude={"own"}) if synthesis else {}
        gates = ["judge_gate"] if synthesis and synthesis.judge_gate and recipe.judge else []
        gates += [name if value is True else f"{name} at {value:g}" for name, value in settings.items() if value]
        gates += synthesis.gates.own if synthesis else ()
        yield f"Gates: {', '.join(map(as_code, gates)) or 'none'}."
        drops = (", ".join(f"{reason} {count}" for reason, count in row.drops.items()) or "none" for row in counts)
        cells = [(row.task, row.prompts, row.pairs, dropped) for row, dropped in zip(counts, drops, strict=True)]
        yield table(("task", "prompts", "pairs", "dropped, by reason"), cells)


def _method(method: SynthesisMethod, recipe: Recipe) -> str:
    """What a method of synthesis did, by which models, and under which principles."""
    tasks, principles = plain(", ".join(method.tasks)), ""
    if isinstance(method, ContrastSettings):
        systems = (method.original_system_prompt, method.revised_system_prompt)
        original, revised = (as_code(text) if text else "the prompt's own system prompt" for text in systems)
        begins = f", made to begin with {as_code(method.revised_prefix)}" if method.revised_prefix else ""
        what = f"by contrast: the original is answered under {original}, the revised under {revised}{begins}"
    else:
        asked = f"{as_code(method.critique_request)} and {as_code(method.revision_request)}"
        rounds = f", in {method.rounds} rounds" if method.rounds > 1 else ""
        what = f"by self-critique{rounds}: the answer is criticised and rewritten, asked {asked}"
        told = (f"\n  - principle {as_code(name)}: {as_code(text)}" for name, text in method.principles.items())
        principles = "".join(told)
    models = ", ".join(f"{role} {_role_model(name, recipe)}" for role, name in cast_of(method).items())
    return f"{tasks}, {what}. Models: {models}.{principles}"


def _role_model(name: str | None, recipe: Recipe) -> str:
    settings = recipe.chat_models[name] if name else recipe.model
    if isinstance(settings, PythonChatSettings):
        return as_code(str(name))
    return _model_name(settings.model if isinstance(settings, EndpointSettings) else settings.path)


def _selection(recipe: Recipe, folder: Path, model: str) -> Iterator[str]:
    """How rows and prompts were held out and mixed, and how many rows were kept."""
    said: list[str] = []
    if share := (recipe.preferences.held_out_share if recipe.preferences else 0) or recipe.prompts.held_out_share:
        said.append(f"Of the groups of prompts that say nearly the same, {share:g} were held out.")
    if recipe.preferences and recipe.holds_out_prompts:
        said.append("No row asks a held-out prompt.")
    if recipe.mixing:
        weights = plain(", ".join(f"{task} {weight:g}" for task, weight in recipe.mixing.items()))
        said.append(f"Tasks were mixed by weight: {weights}; rows of one pair stayed together.")
    yield " ".join(said)
    rows = [TaskRows.model_validate(row) for row in _optional(folder / counts_of(model))]
    cells = [(row.task, row.rows, row.held_out, row.left_out, row.kept) for row in rows]
    yield table(("task", "rows", "held out", "left out by the mix", "kept"), cells) if cells else ""


def model_card(folder: Path, model: str) -> str:
    """The README.md of a trained model or adapter. Raises as `dataset_card`."""
    recipe = _recipe(folder, model)
    is_full, path = recipe.training.full, recipe.model.path
    scores = [Score.model_validate(score) for score in _optional(folder / "scores.json")]
    shown = [score for score in scores if score.model in (BASE, model) and score.framing is None]
    results = [_eval_result(recipe, score) for score in shown if score.model == model and score.n]
    on_hub = {"base_model": path, "base_model_relation": "finetune" if is_full else "adapter"}
    how = "tuned by Configurable Safety Tuning: its behaviour is chosen by the system prompt."
    if recipe.mixture:
        count = recipe.mixture.models[model]
        safety = f" with {count} safety examples among them" if count else ""
        how = f"by supervised tuning on instructions{safety} (method sft)."
    header = {
        "license": recipe.license,
        **(on_hub if _is_on_hub(path) else {}),
        "datasets": hub_ids(sources_of(recipe.mixture)) if recipe.mixture else _source_ids(recipe),
        "library_name": "transformers" if is_full else "peft",
        "pipeline_tag": "text-generation",
        "tags": [recipe.training.method, "safety", *([] if is_full else ["lora"])],
        **({"model_name": f"{recipe.name}: {model}", "eval_results": results} if results else {}),
    }
    workshop = Workshop(recipe, folder, own=OwnParts(WORLD))
    parts = (
        f"# {plain(recipe.name)}: {plain(model)}",
        recipe.note,
        f"A {'full fine-tune' if is_full else 'LoRA adapter'} of {_model_name(path)}, {how}",
        "## Configurations",
        listed(_configuration(each, recipe) for each in workshop.configurations_of(model)),
        "## Training",
        *_how_trained(recipe, folder, model),
        *_selection(recipe, folder, model),
        table(("setting", "value"), _settings(recipe, folder)),
        "## Scores",
        *(_score_parts(recipe, folder, shown) if shown else ("None were computed in this run.",)),
    )
    return card("model", header, parts)


def _configuration(configuration: SafetyConfiguration, recipe: Recipe) -> str:
    """A configuration: its name, tasks and wordings; without wordings, whether prompts without their own are asked."""
    own = f"each prompt's own system prompt{', or none' if recipe.mixture else ''}"
    wordings = "; ".join(as_code(text) for text in configuration.wordings) or own
    return f"**{plain(configuration.name)}** on {plain(', '.join(configuration.tasks))}: {wordings}"


def _how_trained(recipe: Recipe, folder: Path, model: str) -> Iterator[str]:
    """The number of rows, their sources, and the outcome of training."""
    from cst.training.folder import read_result

    of = f" of {as_code(source_name(recipe.preferences.path))}" if recipe.preferences else ""
    if recipe.mixture:
        said = f"{len(read_records(folder / demonstrations_of(model), Demonstration))} rows of supervised tuning"
    else:
        said = f"{len(read_records(folder / preferences_of(model), Preference))} preference rows{of}"
    if result := read_result(folder / "models" / model):
        cut = f", {result.cut} were cut and end without an end token" if result.cut else ""
        said += (
            f", {result.steps} steps; {result.dropped} rows were dropped as too long{cut}. Mean loss of the first "
            f"step {result.first_loss:.4f}, of the last {result.last_loss:.4f}; {len(result.alarms)} alarms"
        )
    yield f"{said}."
    if recipe.mixture:
        yield "The rows were mixed from:"
        yield table(SOURCE_COLUMNS, [source.cells for source in sources_of(recipe.mixture)])


def _settings(recipe: Recipe, folder: Path) -> list[tuple[str, object]]:
    """The settings of training, and how the start model was loaded and messages were rendered.

    Where the reference was kept is left out, because it changes nothing.
    """
    silent = OF_DPO if recipe.training.method == "sft" else ()
    training = recipe.training.model_dump(mode="json", exclude={"reference", "report_to", *silent})
    model = recipe.model.model_dump(mode="json", include={"dtype", "quantization", "system_policy"})
    model["chat_template"] = recipe.model.chat_template and recipe.model.chat_template.name
    written = folder / "fingerprints.json"
    rendered: Mapping[str, object] = read_json(written).get("rendering", {}) if written.exists() else {}
    facts = {f"rendering: {name}": rendered.get(name) for name in ("template_sha256", "boundary", "bos", "end_token")}
    return [(name, value) for name, value in (model | facts | training).items() if value is not None]


def _score_parts(recipe: Recipe, folder: Path, scores: Sequence[Score]) -> Iterator[str]:
    """Scores as a table, and how often the judge was right on labelled answers, if the run has its card."""
    from cst.evaluation.judge_card import JudgeCard

    made = parse_record(read_text(folder / CARD), JudgeCard, CARD) if (folder / CARD).exists() else None
    with_card = "with" if made else "without"
    judge = f" Judge: {as_code(recipe.judge.kind)}, {with_card} a card of its errors." if recipe.judge else ""
    yield (
        "Share of held-out completions that do what the configuration prefers, with a 95 % interval; `base` is the "
        f"start model.{judge}"
    )
    rows: list[tuple[object, ...]] = []
    for score in scores:
        rate, bounds = _rate_cells(score.rate, score.low, score.high)
        asked = (score.model, score.task, score.configuration, score.wordings, f"{score.temperature:g}")
        rows.append((*asked, rate, f"{bounds} ({score.interval})", score.n, score.unscored))
    yield table(("model", "task", "configuration", "wordings", "temperature", "rate", "95 %", "n", "unscored"), rows)
    if made:
        labelled = as_code(Path(made.labelled).name)
        yield f"The judge on labelled answers ({labelled}, SHA-256 {as_code(made.labelled_sha256)}):"
        named = [(task.task, name, getattr(task.figures, name)) for task in made.tasks for name in FIGURES]
        figures = [(task, name, *_rate_cells(each.value, each.low, each.high), each.n) for task, name, each in named]
        yield table(("task", "figure", "value", "95 %", "n"), figures)


def _rate_cells(value: float | None, low: float, high: float) -> tuple[str, str]:
    return NO_VALUE if value is None else f"{value:.3f}", f"{low:.3f} to {high:.3f}"


def _eval_result(recipe: Recipe, score: Score) -> "EvalResult":
    """A score for the Hub's model index: a rate with its interval, counts and conditions.

    The Hub groups results by data set type and configuration, so each task has a type of its own.
    """
    from huggingface_hub import EvalResult

    judge = recipe.judge.kind if recipe.judge else None
    arguments = score.model_dump(mode="json", include={"wordings", "temperature", "n", "unscored", "interval"})
    return EvalResult(
        task_type="text-generation",
        task_name=score.task,
        dataset_type=f"{recipe.name}/{score.task}",
        dataset_name=f"{score.task}: held-out prompts of {recipe.name}",
        dataset_config=score.configuration,
        dataset_split="held_out",
        metric_type="accuracy",
        metric_name=f"does what {score.configuration} prefers ({score.wordings}, temperature {score.temperature:g})",
        metric_value=round(score.followed / score.n, 4),
        metric_args={**arguments, "low": round(score.low, 4), "high": round(score.high, 4), "judge": judge},
    )


def _is_on_hub(path: str) -> bool:
    """Whether a model's name is a hub id and no folder here."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", path) is not None and not Path(path).exists()


def _model_name(path: str) -> Code:
    """A model without its local folder, which a card shouldn't publish."""
    return as_code(path if _is_on_hub(path) else Path(path).name)


def _source_ids(recipe: Recipe) -> list[str] | None:
    """The hub id of the recipe's preference rows, if they lie on the hub."""
    found = hub_id(recipe.preferences.path) if recipe.preferences else None
    return None if found is None else [found]


def _optional(path: Path) -> list[Mapping[str, object]]:
    """A JSON list, or nothing where there is no such file."""
    return read_json(path) if path.exists() else []


def _recipe(folder: Path, model: str) -> Recipe:
    reject_changed(folder)
    recipe = parse_record(read_text(folder / "recipe.json"), Recipe, str(folder / "recipe.json"))
    if model not in recipe.models:
        raise RecipeError(f"The run has no model {model!r}; choose one with --model, among {', '.join(recipe.models)}.")
    return recipe
