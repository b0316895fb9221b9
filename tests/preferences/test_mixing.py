"""Counts are exact, no row stands twice, and the seed alone decides which rows they are."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.mixing import counts, mix
from cst.preferences.sources import read_preferences
from cst.records import Prompt

REAL_DATA = Path(__file__).parents[3] / "shared" / "data" / "truthfulness.json"
WEIGHTS = st.dictionaries(st.sampled_from("abcd"), st.floats(0, 10), min_size=1).filter(lambda w: sum(w.values()) > 0.1)


def prompts(**tasks: int) -> list[Prompt]:
    return [Prompt(id=f"{task}{k}", text="x", task=task) for task, n in tasks.items() for k in range(n)]


@given(weights=WEIGHTS, n=st.integers(0, 1000))
def test_counts_sum_to_n_and_are_off_by_less_than_one(weights, n):
    made = counts(weights, n)

    assert sum(made.values()) == n
    assert all(abs(made[task] - n * weights[task] / sum(weights.values())) < 1 + 1e-6 for task in weights)


@given(seed=st.integers(), sizes=st.dictionaries(st.sampled_from("abc"), st.integers(1, 20), min_size=3))
def test_a_mix_has_the_most_rows_that_the_weights_allow(seed, sizes):
    weights = {"a": 3.0, "b": 1.0, "c": 1.0}
    mixed = mix(prompts(**sizes), weights, seed=seed)
    found = Counter(row.task for row in mixed)

    assert {task: found[task] for task in weights} == counts(weights, len(mixed))
    assert len({row.id for row in mixed}) == len(mixed)
    assert any((len(mixed) + 1) * weight / 5 > sizes[task] for task, weight in weights.items())


def test_the_seed_decides_and_nothing_else():
    rows = prompts(a=30, b=30)

    assert mix(rows, {"a": 1, "b": 2}, n=30) == mix(rows, {"a": 1, "b": 2}, n=30)
    assert mix(rows, {"a": 1, "b": 2}, n=30) != mix(rows, {"a": 1, "b": 2}, n=30, seed=1)


def test_a_task_of_weight_0_is_left_out_and_one_without_a_weight_is_refused():
    rows = prompts(a=3, b=5)

    assert {row.task for row in mix(rows, {"a": 0, "b": 1})} == {"b"}
    with pytest.raises(DataError, match=r"The tasks \['a'\] have no weight, only \['b'\]"):
        mix(rows, {"b": 1})


def test_more_rows_than_there_are_is_refused():
    with pytest.raises(DataError, match="The mix takes 4 rows of 'a', and there are 3"):
        mix(prompts(a=3, b=5), {"a": 1, "b": 1}, n=8)


@pytest.mark.parametrize("weights", [{"a": -1, "b": 2}, {"a": 0, "b": 0}])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(DataError, match="can't be mixed by"):
        mix(prompts(a=3, b=5), weights)


@pytest.mark.skipif(not REAL_DATA.exists(), reason="the paper's released rows are not beside this checkout")
def test_the_released_rows_mix_as_they_are():
    rows = read_preferences(REAL_DATA)
    safety = [row.model_copy(update={"id": f"h{k}", "task": "harmless"}) for k, row in enumerate(rows[:100])]
    mixed = mix([*rows, *safety], {"truthfulness": 2, "harmless": 1})

    assert Counter(row.task for row in mixed) == {"truthfulness": 200, "harmless": 100}
