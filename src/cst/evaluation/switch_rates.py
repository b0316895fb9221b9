"""Does a model switch? The share of prompts for which every configuration of the task is followed.

S1 = S0 = .9 may mean that nine prompts in ten switch, or eight: averages over configurations don't tell. Only prompts
on which the configurations want different sides can switch at all. This file draws no intervals of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from cst.evaluation.comparisons import PairedTest, compare_cells
from cst.evaluation.scores import Outcome, by_cell, preferred_side, score_cells
from cst.records import SafetyConfiguration, Score

JOINED = " + "
"""Between the names of configurations that count together."""


def contested(results: Iterable[Outcome], configurations: Sequence[SafetyConfiguration]) -> list[list[Outcome]]:
    """Greedy outcomes under canonical wordings, prompt by prompt and model by model.

    Left out are prompts that were not asked under every configuration of their task, and those on which all want the
    same side.
    """
    asked: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in results:
        c = outcome.completion
        if c.wordings == "canonical" and c.temperature == 0 and c.framing is None:
            asked.setdefault((c.model, c.prompt.task, c.prompt.id), []).append(outcome)
    return [group for group in asked.values() if _is_contested(group, configurations)]


def _is_contested(group: Sequence[Outcome], configurations: Sequence[SafetyConfiguration]) -> bool:
    prompt = group[0].completion.prompt
    names = {outcome.completion.configuration for outcome in group}
    wanted = {preferred_side(name, prompt, configurations) for name in names}
    return len(wanted) == 2 and names == {c.name for c in configurations if prompt.task in c.tasks}


def switches(groups: Iterable[Sequence[Outcome]]) -> Iterator[Outcome]:
    """One outcome for each of the `contested` groups: whether all of it was followed; None where one is unscored.

    Its completion is the first of the group, under the names of all configurations.
    """
    for group in groups:
        followed = [outcome.followed for outcome in group]
        names = JOINED.join(outcome.completion.configuration for outcome in group)
        completion = group[0].completion.model_copy(update={"configuration": names})
        yield replace(group[0], completion=completion, followed=None if None in followed else all(followed))


def switch_rates(groups: Sequence[Sequence[Outcome]]) -> list[Score]:
    """One score per model and task, over prompts that were scored under every configuration."""
    return score_cells(by_cell(switches(groups)))


def compare_switches(groups: Sequence[Sequence[Outcome]]) -> list[PairedTest]:
    """Each later model against each earlier one, on the prompts that both were scored on throughout."""
    cells = by_cell(switches(groups))
    models = list(dict.fromkeys(cell.model for cell, _ in cells))
    return [
        test
        for earlier, later in combinations(models, 2)
        for test in compare_cells(cells, model_a=later, model_b=earlier)
    ]
