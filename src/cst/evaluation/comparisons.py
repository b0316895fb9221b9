"""Two models on the same prompts: exact McNemar tests and the difference with its interval.

Only prompts on which both were scored are compared; the others are counted. This file doesn't know which model is a
baseline.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field
from scipy.stats import binomtest

from cst.errors import DataError
from cst.evaluation.scores import Cell, Outcome, by_cell, outcomes
from cst.intervals import IntervalMethod, PairedCounts, effective_n, newcombe
from cst.records import (
    NOT_WRITTEN_IF_NONE,
    Completion,
    Framing,
    Record,
    SafetyConfiguration,
    Text,
    Verdict,
    WordingKind,
)

Count = Annotated[int, Field(ge=0)]


class PairedTest(Record):
    """Model A against model B on the `n` prompts that both were scored on.

    `only_a` prompts were followed by A alone. `p_value` is the exact McNemar test's, two-sided. `difference` is the
    rate of A minus that of B, in [-1, 1], with its 95 % interval; `interval` names the method. `unscored` prompts lack
    a verdict on A or B.
    """

    model_a: Text
    model_b: Text
    task: Text
    configuration: Text
    wordings: WordingKind
    temperature: Annotated[float, Field(ge=0)]
    n: Count
    unscored: Count
    only_a: Count
    only_b: Count
    p_value: Annotated[float, Field(ge=0, le=1)]
    difference: Annotated[float, Field(ge=-1, le=1)] | None
    low: Annotated[float, Field(ge=-1, le=1)]
    high: Annotated[float, Field(ge=-1, le=1)]
    interval: IntervalMethod
    framing: Annotated[Framing | None, NOT_WRITTEN_IF_NONE] = None


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test (1947, Psychometrika 12, 153): a fair coin over discordant pairs."""
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def compare(
    completions: Sequence[Completion],
    verdicts: Sequence[Verdict],
    configurations: Sequence[SafetyConfiguration],
    *,
    model_a: str,
    model_b: str,
) -> list[PairedTest]:
    """One test for every cell in which both models answered.

    Raises:
        DataError: one of the models answered nothing, or the two were asked different prompts in a cell.
    """
    cells = by_cell(outcomes(completions, verdicts, configurations))
    return compare_cells(cells, model_a=model_a, model_b=model_b)


def compare_cells(among: Sequence[tuple[Cell, Sequence[Outcome]]], *, model_a: str, model_b: str) -> list[PairedTest]:
    """The same, of outcomes that were put together by cell before. Raises as `compare`."""
    cells = dict(among)
    for model in (model_a, model_b):
        if all(cell.model != model for cell in cells):
            raise DataError(f"model {model!r} has no completions to compare; it is none of {_models(cells)}")
    tests: list[PairedTest] = []
    for cell, ours in cells.items():
        theirs = cells.get(cell._replace(model=model_b))
        if cell.model == model_a and theirs is not None:
            tests.append(_test(cell, model_b, _paired(cell, ours, theirs)))
    return tests


def _models(cells: Iterable[Cell]) -> str:
    return ", ".join(sorted({cell.model for cell in cells}))


def _paired(cell: Cell, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """The outcomes of one prompt side by side."""
    by_prompt = {outcome.completion.prompt.id: outcome for outcome in theirs}
    ids = [outcome.completion.prompt.id for outcome in ours]
    if set(ids) != set(by_prompt) or len(ids) != len(theirs):
        raise DataError(
            f"{cell.task}/{cell.configuration}/{cell.wordings}: the models answered different prompts "
            f"({len(ids)} and {len(theirs)}); generate both from the same prompts"
        )
    return [(outcome, by_prompt[id]) for id, outcome in zip(ids, ours, strict=True)]


def _test(cell: Cell, model_b: str, pairs: Sequence[tuple[Outcome, Outcome]]) -> PairedTest:
    scored = [
        (a.followed, b.followed, a.completion.prompt.groups)
        for a, b in pairs
        if a.followed is not None and b.followed is not None
    ]
    counts = paired_counts([(a, b) for a, b, _ in scored])
    differences = [float(a) - float(b) for a, b, _ in scored]
    interval = newcombe(counts, effective_n(differences, [groups for _, _, groups in scored]))
    return PairedTest(
        model_a=cell.model,
        model_b=model_b,
        task=cell.task,
        configuration=cell.configuration,
        wordings=cell.wordings,
        temperature=cell.temperature,
        n=counts.n,
        unscored=len(pairs) - counts.n,
        only_a=counts.only_a,
        only_b=counts.only_b,
        p_value=mcnemar(counts.only_a, counts.only_b),
        difference=(counts.only_a - counts.only_b) / counts.n if counts.n else None,
        low=interval.low,
        high=interval.high,
        interval=interval.method,
        framing=cell.framing,
    )


def paired_counts(pairs: Sequence[tuple[bool, bool]]) -> PairedCounts:
    """Count the four kinds of (A, B) outcomes."""
    return PairedCounts(
        both=pairs.count((True, True)),
        only_a=pairs.count((True, False)),
        only_b=pairs.count((False, True)),
        neither=pairs.count((False, False)),
    )
