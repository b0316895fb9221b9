"""Counts are exact, no pair is torn apart, and the seed alone decides which rows they are."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.mixing import Unit, counts, mix

WEIGHTS = st.dictionaries(st.sampled_from("abcd"), st.floats(0, 10), min_size=1).filter(lambda w: sum(w.values()) > 0.1)


def single_rows(**tasks: int) -> list[Unit]:
    return [Unit(task, k) for task, n in tasks.items() for k in range(n)]


def drawn(rows: list[Unit], weights: dict[str, float], seed: int = 0) -> list[Unit]:
    return [row for row, is_drawn in zip(rows, mix(rows, weights, seed=seed), strict=True) if is_drawn]


@given(weights=WEIGHTS, n=st.integers(0, 1000))
def test_counts_sum_to_n_and_are_off_by_less_than_one(weights, n):
    made = counts(weights, n)

    assert sum(made.values()) == n
    assert all(abs(made[task] - n * weights[task] / sum(weights.values())) < 1 + 1e-6 for task in weights)


@given(seed=st.integers(), sizes=st.dictionaries(st.sampled_from("abc"), st.integers(1, 20), min_size=3))
def test_a_mix_has_the_most_rows_that_the_weights_allow(seed, sizes):
    weights = {"a": 3.0, "b": 1.0, "c": 1.0}
    mixed = drawn(single_rows(**sizes), weights, seed)
    found = Counter(row.task for row in mixed)

    assert {task: found[task] for task in weights} == counts(weights, len(mixed))
    assert len(set(mixed)) == len(mixed)
    assert any((len(mixed) + 1) * weight / 5 > sizes[task] for task, weight in weights.items())


@given(seed=st.integers(), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=20), others=st.integers(1, 20))
def test_a_unit_is_drawn_whole_and_the_count_missed_by_less_than_one(seed, sizes, others):
    units = [Unit("a", k) for k, size in enumerate(sizes) for _ in range(size)]
    rows = random.Random(seed).sample([*units, *single_rows(b=others)], len(units) + others)
    made = Counter(drawn(rows, {"a": 1.0, "b": 1.0}, seed))
    n = sum(made.values())
    wanted = min(len(units), others)

    assert all(count == rows.count(unit) for unit, count in made.items())
    assert sum(count for unit, count in made.items() if unit.task == "b") == wanted
    assert 2 * wanted - max(sizes) < n <= 2 * wanted


def test_rows_of_a_unit_would_be_torn_apart_if_each_were_drawn_alone():
    """The control of the law above."""
    made = Counter(row.pair // 2 for row in drawn(single_rows(a=40, b=20), {"a": 1, "b": 1}) if row.task == "a")

    assert 1 in made.values()


def test_the_seed_decides_and_nothing_else():
    rows = single_rows(a=30, b=30)

    assert drawn(rows, {"a": 1, "b": 2}) == drawn(rows, {"a": 1, "b": 2})
    assert drawn(rows, {"a": 1, "b": 2}) != drawn(rows, {"a": 1, "b": 2}, seed=1)


def test_a_task_of_weight_0_is_left_out():
    assert {row.task for row in drawn(single_rows(a=3, b=5), {"a": 0, "b": 1})} == {"b"}


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"b": 1}, r"The tasks \['a'\] have no weight, only \['b'\]"),
        ({"a": 1, "b": 1, "c": 1}, r"names the tasks \['c'\], but there are only rows of \['a', 'b'\]"),
        ({"a": -1, "b": 2}, "can't be mixed by"),
        ({"a": 0, "b": 0}, "can't be mixed by"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, said):
    with pytest.raises(DataError, match=said):
        mix(single_rows(a=3, b=5), weights)
