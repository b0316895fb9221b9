"""Which rows are mixed: the same instructions for all, nested safety examples, nothing that is held out."""

import pytest

from cst.errors import DataError
from cst.preferences.mixtures import ALSO_SAFETY, HELD_OUT, NEAR_HELD_OUT, Parts, SourceRows, mixture, parts_of
from cst.records import Demonstration, Prompt


def rows(task: str, n: int) -> list[Demonstration]:
    """Rows whose prompts share few words."""
    return [
        Demonstration(
            id=f"{task}-{number}",
            task=task,
            prompt=" ".join(f"{task}{number}{letter}" for letter in "abcdef"),
            response="So.",
        )
        for number in range(n)
    ]


def parts(n_instructions: int | None = 40, *, seed: int = 0, **more) -> Parts:
    instructions = [SourceRows(rows("instructions", 60), n_instructions, "--n")]
    return parts_of(instructions, [SourceRows(rows("safety", 20), None, "--safety")], seed=seed, **more)


def ids(found: list[Demonstration], task: str) -> set[str]:
    return {row.id for row in found if row.task == task}


def test_fewer_safety_examples_are_part_of_more_and_instructions_are_the_same():
    made = parts()
    few, more, none = (mixture(made, n, where="--counts").training for n in (5, 12, 0))

    assert ids(few, "safety") < ids(more, "safety")
    assert ids(few, "instructions") == ids(more, "instructions") == {row.id for row in none}
    assert [len(each) for each in (few, more, none)] == [45, 52, 40]


def test_rows_are_shuffled_by_the_seed():
    first, again, other = (mixture(parts(seed=seed), 10, where="c", seed=seed).training for seed in (1, 1, 2))

    assert first == again
    assert ids(first, "instructions") != ids(other, "instructions")
    assert ids(first, "safety") != ids(other, "safety")
    assert {row.task for row in first[:20]} == {"instructions", "safety"}


def test_sources_are_drawn_from_one_by_one():
    sources = [SourceRows(rows("a", 30), 5, "a.n"), SourceRows(rows("b", 30), None, "b.n")]
    found = parts_of(sources, []).instructions

    assert [sum(row.task == task for row in found) for task in "ab"] == [5, 30]


def test_an_instruction_that_a_safety_example_asks_too_is_left_out_of_all():
    safety = rows("safety", 20)
    doubled = [row.model_copy(update={"id": f"again-{row.id}", "task": "instructions"}) for row in safety[:3]]
    instructions = SourceRows([*rows("instructions", 10), *doubled], None, "--n")
    made = parts_of([instructions], [SourceRows(safety, None, "--safety")])

    assert len(made.instructions) == 10
    assert made.counts["instructions"].dropped == {ALSO_SAFETY: 3}
    assert made.counts["instructions"].rows == 13
    assert made.counts["safety"].dropped == {}


def test_nothing_that_is_held_out_is_mixed():
    asked = rows("instructions", 60)[7].prompt
    near = f"{rows('safety', 20)[3].prompt} please"
    held_out = [Prompt(id=str(n), task="t", text=text) for n, text in enumerate((asked, near))]
    exact, careful = parts(None, held_out=held_out), parts(None, held_out=held_out, close_to_held_out=0.7)

    assert (exact.counts["instructions"].dropped, exact.counts["safety"].dropped) == ({HELD_OUT: 1}, {})
    assert careful.counts["safety"].dropped == {NEAR_HELD_OUT: 1}
    assert "instructions-7" not in ids(list(careful.instructions), "instructions")
    assert "safety-3" not in ids(list(careful.safety), "safety")


def test_an_input_tells_rows_with_one_instruction_apart():
    held_out = Prompt(id="h", task="t", text="Count.\na", input="a")
    source = [
        Demonstration(id=given, task="t", prompt=f"Count.\n{given}", input=given, response="One.") for given in "ab"
    ]

    assert [row.id for row in parts_of([SourceRows(source, None, "n")], [], held_out=[held_out]).instructions] == ["b"]


def test_whole_groups_are_set_apart_for_validation():
    twins = [row.model_copy(update={"id": f"twin-{row.id}", "prompt": f"{row.prompt} ."}) for row in rows("a", 40)]
    made = mixture(parts_of([SourceRows([*rows("a", 40), *twins], None, "n")], []), 0, where="c", validation_rows=10)
    apart = {row.id for row in made.validation}

    assert (len(apart), len(made.training)) == (10, 70)
    assert all({id.removeprefix("twin-"), f"twin-{id.removeprefix('twin-')}"} <= apart for id in apart)
    assert [count.validation for count in made.counts] == [10, 0]
    assert [count.drawn for count in made.counts] == [80, 0]


def test_too_few_rows_are_an_error_that_names_both_numbers():
    with pytest.raises(DataError, match=r"--n asks for 61 rows, and 60 of its 60 can be used\. Name a larger source"):
        parts(61)
    with pytest.raises(DataError, match="--counts asks for 21 safety examples, and there are 20 that can be used"):
        mixture(parts(), 21, where="--counts")


def test_what_was_dropped_stands_in_the_error():
    held_out = [Prompt(id="h", task="t", text=rows("instructions", 60)[0].prompt)]
    with pytest.raises(DataError, match=r"59 of its 60 can be used \(dropped: 1 held_out_prompt\)"):
        parts(60, held_out=held_out)


def test_prompts_that_are_all_alike_leave_nothing_to_set_apart():
    alike = [Demonstration(id=str(n), task="t", prompt="The same.", response=str(n)) for n in range(9)]
    made = parts_of([SourceRows(alike, None, "n")], [])

    with pytest.raises(DataError, match=r"mixture\.validation_rows=3 leaves 9 of 9 rows to train on: .* into 1 groups"):
        mixture(made, 0, where="c", validation_rows=3)


def test_an_id_stands_once_in_all_parts():
    with pytest.raises(DataError, match="The mixture has the id 'a-0' twice"):
        parts_of([SourceRows(rows("a", 2), None, "n")], [SourceRows(rows("a", 1), None, "s")])
