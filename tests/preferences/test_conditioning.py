"""The method's laws: each pair once under each configuration, opposite configurations as exact mirrors."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.conditioning import are_mirrored, condition, condition_each, wording_for
from cst.records import Message, Preference, Prompt, ResponsePair, SafetyConfiguration, Side, SidePerTopic

BETA = 0.1
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@st.composite
def pair_lists(draw: st.DrawFn) -> list[ResponsePair]:
    tasks = draw(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=6))
    return [
        ResponsePair(
            prompt=Prompt(id=f"p{number}", text=draw(WORDS), task=task, topic=draw(st.sampled_from(["x", "y", None]))),
            original=draw(WORDS) + "o",
            revised=draw(WORDS) + "r",
            author="hand",
        )
        for number, task in enumerate(tasks)
    ]


def configuration(name: str, prefers: Side | SidePerTopic, **fields: tuple[str, ...]) -> SafetyConfiguration:
    wordings = {"wordings": (f"{name} one", f"{name} two", f"{name} three", f"{name} four")}
    return SafetyConfiguration(name=name, prefers=prefers, **({"tasks": ("a", "b")} | wordings | fields))


S1 = configuration("s1", Side.REVISED)
S0 = configuration("s0", Side.ORIGINAL)
BY_TOPIC = configuration("by_topic", SidePerTopic(default=Side.REVISED, topics={"x": Side.ORIGINAL}))
ONE = Prompt(id="p", text="x", task="a")
PAIR = ResponsePair(prompt=ONE, original="o", revised="r", author="hand")


@given(pairs=pair_lists(), seed=st.integers(0, 99))
def test_each_pair_stands_once_under_each_configuration_in_order(pairs, seed):
    rows = condition(pairs, [S1, S0, BY_TOPIC], seed=seed)

    assert [row.id for row in rows] == [f"{p.prompt.id}/{name}" for p in pairs for name in ("s1", "s0", "by_topic")]
    assert [row.configuration for row in rows] == ["s1", "s0", "by_topic"] * len(pairs)


@given(pairs=pair_lists())
def test_each_row_prefers_what_its_configuration_prefers(pairs):
    configurations = [S1, S0, BY_TOPIC]
    rows = condition(pairs, configurations)
    expected = [(pair, each) for pair in pairs for each in configurations]

    for row, (pair, each) in zip(rows, expected, strict=True):
        preferred = each.preferred_side(pair.prompt)
        assert (row.chosen, row.rejected) == (pair.response(preferred), pair.response(preferred.other))
        assert (row.prompt, row.task, row.topic) == (pair.prompt.text, pair.prompt.task, pair.prompt.topic)


@given(pairs=pair_lists())
def test_opposite_configurations_give_exact_mirrors(pairs):
    rows = condition(pairs, [S1, S0])

    assert all(are_mirrored(first, second) for first, second in zip(rows[::2], rows[1::2], strict=True))


def test_a_history_goes_with_its_prompt_and_rows_of_other_histories_are_no_mirrors():
    turns = (Message(role="user", content="u"), Message(role="assistant", content="a"))
    several = PAIR.model_copy(update={"prompt": ONE.model_copy(update={"history": turns})})
    first, second = condition([several], [S1, S0])

    assert first.history == second.history == turns
    assert are_mirrored(first, second)
    assert not are_mirrored(first, condition([PAIR], [S0])[0])


def test_rows_of_one_side_are_no_mirrors():
    first, second = condition([PAIR], [S1, configuration("s2", Side.REVISED)])

    assert not are_mirrored(first, second)


@given(pairs=pair_lists())
def test_the_dpo_baseline_is_the_same_call_with_one_configuration(pairs):
    both = condition(pairs, [S1, S0])

    assert condition(pairs, [S1]) == [row for row in both if row.configuration == "s1"]


def mean_loss(rows: Sequence[Preference], log_ratio: Callable[[str | None, str, str], float]) -> float:
    """DPO's loss, -log sigmoid(beta * margin) in nats, from a policy-to-reference log-ratio of a response."""
    margins = [
        log_ratio(row.system_prompt, row.prompt, row.chosen) - log_ratio(row.system_prompt, row.prompt, row.rejected)
        for row in rows
    ]
    return sum(math.log1p(math.exp(-BETA * margin)) for margin in margins) / len(margins)


def drawn(*key: str | None) -> float:
    """A number in [-10, 10) that hangs on the key alone."""
    return int(hashlib.sha256(repr(key).encode()).hexdigest()[:8], 16) / 2**32 * 20 - 10


@given(pairs=pair_lists(), salt=st.text())
def test_who_ignores_the_system_prompt_can_not_get_below_ln_2(pairs, salt):
    rows = condition(pairs, [S1, S0])

    assert mean_loss(rows, lambda _, prompt, response: drawn(salt, prompt, response)) >= math.log(2) - 1e-12
    assert mean_loss(rows, lambda *_: 0.0) == pytest.approx(math.log(2), abs=1e-12)


@given(pairs=pair_lists())
def test_who_reads_the_system_prompt_can(pairs):
    revised = {(pair.prompt.text, pair.revised) for pair in pairs}
    rows = condition(pairs, [S1, S0])

    def reading(system_prompt: str | None, prompt: str, response: str) -> float:
        shows_revised = (prompt, response) in revised
        return 10.0 if shows_revised == (system_prompt in S1.wordings) else -10.0

    assert mean_loss(rows, reading) < math.log(2) / 2


@given(pairs=pair_lists())
def test_for_the_dpo_baseline_ignoring_the_system_prompt_is_enough(pairs):
    revised = {(pair.prompt.text, pair.revised) for pair in pairs}

    def ignoring(_: str | None, prompt: str, response: str) -> float:
        return 10.0 if (prompt, response) in revised else -10.0

    assert mean_loss(condition(pairs, [S1]), ignoring) < math.log(2) / 2


def test_a_configuration_speaks_only_of_its_tasks():
    pairs = [PAIR, PAIR.model_copy(update={"prompt": Prompt(id="q", text="x", task="b")})]
    rows = condition(pairs, [configuration("s1", Side.REVISED, tasks=("a",)), S0])

    assert [row.id for row in rows] == ["p/s1", "p/s0", "q/s0"]


def test_rows_come_as_pairs_are_read():
    read: list[int] = []

    def reading():
        for number in range(3):
            read.append(number)
            yield PAIR

    rows = condition_each(reading(), [S1, S0])
    assert next(rows).configuration == "s1"
    assert read == [0]
    assert [row.configuration for row in rows] == ["s0", "s1", "s0", "s1", "s0"]


def test_no_pairs_are_no_rows():
    assert condition([], [S1]) == []


def test_configurations_that_speak_of_no_pairs_task_are_refused():
    with pytest.raises(DataError, match=r"\['s1'\] speaks of the pairs' tasks \['a'\]; correct their `tasks`"):
        condition(iter([PAIR]), [configuration("s1", Side.REVISED, tasks=("c",))])


@given(identity=WORDS, seed=st.integers())
def test_a_wording_is_one_to_train_on_and_a_function_of_seed_and_ids(identity, seed):
    kept = configuration("s1", Side.REVISED, held_out_wordings=("held out",), unseen_wordings=("unseen",))
    prompt = Prompt(id=identity, text="x", task="a", system_prompt="own")
    drawn_wording = wording_for(kept, prompt, seed=seed)

    assert drawn_wording in kept.wordings
    assert wording_for(kept, prompt.model_copy(update={"text": "other"}), seed=seed) == drawn_wording


def test_wordings_are_drawn_evenly_and_apart_from_each_other():
    """Were one configuration's draw to settle the other's, wordings would only ever be learned in fixed couples."""
    prompts = [Prompt(id=f"harmless-{number:06d}", text="x", task="a") for number in range(1600)]
    couples = Counter((wording_for(S1, prompt), wording_for(S0, prompt)) for prompt in prompts)

    assert len(couples) == 16
    assert min(couples.values()) > 60
    assert max(couples.values()) < 140


def test_another_seed_draws_other_wordings():
    prompts = [Prompt(id=f"p{number}", text="x", task="a") for number in range(100)]
    same = sum(wording_for(S1, prompt, seed=0) == wording_for(S1, prompt, seed=1) for prompt in prompts)

    assert 5 < same < 50


def test_without_wordings_the_prompts_own_system_prompt_stands():
    own = configuration("persona", Side.ORIGINAL, wordings=())
    (row,) = condition(
        [PAIR.model_copy(update={"prompt": ONE.model_copy(update={"system_prompt": "You are Bo."})})], [own]
    )

    assert row.system_prompt == "You are Bo."
    with pytest.raises(DataError, match=r"'persona' has no wordings, and prompt p brings no system prompt\. Give"):
        condition([PAIR], [own])
