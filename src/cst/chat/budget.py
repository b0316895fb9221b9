"""What calls may cost, and what they have cost: limits, a ledger, estimates, and bounds that a budget can trust.

Money is counted in billionths of the currency's unit, in whole numbers, so that sums do not depend on their order; a
`Budget`, prices and an `Estimate` are in the unit itself. This file knows no model, no tokenizer and no file.
"""

import math
import threading
from collections.abc import Iterable, Sequence
from typing import Annotated, final

from pydantic import Field

from cst.chat.base import ChatRequest
from cst.errors import BudgetError
from cst.recipe.models import Prices
from cst.records import Record, Sampling


class Budget(Record):
    """Limits that are never passed, earlier runs on the same journal included; None for no limit."""

    max_calls: Annotated[int, Field(ge=0)] | None = None
    max_cost: Annotated[float, Field(ge=0)] | None = None


@final
class Ledger:
    """Calls made and money spent or reserved; may be used from several threads.

    A call counts with the most that it may cost from before it is sent until its cost is known, and for ever if that
    never comes.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self.calls = 0
        self.cost = 0

    def reserve(self, cost: int) -> None:
        """Take one more call onto the books, at the most that it may cost.

        Raises:
            BudgetError: It might pass a limit; the books are as before.
        """
        limits = self._budget
        with self._lock:
            if limits.max_calls is not None and self.calls >= limits.max_calls:
                raise BudgetError(
                    f"The next call would be number {self.calls + 1}, and the budget is {limits.max_calls} calls. What "
                    "was answered is kept; raise the limit to go on."
                )
            if limits.max_cost is not None and self.cost + cost > limits.max_cost * 1e9:
                raise BudgetError(
                    f"The next call may cost {cost / 1e9:.6f}; {self.cost / 1e9:.6f} of {limits.max_cost} are "
                    "spent, or reserved for calls that never ended. What was answered is kept; raise the limit to "
                    "go on."
                )
            self.enter(cost)

    def enter(self, cost: int) -> None:
        """Take a call onto the books that was made before."""
        self.calls += 1
        self.cost += cost

    def correct(self, reserved: int, cost: int) -> None:
        """Replace what was reserved for a call by its cost."""
        with self._lock:
            self.cost += cost - reserved


FREE = Prices()
"""The price of a model of one's own."""

CHARACTERS_PER_TOKEN = 4
"""For estimates: OpenAI's rule of thumb for English text ("What are tokens and how to count them?")."""

TOKENS_PER_MESSAGE = 4
"""For estimates: role and borders of a message in ChatML (OpenAI cookbook, "How to count tokens with tiktoken")."""

MOST_TOKENS_PER_MESSAGE = 32
MOST_TOKENS_PER_PROMPT = 512
"""For bounds: what chat templates add around each message, and once (default system prompts, dates, tool notes)."""


class Estimate(Record):
    """What a list of calls would come to: expected prompt tokens, and at most so many completion tokens.

    `cost` is that of these, `highest_cost` what a budget reserves; both in the currency of the prices.
    """

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    highest_cost: float


def estimate(units: Iterable[Sequence[ChatRequest]], sampling: Sampling, prices: Prices) -> Estimate:
    """The calls for these units, one a unit, if none fails: for `--dry-run`."""
    calls = prompt = requests = highest = 0
    for unit in units:
        calls += 1
        requests += len(unit)
        prompt += sum(_expected_prompt_tokens(request) for request in unit)
        highest += sum(highest_cost(request, sampling, prices) for request in unit)
    completion = requests * sampling.max_new_tokens
    return Estimate(
        calls=calls,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost=cost_of(prompt, completion, prices) / 1e9,
        highest_cost=highest / 1e9,
    )


def highest_cost(request: ChatRequest, sampling: Sampling, prices: Prices) -> int:
    """The most that a call may cost, in billionths.

    A tokenizer that knows all bytes makes at most one token of each; the template's own tokens come on top.
    """
    text = sum(len(part.encode()) for part in _texts(request))
    prompt = text + MOST_TOKENS_PER_MESSAGE * (len(request.messages) + 1) + MOST_TOKENS_PER_PROMPT
    return cost_of(prompt, sampling.max_new_tokens, prices)


def cost_of(prompt_tokens: int, completion_tokens: int, prices: Prices) -> int:
    """The cost of so many tokens, in billionths, rounded up."""
    per_million = prompt_tokens * prices.prompt_per_million + completion_tokens * prices.completion_per_million
    return math.ceil(per_million * 1000)


def _expected_prompt_tokens(request: ChatRequest) -> int:
    characters = sum(len(part) for part in _texts(request))
    return math.ceil(characters / CHARACTERS_PER_TOKEN) + TOKENS_PER_MESSAGE * (len(request.messages) + 1)


def _texts(request: ChatRequest) -> list[str]:
    return [request.prefix, *(message.content for message in request.messages)]
