"""What calls cost: estimates before they are made, bounds that a budget can trust, and prices of what came back.

Money is counted in billionths of the currency's unit, in whole numbers, so that sums don't depend on their order.
This file knows no model and no tokenizer.
"""

import math
from collections.abc import Iterable, Sequence

from cst.chat.base import ChatRequest
from cst.recipe.models import Prices
from cst.records import Record, Sampling

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
