"""Laws of the plan of a step: every row once, within the budget, even between processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import TrainingError
from cst.models.rendering import TokenSequence
from cst.training.micro_packs import Together, check_rows, micro_packs
from cst.training.packs import plan_packs

SYSTEMS = ((1, 5, 5, 5), (1, 6, 6), ())


def pair(system: int, user: int, chosen: int, rejected: int) -> Together:
    """A row under one of three system prompts; its responses begin unlike."""
    prompt = (*SYSTEMS[system], 2, *[10 + user] * (1 + user))
    return (
        TokenSequence((*prompt, 3, *[30] * chosen), len(prompt)),
        TokenSequence((*prompt, 4, *[40] * rejected), len(prompt)),
    )


pairs = st.lists(
    st.builds(pair, st.integers(0, 2), st.integers(0, 5), st.integers(1, 40), st.integers(1, 40)),
    min_size=1,
    max_size=24,
)


def unique_tokens(rows: list[Together]) -> int:
    """As the packs themselves count them."""
    (pack,) = plan_packs([side for row in rows for side in row], 10**9)
    return len(pack.tokens)


@given(pairs, st.integers(10, 200), st.integers(1, 4))
def test_every_row_is_dealt_once_and_within_the_budget(rows: list[Together], budget: int, world: int):
    shares = [micro_packs(rows, token_budget=budget, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(n for share in shares for numbers in share for n in numbers) == list(range(len(rows)))
    for numbers in (numbers for share in shares for numbers in share):
        assert len(numbers) == 1 or unique_tokens([rows[n] for n in numbers]) <= budget


@given(pairs, st.integers(10, 200), st.integers(1, 4))
def test_whole_rows_are_dealt_once_each(rows: list[Together], budget: int, world: int):
    """Rows of one sequence, of which all is learned."""
    whole = [(TokenSequence(chosen.tokens, 1),) for chosen, _ in rows]
    shares = [micro_packs(whole, token_budget=budget, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(n for share in shares for numbers in share for n in numbers) == list(range(len(rows)))
    check_rows(whole, max(len(row.tokens) - 1 for (row,) in whole))


@given(pairs, st.integers(2, 4))
def test_processes_have_about_the_same_work(rows: list[Together], world: int):
    """No process has more than its even part and the largest row."""
    shares = [micro_packs(rows, token_budget=10**6, rank=rank, world_size=world) for rank in range(world)]
    loads = [sum(unique_tokens([rows[n] for n in numbers]) for numbers in share) for share in shares]
    largest = max(unique_tokens([row]) for row in rows)
    assert max(loads) <= 2 * (sum(loads) / world) + largest


def test_rows_under_one_system_prompt_stand_together():
    rows = [pair(n % 2, n, 5, 5) for n in range(6)]
    budget = max(unique_tokens(rows[::2]), unique_tokens(rows[1::2]))
    assert sorted(map(sorted, micro_packs(rows, token_budget=budget))) == [[0, 2, 4], [1, 3, 5]]


def test_a_budget_that_is_too_small_says_what_would_do():
    rows = [pair(0, 0, 3, 3), pair(0, 1, 20, 30)]
    need = unique_tokens(rows[1:])
    check_rows(rows, need)
    with pytest.raises(
        TrainingError, match=rf"tokens_per_pack={need - 1} is smaller than 1 of 2 rows; raise it to {need}"
    ):
        check_rows(rows, need - 1)
