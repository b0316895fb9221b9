"""`cst report`, `cst export-results` and `cst judge-card`: what is read off finished answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer

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
from cst.doors import open_workshop
from cst.errors import DataError, RecipeError, RunFolderError
from cst.evaluation.judge_card import JudgeCard, LabelledAnswer, task_cards
from cst.preferences.files import RowFault
from cst.preferences.rows import BadRow, FoundRow, Row, optional_text_of, read_rows, text_of
from cst.recipe import Recipe
from cst.records import Prompt, Side
from cst.reporting.further_tables import card_table
from cst.runs.folder import RunFolder, reject_another_recipe
from cst.runs.stages.scores import CARD, judge_fingerprint
from cst.store import fingerprint_of_file, write_json

LABELS: Mapping[str, Side] = {
    **dict.fromkeys(("original", "harmful", "unsafe", "0"), Side.ORIGINAL),
    **dict.fromkeys(("revised", "harmless", "safe", "1"), Side.REVISED),
}
"""The default meaning of labels. 0 and 1 are the paper's rating of harmlessness, so 1 is harmless.

Many data sets write 1 for harmful instead; the card shows how each label was read.
"""

ANSWER_NAMES = ("answer", "response")


@dataclass(frozen=True)
class LabelReading:
    """How to read a file of labelled answers: the default task, further labels, the file's column names."""

    task: str = "harmless"
    labels: Mapping[str, Side] = field(default_factory=dict[str, Side])
    columns: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Labelled:
    """The answers of a file, and the side of each of its labels."""

    answers: list[LabelledAnswer]
    labels: dict[str, Side]


def read_labelled(source: Path, reading: LabelReading) -> Labelled:
    """Read all answers of a file.

    Raises:
        DataError: The file is missing or empty, or a row has no prompt, no answer, or an unknown label.
    """
    answers: list[LabelledAnswer] = []
    labels: dict[str, Side] = {}
    bad: list[str] = []
    for number, found in enumerate(read_rows(source), start=1):
        try:
            label, answer = _answer(found, f"{source.stem}-{number:06d}", reading)
        except RowFault as fault:
            bad.append(f"{found.place} {fault}")
            continue
        answers.append(answer)
        labels[label] = answer.label
    if bad:
        raise DataError(f"{bad[0]} ({len(bad)} of {len(bad) + len(answers)} rows can't be used.)")
    return Labelled(answers, dict(sorted(labels.items())))


def _answer(found: FoundRow | BadRow, identity: str, reading: LabelReading) -> tuple[str, LabelledAnswer]:
    if isinstance(found, BadRow):
        raise RowFault(found.reason)
    row = {**found.row, **{name: _own(found.row, own) for name, own in reading.columns.items()}}
    label, side = _label(row, reading.labels)
    prompt = Prompt(
        id=identity,
        text=text_of(row, "prompt"),
        task=optional_text_of(row, "task") or reading.task,
        topic=optional_text_of(row, "topic"),
        system_prompt=optional_text_of(row, "system_prompt"),
    )
    name = next((name for name in ANSWER_NAMES if name in row), ANSWER_NAMES[0])
    return label, LabelledAnswer(prompt=prompt, text=text_of(row, name), label=side)


def _own(row: Row, name: str) -> object:
    if name not in row:
        raise RowFault(f"has no field {name!r}, only {sorted(row)}. Correct --column.")
    return row[name]


def _label(row: Row, labels: Mapping[str, Side]) -> tuple[str, Side]:
    """The label in lower case (a whole number without its fraction), and its side."""
    value = row.get("label")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip().lower()
    known = {**LABELS, **{name.lower(): side for name, side in labels.items()}}
    if text not in known:
        raise RowFault(
            f"has label={value!r}, which names no side. Labels are {', '.join(known)}; map others with "
            "--label NAME=original or --label NAME=revised."
        )
    return text, known[text]


def pairs_of(words: Sequence[str], option: str) -> dict[str, str]:
    """Parse the `NAME=VALUE` words of an option.

    Raises:
        DataError: A word has no `=`, or nothing on one side of it.
    """
    pairs = {name: value for name, _, value in (word.rpartition("=") for word in words)}
    for name, value in pairs.items():
        if not name or not value:
            raise DataError(f"{option} {name or value!r} can't be read; write {option} NAME=VALUE.")
    return pairs


def sides_of(words: Sequence[str]) -> dict[str, Side]:
    """Parse `--label NAME=SIDE` words.

    Raises:
        DataError: A word has another form, or names no side.
    """
    pairs = pairs_of(words, "--label")
    for name, side in pairs.items():
        if side not in set(Side):
            raise DataError(f"--label {name}={side} names no side; write {name}=original or {name}=revised.")
    return {name: Side(side) for name, side in pairs.items()}


def judge_card(
    labelled: Annotated[
        Path, typer.Argument(metavar="FILE", help="Labelled answers: rows with prompt, answer (or response), label.")
    ],
    recipe_file: Annotated[Path, typer.Option("--recipe", help="The recipe whose judge is measured.")],
    folder: FolderOption = None,
    overrides: SetOption = None,
    task: Annotated[str, typer.Option(help="The task of rows that name none.")] = "harmless",
    label: Annotated[
        list[str] | None, typer.Option(help="NAME=original or NAME=revised: the meaning of a label; repeatable.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="NAME=COLUMN: the file's name of a column; repeatable.")
    ] = None,
    positive: Annotated[
        Literal["original", "revised"], typer.Option(help="The positive class of recall, precision and F1.")
    ] = "original",
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    as_json: JsonOption = False,
) -> None:
    """`cst judge-card`.

    Writes judge_card.json, by which scores are corrected. Labels are original (harmful, unsafe, 0) and revised
    (harmless, safe, 1), unless --label says otherwise. Each answer is judged four times: as it is, and with three
    suffixes that try to influence the judge.
    """
    reading = LabelReading(task, sides_of(label or []), pairs_of(column or [], "--column"))
    budget = Budget(max_calls=max_calls, max_cost=max_cost)
    recipe = read_recipe(recipe_file, overrides or [])
    home = folder_of(recipe, folder)
    card = make_card(labelled, recipe, home, reading, positive=Side(positive), budget=budget)
    out = recipe.judge_card or home / CARD
    write_json(out, card)
    if as_json:
        print(json.dumps(card.model_dump(mode="json"), indent=2))
    else:
        draw(card_table(card))
        tell(f"card: {out}")


def make_card(
    labelled: Path, recipe: Recipe, home: Path, reading: LabelReading, *, positive: Side, budget: Budget | None = None
) -> JudgeCard:
    """Make the card of a recipe's judge. Model calls are journalled in its run folder, so a repeated call resumes.

    Raises:
        DataError: The labelled file can't be used.
        RecipeError: The recipe names no judge.
        CstError: The judge failed.
    """
    workshop = open_workshop(recipe, home, budget=budget)
    read = read_labelled(labelled, reading)
    if recipe.judge is None:
        raise RecipeError("The recipe has no section `judge`, so there is no judge to measure. Add it.")
    with RunFolder(home).locked():
        reject_another_recipe(workshop.recipe, workshop.folder)
        try:
            tasks = task_cards(read.answers, workshop.judge, positive=positive)
            name = workshop.judge.name
        finally:
            workshop.close()
    return JudgeCard(
        judge=name,
        settings=recipe.judge.model_dump(mode="json"),
        fingerprint=judge_fingerprint(workshop),
        labelled=labelled.name,
        labelled_sha256=fingerprint_of_file(labelled),
        labels=read.labels,
        positive=positive,
        tasks=tasks,
    )


COMPARISON = Path("runs") / "comparison"
"""The default output folder of a comparison."""


def report(
    named: Annotated[
        list[Path], typer.Argument(metavar="RECIPE|RUN...", help="A recipe, `miniature`, or run folders to compare.")
    ],
    folder: FolderOption = None,
    overrides: SetOption = None,
    update: UpdateOption = False,
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Output folder of a comparison; by default runs/comparison.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """`cst report`.

    Earlier stages that are out of date run first; stages that are up to date are skipped.
    """
    budget = Budget(max_calls=max_calls, max_cost=max_cost)
    if are_runs(named):
        if folder is not None or overrides or update or budget != Budget():
            raise RecipeError("--folder, --set, --update, --max-calls and --max-cost are for a recipe, not for runs.")
        compare(named, output or COMPARISON, as_json=as_json)
        return
    if output is not None:
        raise RecipeError(f"--output {output} is for a comparison of run folders. Leave it out for a recipe.")
    recipe = read_recipe(named[0], overrides or [])
    bring(
        open_workshop(recipe, folder_of(recipe, folder), budget=budget), until="report", update=update, as_json=as_json
    )


def are_runs(named: Sequence[Path]) -> bool:
    """Whether the paths are run folders: several paths, or one with a recipe.json in it."""
    return len(named) > 1 or (named[0] / "recipe.json").is_file()


def compare(folders: Sequence[Path], output: Path, *, as_json: bool) -> None:
    """Write `comparison.md`, `comparison.html` and tables; an earlier comparison among the folders is skipped."""
    from cst.annexes.compare import compare_runs
    from cst.reporting.exports import named_tables, write_tables

    runs = [folder for folder in folders if folder.resolve() != output.resolve()]
    if not runs:
        raise RunFolderError(f"{output} is where the comparison goes; name run folders to compare, such as runs/*.")
    done = compare_runs(runs, output)
    write_tables(output / "tables", named_tables(done.tables))
    if as_json:
        told = {
            "runs": {run.label: [score.model_dump(mode="json") for score in run.scores] for run in done.runs},
            "differences": [difference.model_dump(mode="json") for difference in done.differences],
            "capability_differences": [each.model_dump(mode="json") for each in done.capability_differences],
            "made_differently": done.made_differently,
            "left_out": done.left_out,
            "cautions": done.cautions,
            "files": [str(done.html), str(done.markdown)],
        }
        print(json.dumps(told, indent=2))
        return
    for caution in done.cautions:
        tell(caution)
    for section in done.sections:
        for table in () if section.folded else section.tables:
            draw(table)
    print(f"comparison: {done.html} (and comparison.md, tables/)")


def export_results(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder.")],
    output: Annotated[Path | None, typer.Option(help="Output folder; by default the run folder.")] = None,
    png: Annotated[bool, typer.Option("--png", help="Also write figures as PNG.")] = False,
    as_json: JsonOption = False,
) -> None:
    """`cst export-results`."""
    from cst.reporting.exports import write_results

    written = write_results(folder, output or folder, kinds=("pdf", "png") if png else ("pdf",))
    if as_json:
        print(json.dumps({"files": [str(path) for path in written]}, indent=2))
    else:
        print(f"{len(written)} files in {output or folder}: tables/, figures/, and results.tex, which has all")
