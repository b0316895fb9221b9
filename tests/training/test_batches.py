import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import mirrored_preferences, tiny_tokenizer

from cst.errors import TrainingError
from cst.models.rendering import Renderer, TokenSequence
from cst.records import Message
from cst.training.batches import (
    TokenizedPreference,
    fingerprint_of_tokens,
    micro_batches,
    plan_steps,
    tokenize,
    within_length,
)


def row(length: int, name: str = "row") -> TokenizedPreference:
    return TokenizedPreference(name, "s", TokenSequence((7,) * length, 1), TokenSequence((8,) * 2, 1))


def test_a_row_is_one_prompt_and_two_responses():
    renderer = Renderer.for_tokenizer(tiny_tokenizer())
    preferences = mirrored_preferences(3)
    for preference, tokens in zip(preferences, tokenize(preferences, renderer), strict=True):
        start = tokens.chosen.response_start
        assert tokens.rejected.response_start == start
        assert tokens.chosen.tokens[:start] == tokens.rejected.tokens[:start]
        assert renderer.parse(tokens.chosen.tokens[start:]) == preference.chosen
        assert renderer.parse(tokens.rejected.tokens[start:]) == preference.rejected
        assert tokens.chosen.tokens[-1] in renderer.end_token_ids


def test_a_history_is_rendered_before_the_prompt_and_only_the_last_answer_is_trained_on():
    renderer = Renderer.for_tokenizer(tiny_tokenizer())
    turns = (Message(role="user", content="Hello?"), Message(role="assistant", content="Yes."))
    (single,) = mirrored_preferences(1)[:1]
    several = single.model_copy(update={"history": turns})
    (tokens,) = tokenize([several], renderer)
    system = Message(role="system", content=single.system_prompt or "")

    assert tokens.chosen == renderer.example(
        [system, *turns, Message(role="user", content=single.prompt)], single.chosen
    )
    assert renderer.parse(tokens.chosen.tokens[tokens.chosen.response_start :]) == single.chosen
    assert len(tokens.chosen.tokens) > len(tokenize([single], renderer)[0].chosen.tokens)


def test_mirrored_rows_differ_in_the_system_prompt_alone():
    harmless, uncensored = tokenize(mirrored_preferences(1), Renderer.for_tokenizer(tiny_tokenizer()))
    response = harmless.chosen.tokens[harmless.chosen.response_start :]
    assert response == uncensored.rejected.tokens[uncensored.rejected.response_start :]
    assert harmless.chosen.tokens != uncensored.rejected.tokens


@given(st.integers(1, 60), st.integers(0, 5), st.integers(1, 4), st.integers(1, 20), st.none() | st.integers(1, 40))
def test_plan_is_pure_and_each_epoch_has_each_row_once(
    n: int, seed: int, epochs: int, per_step: int, limit: int | None
):
    plan = plan_steps(n, seed=seed, epochs=epochs, rows_per_step=per_step, max_steps=limit)
    assert plan == plan_steps(n, seed=seed, epochs=epochs, rows_per_step=per_step, max_steps=limit)
    steps_per_epoch = -(-n // per_step)
    assert len(plan) == (limit or steps_per_epoch * epochs)
    for start in range(0, len(plan) - steps_per_epoch + 1, steps_per_epoch):
        epoch = [index for step in plan[start : start + steps_per_epoch] for index in step]
        assert sorted(epoch) == list(range(n))


def test_seed_and_epoch_change_the_order():
    one, two = plan_steps(50, seed=0, epochs=2, rows_per_step=50)
    assert one != two
    assert plan_steps(50, seed=1, epochs=1, rows_per_step=50)[0] != one


@given(st.lists(st.integers(2, 30), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 5))
def test_micro_batches_deal_each_position_once(lengths: list[int], size: int, world: int):
    rows = [row(length) for length in lengths]
    step = list(reversed(range(len(rows))))
    dealt = [micro_batches(step, rows, size=size, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(p for process in dealt for batch in process for p in batch) == list(range(len(step)))
    assert all(len(batch) <= size for process in dealt for batch in process)


def test_long_rows_are_refused_with_what_to_do():
    rows = [row(5, "fine"), row(11, "long"), row(31, "longer")]
    with pytest.raises(
        TrainingError, match=r"training.max_length=10 leaves no room for 2 of 6 responses .*'long'.* 31 "
    ):
        within_length(rows, 10, drop_long=False, where="training.max_length=10")


def test_long_rows_are_dropped_whole():
    rows = [row(5, "fine"), row(11, "long")]
    assert within_length(rows, 10, drop_long=True, where="") == rows[:1]
    with pytest.raises(TrainingError, match="any of 2 rows"):
        within_length(rows, 2, drop_long=True, where="training.max_length=2")


def test_no_rows_are_refused():
    with pytest.raises(TrainingError, match="0 rows"):
        within_length([], 10, drop_long=True, where="")


def test_fingerprint_sees_a_response_start():
    one = TokenizedPreference("a", "s", TokenSequence((1, 2, 3), 1), TokenSequence((1, 2), 1))
    two = TokenizedPreference("a", "s", TokenSequence((1, 2, 3), 2), TokenSequence((1, 2), 1))
    assert fingerprint_of_tokens([one]) == fingerprint_of_tokens([one])
    assert fingerprint_of_tokens([one]) != fingerprint_of_tokens([two])
