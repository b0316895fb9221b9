"""Instruction rows with safety examples among them: which rows can be used, which are drawn, and in what order.

After Bianchi et al. (arXiv 2309.07875): all mixtures have the same instruction rows, and fewer safety examples are the
first of more, so that models differ by the number of them alone. This file knows no recipe and no folder.
"""

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from cst.errors import DataError
from cst.near_duplicates import nearest_known
from cst.preferences.sources import without_repeats
from cst.preferences.splits import hold_out_rows
from cst.records import Demonstration, Prompt, Record
from cst.texts import text_of_turns

Count = Annotated[int, Field(ge=0)]

Part: TypeAlias = Literal["instructions", "safety"]

ALSO_SAFETY, HELD_OUT, NEAR_HELD_OUT = "also_a_safety_example", "held_out_prompt", "near_a_held_out_prompt"
"""Why a row isn't used: a safety example asks the same, a held-out prompt does, or one nearly does."""


@dataclass(frozen=True)
class SourceRows:
    """The rows of a source, and how many of those that can be used are drawn (all where `n` is None).

    `where` is what errors call it: a recipe's key, or an option.
    """

    rows: Sequence[Demonstration]
    n: int | None
    where: str


class PartRows(Record):
    """What became of a part's rows: `dropped` by reason, `drawn` for a mixture, `validation` of these set apart."""

    part: Part
    rows: Count
    dropped: dict[str, Count]
    drawn: Count
    validation: Count = 0

    def __str__(self) -> str:
        """One line for people."""
        apart = f", {self.validation} of them set apart" if self.validation else ""
        return f"{self.part}: {self.drawn} of {self.rows} rows{apart}{_told(self.dropped)}"


@dataclass(frozen=True)
class Parts:
    """What mixtures are made of: the instruction rows of all of them, and safety examples in their order."""

    instructions: Sequence[Demonstration]
    safety: Sequence[Demonstration]
    counts: Mapping[Part, PartRows]


@dataclass(frozen=True)
class Mixture:
    """The rows to train on, those set apart for the validation loss, and what became of each part."""

    training: Sequence[Demonstration]
    validation: Sequence[Demonstration]
    counts: tuple[PartRows, ...]


def parts_of(
    instructions: Sequence[SourceRows],
    safety: Sequence[SourceRows],
    *,
    held_out: Sequence[Prompt] = (),
    close_to_held_out: float | None = None,
    seed: int = 0,
) -> Parts:
    """The rows that ask no held-out prompt, of each source as many as it is to give, drawn by the seed.

    Rows that share `close_to_held_out` of their words (Jaccard) with a held-out prompt are left out too; None for no
    such search. An instruction row that asks what a safety example asks is left out: the model without safety examples
    would learn from it.

    Raises:
        DataError: A source has too few rows that can be used, or an id stands twice.
    """
    list(without_repeats(chain.from_iterable(source.rows for source in (*instructions, *safety)), "The mixture"))
    safe_prompts = {text_of_turns(row) for source in safety for row in source.rows}
    rules = _Rules([text_of_turns(prompt) for prompt in held_out], close_to_held_out, seed)
    chosen, counts = _part("instructions", instructions, rules, safe_prompts)
    examples, examples_counts = _part("safety", safety, rules, set())
    ordered = _drawn(examples, len(examples), f"{seed}/safety")
    return Parts(chosen, ordered, {"instructions": counts, "safety": examples_counts})


def mixture(parts: Parts, safety_examples: int, *, where: str, validation_rows: int = 0, seed: int = 0) -> Mixture:
    """The instruction rows and the first `safety_examples`, shuffled; whole near-duplicate groups are set apart.

    `where` is what an error calls the number of safety examples.

    Raises:
        DataError: There are fewer safety examples, or too few rows to set any apart.
    """
    if safety_examples > len(parts.safety):
        raise DataError(
            f"{where} asks for {safety_examples} safety examples, and there are {len(parts.safety)} that can be used"
            f"{_told(parts.counts['safety'].dropped)}. Name more of them, or a lower number."
        )
    taken = {"instructions": parts.instructions, "safety": parts.safety[:safety_examples]}
    rows = [*taken["instructions"], *taken["safety"]]
    rows = _drawn(rows, len(rows), f"{seed}/order")
    training, apart = hold_out_rows(rows, validation_rows, where="mixture.validation_rows", seed=seed)
    ids = {row.id for row in apart}
    counts = tuple(
        count.model_copy(update={"drawn": len(taken[part]), "validation": sum(row.id in ids for row in taken[part])})
        for part, count in parts.counts.items()
    )
    return Mixture(training, apart, counts)


@dataclass(frozen=True)
class _Rules:
    """What decides which rows of a source are used, besides the source."""

    held_out: Sequence[str]
    close_to_held_out: float | None
    seed: int


def _part(
    part: Part, sources: Sequence[SourceRows], rules: _Rules, elsewhere: Collection[str]
) -> tuple[list[Demonstration], PartRows]:
    """The drawn rows of a part's sources, none of whose prompts stands `elsewhere`, and their counts."""
    drawn: list[Demonstration] = []
    dropped: Counter[str] = Counter()
    for number, source in enumerate(sources):
        reasons = _dropped(source.rows, rules, elsewhere)
        usable = [row for index, row in enumerate(source.rows) if index not in reasons]
        lost = Counter(reasons.values())
        n = len(usable) if source.n is None else source.n
        if n > len(usable):
            raise DataError(
                f"{source.where} asks for {n} rows, and {len(usable)} of its {len(source.rows)} can be used"
                f"{_told(lost)}. Name a larger source, or a lower number."
            )
        drawn += _drawn(usable, n, f"{rules.seed}/{part}/{number}")
        dropped += lost
    rows = sum(len(source.rows) for source in sources)
    return drawn, PartRows(part=part, rows=rows, dropped=dict(sorted(dropped.items())), drawn=len(drawn))


def _dropped(rows: Sequence[Demonstration], rules: _Rules, elsewhere: Collection[str]) -> dict[int, str]:
    """The numbers of the rows that can't be used, each with its reason; the plainest of several."""
    texts, known = [text_of_turns(row) for row in rows], set(rules.held_out)
    found: dict[int, str] = {}
    if rules.close_to_held_out is not None and known:
        nearest = nearest_known(texts, rules.held_out, threshold=rules.close_to_held_out)
        found |= {index: NEAR_HELD_OUT for index, near in enumerate(nearest) if near is not None}
    found |= {index: ALSO_SAFETY for index, text in enumerate(texts) if text in elsewhere}
    return found | {index: HELD_OUT for index, text in enumerate(texts) if text in known}


def _drawn(rows: Sequence[Demonstration], n: int, seed: str) -> list[Demonstration]:
    """`n` rows in an order that the seed draws."""
    return random.Random(seed).sample(rows, n)


def _told(dropped: Mapping[str, int]) -> str:
    """Why rows were dropped, as the end of a clause; nothing where none were."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    return f" (dropped: {reasons})" if reasons else ""
