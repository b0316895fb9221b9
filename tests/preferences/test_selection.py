"""Rows are selected, drawn and assigned as told: counts are exact, no pair is torn apart, the seed alone decides."""

import random
from collections import Counter
from itertools import compress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.near_duplicates import nearest_known
from cst.preferences.conditioning import are_mirrored
from cst.preferences.selection import (
    TaskRows,
    Unit,
    configuration_of,
    counts,
    mix,
    prompts_of,
    select,
    under_configurations,
)
from cst.preferences.sources import read_preferences
from cst.preferences.splits import hold_out
from cst.records import Message, Preference, Prompt, SafetyConfiguration, Side

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


SAFE = SafetyConfiguration(
    name="safe", prefers=Side.REVISED, tasks=("a",), wordings=("Be safe.",), held_out_wordings=("Be careful.",)
)
FREE = SafetyConfiguration(name="free", prefers=Side.ORIGINAL, tasks=("a",), wordings=("Say all.",))
HONEST = SafetyConfiguration(name="honest", prefers=Side.REVISED, tasks=("b",), wordings=("Be honest.",))
PERSONA = SafetyConfiguration(name="persona", prefers=Side.ORIGINAL, tasks=("b",))
ALL = (SAFE, FREE, HONEST, PERSONA)


def row(task: str, system_prompt: str | None, id: str = "r") -> Preference:
    """As published: its configuration is its task."""
    return Preference(
        id=id, task=task, configuration=task, system_prompt=system_prompt, prompt="How?", chosen="So.", rejected="No."
    )


@pytest.mark.parametrize(
    ("task", "system_prompt", "name"),
    [
        ("a", "Be safe.", "safe"),
        ("a", "Be careful.", "safe"),
        ("a", "Say all.", "free"),
        ("a", "You are Brom.", None),
        ("b", "Be honest.", "honest"),
        ("b", "You are Brom.", "persona"),
        ("b", "Be safe.", "persona"),
        ("b", None, None),
        ("c", "Be safe.", None),
    ],
)
def test_the_system_prompt_tells_the_configuration_of_the_task(task, system_prompt, name):
    assert configuration_of(row(task, system_prompt), ALL) == name


def test_two_configurations_without_wordings_can_not_be_told_apart():
    other = PERSONA.model_copy(update={"name": "role"})
    assert configuration_of(row("b", "You are Brom."), (*ALL, other)) is None


def test_a_baseline_sees_the_rows_of_its_configurations_alone():
    rows = [row("a", "Be safe."), row("a", "Say all."), row("b", "You are Brom."), row("b", "Be honest.")]

    assert [r.configuration for r in under_configurations(rows, ALL)] == ["safe", "free", "persona", "honest"]
    kept = under_configurations(rows, ALL, ("safe", "honest"))
    assert kept == [
        rows[0].model_copy(update={"configuration": "safe"}),
        rows[3].model_copy(update={"configuration": "honest"}),
    ]


def test_rows_of_no_configuration_are_left_as_they_are_or_refused_and_named():
    rows = [row("a", "Be safe."), row("a", "Be odd."), row("a", "Be odd.")]

    assert under_configurations(rows, ALL)[1:] == rows[1:]
    with pytest.raises(DataError, match=r"2 of 3 rows stand under no configuration.*2 of task 'a'.*'Be odd\.'"):
        under_configurations(rows, ALL, ("safe",))


NAMED = SafetyConfiguration(name="s1", prefers=Side.REVISED, tasks=("t",), wordings=("Be kind.",))
OWN = SafetyConfiguration(name="own", prefers=Side.ORIGINAL, tasks=("t",))


def asked_row(identity: str, system_prompt: str | None, prompt: str = "Why?", **more: object) -> Preference:
    values = {"id": identity, "task": "t", "configuration": "t", "system_prompt": system_prompt, "prompt": prompt}
    return Preference.model_validate({**values, "chosen": "a", "rejected": "b", **more})


def test_under_wordings_a_question_stands_once_and_brings_nothing():
    made = prompts_of(
        [asked_row("1", "Be kind."), asked_row("2", "Be another."), asked_row("3", None, "How?")], [NAMED]
    )

    assert [(prompt.id, prompt.text, prompt.system_prompt) for prompt in made] == [
        ("1", "Why?", None), ("3", "How?", None)
    ]  # fmt: skip


def test_without_wordings_it_stands_once_under_each_system_prompt_that_is_no_wording():
    rows = [
        asked_row("1", "Be kind."),
        asked_row("2", "Be a pirate."),
        asked_row("3", "Be a pirate."),
        asked_row("4", "Be a baker."),
    ]
    made = prompts_of(rows, [NAMED, OWN])

    assert [(prompt.id, prompt.system_prompt) for prompt in made] == [("2", "Be a pirate."), ("4", "Be a baker.")]


def test_a_question_without_a_system_prompt_of_its_own_is_still_asked():
    assert [prompt.system_prompt for prompt in prompts_of([asked_row("1", "Be kind.")], [NAMED, OWN])] == [None]


def test_turns_before_the_question_and_its_topic_come_along():
    turns = (Message(role="user", content="Hi."), Message(role="assistant", content="Hello."))
    (made,) = prompts_of([asked_row("1", None, history=turns, topic="greetings")], [NAMED])

    assert (made.history, made.topic, made.task) == (turns, "greetings", "t")


def test_questions_that_say_nearly_the_same_are_one_group():
    """As one question under several personas: their answers are not independent."""
    rows = [
        asked_row("1", "Be a pirate."),
        asked_row("2", "Be a baker."),
        asked_row("3", "Be a cook.", "How do I get to the old harbour?"),
    ]
    made = prompts_of(rows, [NAMED, OWN])

    assert [prompt.groups for prompt in made] == [{"near_duplicate": "1"}, {"near_duplicate": "1"}, {}]
