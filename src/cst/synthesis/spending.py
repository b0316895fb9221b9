"""What pairs took: calls, tokens, money and time, summed up from a journal."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from cst.chat.journal import Call
from cst.records import Record
from cst.synthesis.gates import SynthesisSummary

STEP = re.compile(r"(original|critique|revised)(_\d+)?/")
"""How the id of a request of synthesis begins; other stages share the journal."""


class PerPair(Record):
    """What one accepted pair took on average, dropped prompts and failed calls included."""

    calls: float
    prompt_tokens: float
    completion_tokens: float
    cost: float
    call_seconds: float


class Spending(Record):
    """All calls of a run's synthesis, earlier runs in its folder included.

    `failures` counts calls without an answer by kind, each of which was asked again or stopped the run; `sent` is one
    that never ended. `cost` is in the prices' currency; a call whose cost isn't known counts with the most it may cost.
    `call_seconds` is the sum of the calls' times, many of which may have been in flight at once. `per_pair` is None
    where there are no pairs.
    """

    calls: int
    answered: int
    failures: dict[str, int]
    prompt_tokens: int
    completion_tokens: int
    cost: float
    call_seconds: float
    pairs: int
    per_pair: PerPair | None = None


def spending(calls: Iterable[Call], made: Sequence[SynthesisSummary]) -> Spending:
    """What the calls of synthesis came to, and how many pairs came of them."""
    pairs = sum(summary.pairs for summary in made)
    outcomes: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    seconds = 0.0
    for call in calls:
        if STEP.match(call.what):
            outcomes[call.outcome] += 1
            sums["cost"] += call.cost
            sums["prompt"] += call.prompt_tokens or 0
            sums["completion"] += call.completion_tokens or 0
            seconds += call.seconds or 0.0
    spent = Spending(
        calls=outcomes.total(),
        answered=outcomes["answered"],
        failures={kind: n for kind, n in sorted(outcomes.items()) if kind != "answered"},
        prompt_tokens=sums["prompt"],
        completion_tokens=sums["completion"],
        cost=sums["cost"] / 1e9,
        call_seconds=round(seconds, 3),
        pairs=pairs,
    )
    if not pairs:
        return spent
    each = PerPair(**{name: getattr(spent, name) / pairs for name in PerPair.model_fields})
    return spent.model_copy(update={"per_pair": each})
