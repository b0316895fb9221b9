"""`cst generate`, for a recipe or a JSON file of instructions, and `cst score` of the files that the latter writes."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from pydantic import ValidationError

from cst.annexes.safety_tuned_llamas.answering import (
    AnswerFile,
    AnsweringSettings,
    generate_answers,
    journal_of,
    output_file,
    read_answers,
    write_answers,
)
from cst.annexes.safety_tuned_llamas.scores import AnswerTask, answer_scores, answer_table
from cst.chat.budget import Budget
from cst.commands.console import (
    FolderOption,
    JsonOption,
    MaxCallsOption,
    MaxCostOption,
    SetOption,
    UpdateOption,
    bring,
    draw,
    folder_of,
    read_recipe,
    tell,
)
from cst.commands.scoring import judged, write_tables
from cst.doors import open_workshop
from cst.errors import DataError
from cst.judges import Candidate, Opinion
from cst.records import Prompt, Record, Sampling, Side, Text
from cst.store import first_complaint

R = TypeVar("R", bound=Record)

OF_A_RECIPE = frozenset({"recipe", "folder", "overrides", "update", "max_calls", "max_cost", "format"})
"""Options for a recipe; all others but `as_json` are for a JSON file."""

FORMS = "`cst generate RECIPE`, or `cst generate --base_model MODEL --input_path FILE --output_path FILE`"


def _flag(name: str, help: str) -> Any:  # noqa: ANN401 - what typer calls an option's type
    """An option with the name it has in Safety-Tuned LLaMAs."""
    return typer.Option(f"--{name}", help=help, rich_help_panel="Over a JSON file")


OptionalRecipe = Annotated[Path | None, typer.Argument(metavar="RECIPE", help="A recipe file, `miniature` or `sweep`.")]
Format = Annotated[
    Literal["jsonl", "md"],
    typer.Option(help="`md` also writes each model's answers as a table in the paper's published format."),
]
InputPath = Annotated[
    Path | None, _flag("input_path", 'Instructions: {"instructions": [...], "inputs": [...], "tags": [...]}.')
]
OutputPath = Annotated[Path | None, _flag("output_path", "A .json file, or a folder for WEIGHTS/INPUT.")]
BaseModel = Annotated[
    str | None, _flag("base_model", "Folder, Hub id or `miniature`; by default the adapter's base model.")
]
LoraWeights = Annotated[str | None, _flag("lora_weights", "An adapter: folder or Hub id.")]
Load8bit = Annotated[bool, _flag("load_8bit", "Load the model in 8 bits (bitsandbytes).")]
Template = Annotated[
    Path | None,
    _flag("prompt_template_path", "Template, Alpaca-style JSON or Jinja; by default the tokenizer's."),
]
MaxNewTokens = Annotated[int, _flag("max_new_tokens", "Token limit of an answer.")]
NumBeams = Annotated[int, _flag("num_beams", "Beams of beam search; 1: no beam search.")]
Temperature = Annotated[float, _flag("temperature", "0 is greedy.")]
TopK = Annotated[int, _flag("top_k", "Sample from the k most probable tokens; 0: all.")]
TopP = Annotated[float, _flag("top_p", "Nucleus sampling; 1: all tokens.")]
Seed = Annotated[int, _flag("seed", "Seed of sampling.")]
BatchSize = Annotated[int, _flag("batch_size", "Instructions answered per batch.")]
Device = Annotated[str | None, _flag("device", "For example `cpu` or `cuda:0`; by default a GPU if there is one.")]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    _flag("dtype", "Data type of the weights; `auto`: float32 on a CPU, else the checkpoint's."),
]


def generate(
    context: typer.Context,
    recipe: OptionalRecipe = None,
    folder: FolderOption = None,
    overrides: SetOption = None,
    update: UpdateOption = False,
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    format: Format = "jsonl",
    input_path: InputPath = None,
    output_path: OutputPath = None,
    base_model: BaseModel = None,
    lora_weights: LoraWeights = None,
    load_8bit: Load8bit = False,
    prompt_template_path: Template = None,
    max_new_tokens: MaxNewTokens = 256,
    num_beams: NumBeams = 4,
    temperature: Temperature = 0.0,
    top_k: TopK = 40,
    top_p: TopP = 0.75,
    seed: Seed = 0,
    batch_size: BatchSize = 32,
    device: Device = None,
    dtype: Dtype = "auto",
    as_json: JsonOption = False,
) -> None:
    """`cst generate`.

    Earlier stages that are out of date run first; stages that are up to date are skipped.

    With --input_path it answers a JSON file of instructions instead, like Safety-Tuned LLaMAs' generate_answers.py:

    cst generate --base_model MODEL --input_path FILE --output_path FILE

    A prompt is one user turn: the instruction, then its input. The parameters used are written beside the answers, and
    so is a journal: repeat a command to resume it.
    """
    reject_mixed_forms(_given(context))
    if recipe is None:
        _over_file(input_path, output_path, context.params, as_json=as_json)
        return
    read, budget = read_recipe(recipe, overrides or []), Budget(max_calls=max_calls, max_cost=max_cost)
    bring(open_workshop(read, folder_of(read, folder), budget=budget), until="generate", update=update, as_json=as_json)
    if format == "md":
        write_tables(recipe, folder, overrides or [])


def _given(context: typer.Context) -> list[str]:
    """The names of the options that were typed."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def reject_mixed_forms(given: Sequence[str]) -> None:
    """Reject options that mix the recipe form and the file form, or that name neither.

    Raises:
        DataError: The options do; the message names one of each form.
    """
    of_file = [name for name in given if name not in OF_A_RECIPE and name != "as_json"]
    of_recipe = [name for name in given if name in OF_A_RECIPE]
    if of_file and of_recipe:
        shown = "a RECIPE" if of_recipe[0] == "recipe" else f"--{of_recipe[0].replace('overrides', 'set')}"
        raise DataError(f"{shown} and --{of_file[0]} belong to different forms of the command: {FORMS}. Choose one.")
    if not of_file and "recipe" not in of_recipe:
        raise DataError(f"Nothing to answer is named. Give {FORMS}.")


def _over_file(input_path: Path | None, output_path: Path | None, words: dict[str, Any], *, as_json: bool) -> None:
    if input_path is None or output_path is None:
        missing = "--input_path" if input_path is None else "--output_path"
        raise DataError(f"{missing} is missing. Name the file; the command is {FORMS}.")
    sampling = _record(Sampling, {name: words[name] for name in Sampling.model_fields})
    named = {name: words[name] for name in AnsweringSettings.model_fields if name in words}
    settings = _record(AnsweringSettings, {**named, "sampling": sampling})
    made = generate_answers(input_path, output_path, settings)
    _tell(made, output_file(input_path, output_path, settings.name), as_json=as_json)


def _record(kind: type[R], values: dict[str, Any]) -> R:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise DataError(first_complaint(error)) from error


def _tell(made: AnswerFile, output: Path, *, as_json: bool) -> None:
    reasons = Counter(made.finish_reasons)
    if as_json:
        told = {"file": str(output), "journal": str(journal_of(output)), "answers": len(made.outputs)}
        print(json.dumps({**told, "finish_reasons": reasons, "parameters": made.parameters}, indent=2))
        return
    used = made.parameters
    tell(
        f"{len(made.outputs)} answers by {used['decoding']}; {reasons['length']} were cut at "
        f"{used['max_new_tokens']} tokens or the model's limit"
    )
    print(output)


SUFFIX = ".json"


class ScoredAnswerFile(AnswerFile):
    """Answers with a judge's score and side for each; None if it gives none."""

    judge: Text
    scores: tuple[float | None, ...]
    exhibits: tuple[Side | None, ...]


def score_answers(
    file: Path,
    recipe_file: Path,
    folder: Path | None,
    overrides: Sequence[str],
    out: Path | None,
    *,
    task: AnswerTask,
    budget: Budget,
    as_json: bool,
) -> None:
    """Print the scores of a file's answers by a recipe's judge; write the file with them to `out`, if given.

    Raises:
        DataError: The file can't be used, or `out` can't be written.
        RecipeError: The recipe can't be used, or names no judge.
    """
    answers = read_answers(file)
    recipe = read_recipe(recipe_file, overrides)
    judge, opinions = judged(
        open_workshop(recipe, folder_of(recipe, folder), budget=budget), _candidates(answers, task)
    )
    if out is not None:
        write_answers(out, _scored(answers, judge, opinions))
        tell(f"written: {out}")
    scores = answer_scores(opinions, answers.tags or (), task)
    if as_json:
        told = {"file": str(file), "judge": judge, "task": task}
        print(json.dumps({**told, "scores": [score.model_dump() for score in scores]}, indent=2))
        return
    draw(answer_table(file.name, judge, scores, task))


def reject_unjudged(file: Path) -> None:
    """Reject a file of answers that is given without a recipe.

    Raises:
        DataError: The file holds answers.
    """
    try:
        read_answers(file)
    except DataError:
        return
    raise DataError(f"{file} is a file of answers, but no judge is named. Name a recipe with a judge with --recipe.")


def _candidates(answers: AnswerFile, task: AnswerTask) -> list[Candidate]:
    asked = enumerate(zip(answers.messages, answers.outputs, strict=True), start=1)
    return [
        Candidate(prompt=Prompt(id=f"answer-{number:06d}", text=turn.content, input=turn.input, task=task), text=output)
        for number, (turn, output) in asked
    ]


def _scored(answers: AnswerFile, judge: str, opinions: Sequence[Opinion]) -> ScoredAnswerFile:
    return ScoredAnswerFile(
        **dict(answers),
        judge=judge,
        scores=tuple(opinion.score for opinion in opinions),
        exhibits=tuple(opinion.exhibits for opinion in opinions),
    )
