"""A bound is never below what a call costs, and sums don't depend on their order."""

from hypothesis import given
from hypothesis import strategies as st

from cst.chat.base import ChatRequest
from cst.chat.costs import FREE, cost_of, estimate, highest_cost
from cst.recipe.models import Prices
from cst.records import Message, Sampling

PRICES = Prices(prompt_per_million=0.15, completion_per_million=0.6)


def request(text: str) -> ChatRequest:
    return ChatRequest(
        id="r", messages=(Message(role="system", content="Be kind."), Message(role="user", content=text))
    )


@given(text=st.text(max_size=200), share=st.floats(0, 1))
def test_no_tokenizer_of_bytes_and_no_answer_within_the_limit_costs_more_than_the_bound(text, share):
    sampling = Sampling(max_new_tokens=100)
    prompt_tokens = len(b"Be kind.") + len(text.encode()) + 3 * 32

    assert cost_of(prompt_tokens, int(share * 100), PRICES) <= highest_cost(request(text), sampling, PRICES)


def test_costs_are_in_billionths_and_rounded_up():
    assert cost_of(1_000_000, 0, PRICES) == 150_000_000
    assert cost_of(0, 1_000_000, PRICES) == 600_000_000
    assert cost_of(1, 0, Prices(prompt_per_million=0.0001)) == 1
    assert cost_of(10**6, 10**6, FREE) == 0


def test_an_estimate_counts_each_unit_as_a_call_and_lies_below_the_bound():
    unit = [request("How is bread baked? " * 20), request("And cake?")]
    told = estimate([unit, unit], Sampling(max_new_tokens=50), PRICES)

    assert (told.calls, told.completion_tokens) == (2, 200)
    assert told.prompt_tokens == 2 * (102 + 12 + 5 + 12)
    assert 0 < told.cost < told.highest_cost
