"""What a synthesis would take and what it took: shards, a rehearsal, spending, and the files of pairs and drops.

A work list is dealt out to several processes by the ids of its prompts alone. A rehearsal takes the same steps with
models that are not asked: answers in the journal are used, others are stood in for by texts as long as they may be, and
no pair is dropped, so the plan is an upper bound. This file knows no recipe file and no terminal.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from cst.chat.base import ChatReply, ChatRequest, Pace
from cst.chat.budget import CHARACTERS_PER_TOKEN, Estimate, estimate
from cst.chat.journal import Call
from cst.chat.journalled import Journalled
from cst.errors import RecipeError
from cst.near_duplicates import Numbered
from cst.recipe.synthesis import SynthesisSettings
from cst.records import Prompt, Record, Sampling
from cst.store import record_writer, seed_of
from cst.synthesis.critique import Synthesis, synthesize_in_chunks
from cst.synthesis.gates import SynthesisSummary


class PlannedStep(Record):
    """What one step would ask of one model."""

    step: str
    model: str
    estimate: Estimate


def rehearse(
    prompts: Numbered[Prompt],
    chat: Journalled | None,
    settings: SynthesisSettings,
    *,
    chat_models: Mapping[str, Journalled],
    held_out: Sequence[Prompt] = (),
    seed: int = 0,
) -> list[PlannedStep]:
    """What `synthesize` would ask, step by step and model by model, without the answers that the journal has.

    Raises:
        DataError: As `synthesize`.
    """
    noted: dict[tuple[str, str], Estimate] = {}
    named = {name: _StandIn(model, noted) for name, model in chat_models.items()}
    start = None if chat is None else _StandIn(chat, noted)
    for _ in synthesize_in_chunks(
        prompts, start, settings, chat_models=named, held_out=held_out, seed=seed, description="plan"
    ):
        pass
    return [PlannedStep(step=step, model=model, estimate=found) for (step, model), found in noted.items()]


@final
class _StandIn:
    """A chat model that answers from the journal, or notes what it would be asked and says something of that length."""

    def __init__(self, chat: Journalled, noted: dict[tuple[str, str], Estimate]) -> None:
        self._chat = chat
        self._noted = noted
        self.name = chat.name
        self.fingerprint = chat.fingerprint
        self.pace = Pace()

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """The model's own plan."""
        return self._chat.plan(requests)

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        """The replies of the journal, or stand-ins."""
        new = self._chat.new_calls(unit, sampling)
        if not new:
            return self._chat.answer(unit, sampling)
        place = unit[0].id.split("/")[0], self.name
        found = estimate(new, sampling, self._chat.prices)
        self._noted[place] = _both(self._noted[place], found) if place in self._noted else found
        return [_stand_in(request, sampling) for request in unit]


def _stand_in(request: ChatRequest, sampling: Sampling) -> ChatReply:
    tokens = sampling.max_new_tokens
    text = request.prefix + "x" * (tokens * CHARACTERS_PER_TOKEN)
    return ChatReply(text=text, finish_reason="stop", prompt_tokens=None, completion_tokens=tokens)


def _both(one: Estimate, other: Estimate) -> Estimate:
    return Estimate(**{name: getattr(one, name) + getattr(other, name) for name in Estimate.model_fields})


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


def write_chunks(chunks: Iterable[Synthesis], pairs: Path, drops: Path) -> list[SynthesisSummary]:
    """Write what comes of a synthesis, chunk by chunk, to two files that are there when it is done; counts a task.

    Raises:
        DataError: The system doesn't let a file be written.
    """
    summaries: list[SynthesisSummary] = []
    with record_writer(pairs) as write_pairs, record_writer(drops) as write_drops:
        for chunk in chunks:
            write_pairs(chunk.pairs)
            write_drops(chunk.drops)
            summaries = add_up([*summaries, *chunk.summary])
    return summaries


def add_up(summaries: Sequence[SynthesisSummary]) -> list[SynthesisSummary]:
    """One summary a task, tasks and reasons in alphabetical order."""
    tasks = sorted({summary.task for summary in summaries})
    return [_sum([summary for summary in summaries if summary.task == task]) for task in tasks]


def _sum(parts: Sequence[SynthesisSummary]) -> SynthesisSummary:
    drops: Counter[str] = Counter()
    for part in parts:
        drops.update(part.drops)
    return SynthesisSummary(
        task=parts[0].task,
        prompts=sum(part.prompts for part in parts),
        pairs=sum(part.pairs for part in parts),
        drops=dict(sorted(drops.items())),
    )


@dataclass(frozen=True)
class Shard:
    """Number `index` of `of`, counted from 1."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def share(self, prompts: Iterable[Prompt]) -> Iterator[Prompt]:
        """The prompts that are this shard's, in their order."""
        return (prompt for prompt in prompts if self._number(prompt) == self.index)

    def _number(self, prompt: Prompt) -> int:
        return seed_of(f"shard\0{prompt.id}") % self.of + 1


def shard_of(text: str) -> Shard:
    """A shard as it is written: `2/4` is the second of four.

    Raises:
        RecipeError: It isn't, or there is no such shard.
    """
    written = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    index, of = (int(number) for number in written.groups()) if written else (0, 0)
    if not 1 <= index <= of:
        raise RecipeError(f"--shard {text} names no shard; write 1/4 to 4/4 for the four of four.")
    return Shard(index, of)
