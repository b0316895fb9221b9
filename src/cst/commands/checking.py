"""What a recipe's held-out prompts will be able to tell, said before a run is paid for. No model is asked or loaded."""

from collections import Counter
from dataclasses import asdict

from cst.errors import DataError
from cst.evaluation.comparisons import DISCORDANCE, POWER, RATE, Power, power_table
from cst.preferences.hub import HUB
from cst.preferences.sources import Reading, read_prompts
from cst.recipe.data import PromptFile, PromptSource
from cst.runs.workshop import Workshop


def power_lines(workshop: Workshop) -> list[str]:
    """Sentences for people; none where the recipe has no held-out prompts."""
    if not workshop.recipe.holds_out_prompts:
        return []
    try:
        rows = power_table(held_out_counts(workshop))
    except DataError as error:
        return [f"What the held-out prompts can tell isn't known yet: {error}"]
    told = f"What held-out prompts can tell with power {POWER:g} (rates near {RATE:g}; docs/statistics.md):"
    return [told, *(_words(row) for row in rows)]


def power_rows(workshop: Workshop) -> list[dict[str, object]]:
    """The same for a machine."""
    try:
        return [asdict(row) for row in power_table(held_out_counts(workshop))]
    except DataError:
        return []


def held_out_counts(workshop: Workshop) -> Counter[str]:
    """The number of held-out prompts of each task; the hub isn't asked, but for rows of which a share is held out.

    Raises:
        DataError: A file can't be read, or lies on the hub.
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
        raise DataError(f"{source.path} lies on the hub, and is read when the run begins.")
    reading = Reading(format=source.format, columns=source.columns, skip_bad_rows=source.skip_bad_rows)
    return Counter(prompt.task for prompt in read_prompts(source.path, task=source.task, n=source.n, reading=reading))


def _words(row: Power) -> str:
    return (
        f"  {row.task}, n {row.n}: a rate within {row.half_width:.3f}; a drop of {_size(row.drop)}; two models on the "
        f"same prompts that differ by {_size(row.paired)} (if they differ on {DISCORDANCE:g} of them), on different "
        f"prompts by {_size(row.independent)}"
    )


def _size(difference: float | None) -> str:
    return "(none that is possible)" if difference is None else f"{difference:.3f}"
