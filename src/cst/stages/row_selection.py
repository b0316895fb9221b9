"""Which preference rows of a model are trained on, as the recipe says: held-out ones taken out, tasks mixed by weight.

The stage `condition` writes rows through `write_rows`; what became of them is kept in `preferences/MODEL.counts.json`.
`cst check` asks `planned_rows` before anything is run. How rows are selected is said in `preferences.selection`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

from cst.preferences.selection import TaskRows, select
from cst.recipe import PreferenceFile
from cst.records import Preference, Prompt
from cst.store import fingerprint_of_file, read_records, write_json, write_records
from cst.workshop import Workshop, held_out_files


@dataclass(frozen=True)
class RowPlan:
    """How a model's rows are selected, and by which files; there are none where all rows are trained on."""

    weights: Mapping[str, float] | None
    seed: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def depends_on(self) -> list[object]:
        """What decides the selection besides its input files."""
        return [] if self.weights is None else [dict(self.weights), self.seed]


def row_plan(workshop: Workshop, model: str) -> RowPlan:
    """A mix is over the tasks that the model's configurations speak of; rows of a file never ask held-out prompts."""
    recipe = workshop.recipe
    is_file = recipe.preferences is not None
    takes_all = is_file and not recipe.models[model]
    speaking = [] if takes_all else workshop.configurations_of(model)
    tasks = {task for configuration in speaking for task in configuration.tasks}
    weights = {task: weight for task, weight in recipe.mixing.items() if takes_all or task in tasks}
    inputs = held_out_files(recipe) if is_file and recipe.holds_out_prompts else ()
    outputs = (counts_of(model),) if inputs or recipe.mixing else ()
    return RowPlan(weights if recipe.mixing else None, recipe.seed, inputs, outputs)


def origin_of(source: PreferenceFile) -> list[object]:
    """What decides the rows of a file: how it is read and what it holds; a data set of the hub is told by its name."""
    return [source, fingerprint_of_file(source.path) if source.path.is_file() else None]


def counts_of(model: str) -> str:
    """The file of a run folder that says what became of a model's rows."""
    return f"preferences/{model}.counts.json"


def write_rows(rows: Callable[[], Iterable[Preference]], plan: RowPlan, folder: Path, output: Path) -> None:
    """Write the selected rows, and what became of the others; rows are asked for once more where some are left out.

    Raises:
        DataError: The rows can't be mixed by the weights.
    """
    if not plan.outputs:
        write_records(output, rows())
        return
    held_out = [prompt for name in plan.inputs for prompt in read_records(folder / name, Prompt)]
    selection = select(rows(), held_out=held_out, weights=plan.weights, seed=plan.seed)
    write_records(output, compress(rows(), selection.keeps))
    write_json(folder / plan.outputs[0], selection.counts)


def planned_rows(workshop: Workshop) -> list[str]:
    """What a run would hold out and mix, line by line; files that the recipe names are read, no model is asked.

    Raises:
        DataError: A file can't be used, or its rows can't be held out or mixed as the recipe says.
    """
    recipe, source = workshop.recipe, workshop.recipe.preferences
    is_selected = source is not None and (recipe.holds_out_prompts or bool(recipe.mixing))
    if not (is_selected or recipe.prompts.held_out_share):
        return _shares(recipe.mixing)
    training, held_out = workshop.prompts()
    asked = sum(1 for _ in training)
    lines = [f"{len(held_out)} prompts held out{f', {asked} to synthesize from' if asked else ''}"]
    if source is None:
        return [*lines, *_shares(recipe.mixing)]
    for model in recipe.models:
        rows = workshop.preferences_for(model, source)
        weights = row_plan(workshop, model).weights
        selection = select(rows, held_out=held_out, weights=weights, seed=recipe.seed)
        lines += [f"{model}: {told(counts)}" for counts in selection.counts]
    return lines


def _shares(weights: Mapping[str, float]) -> list[str]:
    return [f"mixing: {task} {weight / sum(weights.values()):.1%} of the rows" for task, weight in weights.items()]


def told(counts: TaskRows) -> str:
    """What became of a task's rows, in one line."""
    return (
        f"{counts.task}: {counts.kept} of {counts.rows} rows to train on ({counts.held_out} held out, "
        f"{counts.left_out} left out by the mix)"
    )
