"""The verbs without options of their own, `cst run`, and `cst check`.

`cst check` also prints which differences the held-out prompts can detect. It loads and asks no model.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

from cst.annexes.cards.mixtures import planned_mixture
from cst.chat.budget import Budget
from cst.commands.console import (
    FolderOption,
    JsonOption,
    MaxCallsOption,
    MaxCostOption,
    RecipePath,
    SetOption,
    UpdateOption,
    bring,
    folder_of,
    read_recipe,
)
from cst.doors import open_workshop
from cst.errors import DataError
from cst.evaluation.comparisons import DISCORDANCE, POWER, RATE, Power, power_table
from cst.preferences.sources import Reading, read_prompts
from cst.preferences.tables import HUB
from cst.recipe.data import PromptFile, PromptSource
from cst.runs.folder import RunFolder
from cst.runs.pipeline import Verb, steps
from cst.runs.stages.rows import planned_rows
from cst.runs.workshop import Workshop


def _verb(verb: Verb) -> Callable[..., None]:
    def command(
        recipe: RecipePath,
        folder: FolderOption = None,
        overrides: SetOption = None,
        update: UpdateOption = False,
        max_calls: MaxCallsOption = None,
        max_cost: MaxCostOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """One verb.

        Earlier stages that are out of date run first; stages that are up to date are skipped.
        """
        read, budget = read_recipe(recipe, overrides or []), Budget(max_calls=max_calls, max_cost=max_cost)
        bring(open_workshop(read, folder_of(read, folder), budget=budget), until=verb, update=update, as_json=as_json)

    return command


condition, train, judge, run = _verb("condition"), _verb("train"), _verb("judge"), _verb("report")


def check(recipe: RecipePath, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """`cst check`."""
    read = read_recipe(recipe, overrides or [])
    workshop = open_workshop(read, folder_of(read, None))
    home = RunFolder(workshop.folder)
    plan = [(step, home.is_up_to_date(step.stage)) for step in steps(workshop)]
    rows = planned_rows(workshop) if read.mixture is None else planned_mixture(read.mixture)
    if as_json:
        stages = {step.stage.name: "up to date" if done else "to do" for step, done in plan}
        told = {"recipe": read.model_dump(mode="json"), "stages": stages, "rows": rows, "power": power_rows(workshop)}
        print(json.dumps(told, indent=2))
        return
    print(f"{read.name}: start model {read.model.path}, run folder {workshop.folder}")
    for model in read.models if read.mixture is None else ():
        names = [configuration.name for configuration in workshop.configurations_of(model)]
        print(f"  {model} is trained on {', '.join(names) or 'rows made elsewhere'}")
    for line in rows:
        print(f"  {line}")
    for step, done in plan:
        print(f"  {step.verb:<10} {step.stage.name:<20} {'up to date' if done else 'to do'}")
    for line in power_lines(workshop):
        print(line)


def power_lines(workshop: Workshop) -> list[str]:
    """What held-out prompts can detect, in sentences; none if the recipe holds out no prompts."""
    if not workshop.recipe.holds_out_prompts:
        return []
    try:
        rows = power_table(held_out_counts(workshop))
    except DataError as error:
        return [f"Which differences the held-out prompts can detect is not known yet: {error}"]
    told = f"Differences that held-out prompts can detect with power {POWER:g} (rate {RATE:g}; docs/statistics.md):"
    return [told, *(_words(row) for row in rows)]


def power_rows(workshop: Workshop) -> list[dict[str, object]]:
    """The same as values for `--json`."""
    try:
        return [asdict(row) for row in power_table(held_out_counts(workshop))]
    except DataError:
        return []


def held_out_counts(workshop: Workshop) -> Counter[str]:
    """The number of held-out prompts per task. The Hub is asked only if a share of its rows is held out.

    Raises:
        DataError: A file can't be read, or is on the Hub.
    """
    recipe = workshop.recipe
    if recipe.prompts.held_out_share or (recipe.preferences and recipe.preferences.held_out_share):
        return Counter(prompt.task for prompt in workshop.prompts()[1])
    counts: Counter[str] = Counter()
    for source in recipe.prompts.held_out:
        counts.update(_count(source))
    return counts


def _count(source: PromptSource) -> dict[str, int]:
    if not isinstance(source, PromptFile):
        return {source.task: source.n}
    if str(source.path).startswith(HUB):
        raise DataError(f"{source.path} is on the Hub, and is read when the run begins.")
    reading = Reading(format=source.format, columns=source.columns, skip_bad_rows=source.skip_bad_rows)
    return Counter(prompt.task for prompt in read_prompts(source.path, task=source.task, n=source.n, reading=reading))


def _words(row: Power) -> str:
    return (
        f"  {row.task}, n {row.n}: a rate within {row.half_width:.3f}; a drop of {_size(row.drop)}; two models on the "
        f"same prompts that differ by {_size(row.paired)} (if they differ on {DISCORDANCE:g} of them), on different "
        f"prompts by {_size(row.independent)}"
    )


def _size(difference: float | None) -> str:
    return "(none possible)" if difference is None else f"{difference:.3f}"
