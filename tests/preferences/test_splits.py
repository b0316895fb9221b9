"""No prompt is on two sides, and what was split before stays where it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.near_duplicates import jaccard, words
from cst.preferences.splits import hold_out, part_of, split
from cst.records import Preference, Prompt

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def prompts(n: int) -> list[Prompt]:
    return [Prompt(id=f"p{k}", text=f"alpha{k} beta{k} gamma{k} delta{k}", task="t") for k in range(n)]


@given(seed=st.integers(), n=st.integers(0, 30))
def test_every_row_is_in_one_part_and_in_order(seed, n):
    rows = prompts(n)
    parts = split(rows, SHARES, seed=seed)

    assert sorted(row.id for part in parts.values() for row in part) == sorted(row.id for row in rows)
    assert all([*map(rows.index, part)] == sorted(map(rows.index, part)) for part in parts.values())


@given(seed=st.integers(), n=st.integers(0, 20), more=st.integers(1, 20))
def test_rows_that_are_added_move_none_before_them(seed, n, more):
    before, after = (split(prompts(count), SHARES, seed=seed) for count in (n, n + more))

    assert all(after[name][: len(rows)] == rows for name, rows in before.items())


def test_prompts_that_say_nearly_the_same_go_to_the_same_part():
    rows = prompts(200)
    twins = [row.model_copy(update={"id": f"{row.id}b", "text": f"{row.text.upper()}!"}) for row in rows]
    parts = split([*rows, *twins], {"train": 0.5, "test": 0.5})

    for row in parts["train"]:
        assert all(jaccard(words(row.text), words(other.text)) < 0.7 for other in parts["test"])
    alone = split([*rows, *twins], {"train": 0.5, "test": 0.5}, groups=range(400))
    assert {row.text for row in alone["train"]} & {twin.text.lower().rstrip("!") for twin in alone["test"]}


def test_mirrored_rows_stay_together():
    rows = [
        Preference(id=f"p{k}/{s}", task="t", configuration=s, prompt=f"about {k} x{k}", chosen=c, rejected=r)
        for k in range(50)
        for s, c, r in (("s1", "a", "b"), ("s0", "b", "a"))
    ]
    parts = split(rows, {"train": 0.5, "test": 0.5})

    assert parts["train"]
    assert {row.prompt for row in parts["train"]} & {row.prompt for row in parts["test"]} == set()


def test_parts_are_as_large_as_their_shares_say_and_another_seed_draws_others():
    sizes = {name: len(rows) for name, rows in split(prompts(2000), SHARES).items()}
    other = split(prompts(2000), SHARES, seed=1)

    assert 1530 < sizes["train"] < 1670  # four standard deviations of a binomial with n = 2000, p = .8
    assert 140 < sizes["test"] < 260
    assert other["test"] != split(prompts(2000), SHARES)["test"]


def test_what_rounding_leaves_over_falls_into_the_largest_part():
    assert {part_of(f"{k}", {"a": 0.9999999999, "b": 0.0}) for k in range(100)} == {"a"}


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(DataError, match="don't sum to 1 without a negative one"):
        split(prompts(2), shares)


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="3 rows need 3 group indices"):
        split(prompts(3), SHARES, groups=[0, 0])
    with pytest.raises(DataError, match="none above its own row's"):
        split(prompts(3), SHARES, groups=[0, 2, 2])


def test_a_share_is_held_out_in_whole_groups_and_no_share_holds_out_nothing():
    rows = prompts(200)
    twins = [row.model_copy(update={"id": f"{row.id}b", "text": f"{row.text}!"}) for row in rows]
    train, held_out = hold_out([*rows, *twins], 0.25, where="x")

    assert {row.id.rstrip("b") for row in train} & {row.id.rstrip("b") for row in held_out} == set()
    assert 52 < len(held_out) < 148  # four standard deviations of a binomial with n = 200, p = .25, twice
    assert hold_out(rows, 0.0, where="x") == (rows, [])


def test_rows_that_are_all_alike_can_not_be_parted():
    rows = [row.model_copy(update={"text": f"Tell me all about it, {row.id}."}) for row in prompts(9)]
    with pytest.raises(DataError, match=r"prompts\.held_out_share=0\.1 leaves 9 of 9 .* fall into 1 groups"):
        hold_out(rows, 0.1, where="prompts.held_out_share")
