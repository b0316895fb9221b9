"""What is held out isn't trained on, mirrored rows stay together, and every row is accounted for."""

from itertools import compress
from pathlib import Path

import pytest

from cst.near_duplicates import nearest_known
from cst.preferences.conditioning import are_mirrored
from cst.preferences.held_out_rows import prompts_of
from cst.preferences.selection import TaskRows, select
from cst.preferences.sources import read_preferences
from cst.preferences.splits import hold_out
from cst.records import Preference, Prompt

REAL_DATA = Path(__file__).parents[3] / "shared" / "data" / "truthfulness.json"


def mirrored_rows(n: int, task: str = "t") -> list[Preference]:
    return [
        Preference(
            id=f"{task}{k}/{name}", task=task, configuration=name, prompt=f"{task} {k}?", chosen=chosen, rejected=other
        )
        for k in range(n)
        for name, chosen, other in (("s1", "yes", "no"), ("s0", "no", "yes"))
    ]


def test_a_row_that_asks_a_held_out_prompt_is_left_out_whatever_its_system_prompt():
    rows = mirrored_rows(3)
    prompt = Prompt(id="p", text="t 1?", task="other", system_prompt="Be someone.")
    selection = select(rows, held_out=[prompt], weights=None)

    assert [row.prompt for row in compress(rows, selection.keeps)] == ["t 0?", "t 0?", "t 2?", "t 2?"]
    assert selection.counts == (TaskRows(task="t", rows=6, held_out=2, left_out=0),)
    assert selection.counts[0].kept == 4


def test_a_mix_keeps_mirrored_rows_together_and_counts_what_it_leaves_out():
    rows = [*mirrored_rows(20, "a"), *mirrored_rows(5, "b")]
    held_out = [Prompt(id="p", text="b 0?", task="b")]
    selection = select(rows, held_out=held_out, weights={"a": 1, "b": 1})
    kept = list(compress(rows, selection.keeps))

    assert selection.counts == (
        TaskRows(task="a", rows=40, held_out=0, left_out=32),
        TaskRows(task="b", rows=10, held_out=2, left_out=0),
    )
    assert all(any(are_mirrored(row, other) for other in kept) for row in kept)


@pytest.mark.skipif(not REAL_DATA.exists(), reason="the paper's released rows are not beside this checkout")
def test_the_released_rows_are_split_without_a_leak():
    rows = read_preferences(REAL_DATA)
    _, apart = hold_out(rows, 0.1, where="x")
    held_out = prompts_of(apart, ())
    selection = select(rows, held_out=held_out, weights={"truthfulness": 1})
    trained = [row.prompt for row in compress(rows, selection.keeps)]
    near = nearest_known(trained, [prompt.text for prompt in held_out], threshold=0.7)

    assert len(trained) + len(apart) == len(rows) == 968
    assert set(near) == {None}
