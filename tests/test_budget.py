"""A limit is never passed, whatever the order in which calls begin and end."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.budget import Budget, Ledger
from cst.errors import BudgetError

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
