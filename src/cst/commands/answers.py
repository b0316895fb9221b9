"""`cst generate` over a JSON file of instructions, and `cst score` of answer files and published tables."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from cst.annexes.safety_tuned_llamas.answering import AnswerFile, read_answers, write_answers
from cst.annexes.safety_tuned_llamas.scores import AnswerTask, answer_scores, answer_table
from cst.chat.budget import Budget
from cst.commands.console import (
    FolderOption,
    JsonOption,
    MaxCallsOption,
    MaxCostOption,
    SetOption,
    UpdateOption,
    draw,
    folder_of,
    read_recipe,
    tell,
)
from cst.commands.scoring import judged
from cst.doors import open_workshop
from cst.errors import DataError
from cst.judges import Candidate, Opinion
from cst.records import Prompt, Side, Text

if TYPE_CHECKING:
    from cst.records import Record


R = TypeVar("R", bound="Record")

ABOUT_FILES = (
    "With --input_path it answers a JSON file of instructions, as Safety-Tuned LLaMAs' generate_answers.py did:\n\n"
    "cst generate --base_model MODEL --input_path FILE --output_path FILE\n\n"
    "A prompt is one user turn, the instruction with its input below it. All flags are honoured, and what was really "
    "used is written beside the answers. A journal is kept beside the output: the same command goes on where it was "
    "stopped."
)

OF_A_RECIPE = frozenset({"recipe", "folder", "overrides", "update", "max_calls", "max_cost", "format"})
"""The command's words that speak of a recipe; all others but `as_json` speak of a JSON file."""

FORMS = "`cst generate RECIPE`, or `cst generate --base_model MODEL --input_path FILE --output_path FILE`"


def _flag(name: str, help: str) -> Any:  # noqa: ANN401 - what typer calls an option's type
    """An option under the original's name."""
    return typer.Option(f"--{name}", help=help, rich_help_panel="Over a JSON file")


HYPHENS_TOO: dict[str, Callable[[str], str]] = {"token_normalize_func": lambda word: word.replace("-", "_")}
"""Settings of the command with which `--base-model` is `--base_model`."""

OptionalRecipe = Annotated[Path | None, typer.Argument(metavar="RECIPE", help="A recipe file, `miniature` or `sweep`.")]
Format = Annotated[
    Literal["jsonl", "md"],
    typer.Option(help="`md` also writes each model's answers as the paper published its own."),
]
InputPath = Annotated[
    Path | None, _flag("input_path", 'The questions: {"instructions": [...], "inputs": [...], "tags": [...]}.')
]
OutputPath = Annotated[
    Path | None, _flag("output_path", "A .json file; or a folder, in which WEIGHTS/INPUT is written.")
]
BaseModel = Annotated[
    str | None, _flag("base_model", "Folder, hub id or `miniature`; by default what the adapter was made for.")
]
LoraWeights = Annotated[str | None, _flag("lora_weights", "An adapter: folder or hub id.")]
Load8bit = Annotated[bool, _flag("load_8bit", "Load the model in 8 bits, by bitsandbytes.")]
Template = Annotated[
    Path | None,
    _flag("prompt_template_path", "A template, Alpaca-style JSON or Jinja; by default the tokenizer's own."),
]
MaxNewTokens = Annotated[int, _flag("max_new_tokens", "Longest answer in tokens.")]
NumBeams = Annotated[int, _flag("num_beams", "Beams of a search; 1 is none.")]
Temperature = Annotated[float, _flag("temperature", "0 draws nothing.")]
TopK = Annotated[int, _flag("top_k", "If drawn: of the k most probable tokens; 0 is all.")]
TopP = Annotated[float, _flag("top_p", "If drawn: of the nucleus of this mass; 1 is all.")]
Seed = Annotated[int, _flag("seed", "If drawn: with which random numbers.")]
BatchSize = Annotated[int, _flag("batch_size", "Instructions that are answered at once.")]
Device = Annotated[str | None, _flag("device", "Such as `cpu` or `cuda:0`; by default a GPU if there is one.")]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    _flag("dtype", "Type of the weights in memory; `auto` is float32 on a CPU, else the checkpoint's."),
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
    """`cst generate`: its help is that of the verb."""
    reject_mixed_forms(_given(context))
    if recipe is None:
        _over_file(input_path, output_path, context.params, as_json=as_json)
        return
    from cst.chat.budget import Budget
    from cst.commands import console
    from cst.commands import scoring as published_command

    read = console.read_recipe(recipe, overrides or [])
    home, budget = console.folder_of(read, folder), Budget(max_calls=max_calls, max_cost=max_cost)
    console.bring(open_workshop(read, home, budget=budget), until="generate", update=update, as_json=as_json)
    if format == "md":
        published_command.write_tables(recipe, folder, overrides or [])


def _given(context: typer.Context) -> list[str]:
    """The names of what was typed, and isn't a default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def reject_mixed_forms(given: Sequence[str]) -> None:
    """Refuse words of which some speak of a recipe and some of a file, or that name neither of the two.

    Raises:
        DataError: They do, and the message names one of each.
    """
    of_file = [name for name in given if name not in OF_A_RECIPE and name != "as_json"]
    of_recipe = [name for name in given if name in OF_A_RECIPE]
    if of_file and of_recipe:
        shown = "a RECIPE" if of_recipe[0] == "recipe" else f"--{of_recipe[0].replace('overrides', 'set')}"
        raise DataError(f"{shown} and --{of_file[0]} belong to different forms of the command: {FORMS}. Choose one.")
    if not of_file and "recipe" not in of_recipe:
        raise DataError(f"Nothing says what is to be answered. Give {FORMS}.")


def _over_file(input_path: Path | None, output_path: Path | None, words: dict[str, Any], *, as_json: bool) -> None:
    from cst.annexes.safety_tuned_llamas.answering import AnsweringSettings, generate_answers, output_file
    from cst.records import Sampling

    if input_path is None or output_path is None:
        missing = "--input_path" if input_path is None else "--output_path"
        raise DataError(f"{missing} is missing. Name the file; the command is {FORMS}.")
    sampling = _record(Sampling, {name: words[name] for name in Sampling.model_fields})
    named = {name: words[name] for name in AnsweringSettings.model_fields if name in words}
    settings = _record(AnsweringSettings, {**named, "sampling": sampling})
    made = generate_answers(input_path, output_path, settings)
    _tell(made, output_file(input_path, output_path, settings.name), as_json=as_json)


def _record(kind: type[R], values: dict[str, Any]) -> R:
    from pydantic import ValidationError

    from cst.store import first_complaint

    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise DataError(first_complaint(error)) from error


def _tell(made: "AnswerFile", output: Path, *, as_json: bool) -> None:
    from cst.annexes.safety_tuned_llamas.answering import journal_of
    from cst.commands.console import tell

    reasons = Counter(made.finish_reasons)
    if as_json:
        told = {"file": str(output), "journal": str(journal_of(output)), "answers": len(made.outputs)}
        print(json.dumps({**told, "finish_reasons": reasons, "parameters": made.parameters}, indent=2))
        return
    used = made.parameters
    tell(
        f"{len(made.outputs)} answers by {used['decoding']}, {reasons['length']} of them cut at "
        f"{used['max_new_tokens']} tokens or the model's limit"
    )
    print(output)


SUFFIX = ".json"


class ScoredAnswerFile(AnswerFile):
    """Answers, and what a judge says of each: its own number and the side that it sees, None where it has none."""

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
    """Print the scores of a file's answers by the judge of a recipe; write them beside the answers where `out` says.

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
    """Refuse a file of answers that is given without a recipe.

    Raises:
        DataError: It is one.
    """
    try:
        read_answers(file)
    except DataError:
        return
    raise DataError(f"{file} is a file of answers, and no recipe says who judges them. Name one with --recipe.")


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
