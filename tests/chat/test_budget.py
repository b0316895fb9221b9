"""A limit is never passed, whatever the order of calls; a bound is never below what a call costs."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.chat.base import ChatRequest
from cst.chat.budget import FREE, Budget, Ledger, cost_of, estimate, highest_cost
from cst.errors import BudgetError
from cst.recipe.models import Prices
from cst.records import Message, Sampling

CALLS = st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 1), st.booleans()), max_size=40)


@given(calls=CALLS, max_cost=st.floats(0, 5), max_calls=st.integers(0, 30))
def test_no_limit_is_passed(calls, max_cost, max_calls):
    ledger = Ledger(Budget(max_calls=max_calls, max_cost=max_cost))
    for bound, share, ends in calls:
        before = (ledger.calls, ledger.cost)
        try:
            ledger.reserve(bound)
        except BudgetError:
            assert (ledger.calls, ledger.cost) == before
            assert before[0] == max_calls or before[1] + bound > max_cost * 1e9
            continue
        if ends:
            ledger.correct(bound, int(bound * share))
        assert ledger.calls <= max_calls
        assert ledger.cost <= max_cost * 1e9


def test_without_limits_all_is_counted_and_nothing_refused():
    ledger = Ledger(Budget())
    for cost in range(10):
        ledger.reserve(cost)

    assert (ledger.calls, ledger.cost) == (10, 45)


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (Budget(max_calls=1), "would be number 2, and the budget is 1 calls"),
        (Budget(max_cost=0.003), r"may cost 0\.002000; 0\.002000 of 0\.003 are spent"),
    ],
)
def test_a_refusal_says_what_is_spent_and_what_to_do(budget, says):
    ledger = Ledger(budget)
    ledger.reserve(2_000_000)

    with pytest.raises(BudgetError, match=says) as refusal:
        ledger.reserve(2_000_000)
    assert "raise the limit to go on" in str(refusal.value)


def test_threads_together_pass_no_limit():
    ledger = Ledger(Budget(max_calls=500))
    refused: list[int] = []

    def spend(number: int) -> None:
        for _ in range(100):
            try:
                ledger.reserve(1)
            except BudgetError:
                refused.append(number)

    threads = [threading.Thread(target=spend, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (ledger.calls, ledger.cost, len(refused)) == (500, 500, 300)


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
