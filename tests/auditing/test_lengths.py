"""How far lengths give the preferred answer away: the best rule, against all rules tried one by one."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from cst.auditing.facts import RowFacts
from cst.auditing.lengths import best_rule, shortcuts


def right(differences: Sequence[int], prefers_longer: bool, threshold: int) -> int:
    """Pairs that a rule gets right, from its definition."""
    guesses = [(abs(each) > threshold) == prefers_longer for each in differences if each]
    return sum(guess == (each > 0) for guess, each in zip(guesses, filter(None, differences), strict=True))


@given(st.lists(st.integers(-20, 20)))
def test_no_rule_beats_the_best_one(differences):
    best, ties = best_rule(differences), differences.count(0)

    assert best.right - ties // 2 == right(differences, best.prefers_longer, best.threshold)
    assert best.right - ties // 2 == max(right(differences, way, t) for way in (True, False) for t in range(21))


def test_always_the_longer_is_right_where_it_is():
    assert (best_rule([5, 30, 8]).prefers_longer, best_rule([5, 30, 8]).right) == (True, 3)
    assert (best_rule([-5, -30]).prefers_longer, best_rule([-5, -30]).right) == (False, 2)


def test_mirrored_rows_together_leave_length_no_say():
    assert best_rule([7, -7, 40, -40, 3, -3]).right == 3


def test_mirrored_rows_are_grouped_by_their_whole_system_prompt():
    begins_alike = ["Be kind. " * 20 + end for end in ("One.", "Two.")]
    rows = [
        RowFacts("", "", "t", "c", system_prompt, "", {"chosen": chosen, "rejected": 5})
        for system_prompt, chosen in zip(begins_alike, (9, 1), strict=True)
    ]
    first, second = shortcuts(rows, [True, True])

    assert (first.prefers_longer, second.prefers_longer) == (True, False)
    assert first.right.n == second.right.n == 1
    assert len(first.group) < 80
    assert first.group.endswith("\N{HORIZONTAL ELLIPSIS}'")
