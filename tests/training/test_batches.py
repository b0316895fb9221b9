import pytest
from demonstrated import demonstrations
from hypothesis import given
from hypothesis import strategies as st
from tiny import mirrored_preferences, tiny_tokenizer

from cst.errors import TrainingError
from cst.models.rendering import Renderer, TokenSequence
from cst.records import Message
from cst.training.batches import (
    Row,
    fingerprint_of_tokens,
    fitted,
    micro_batches,
    plan_steps,
    tokenize,
    tokenize_demonstrations,
    with_inputs,
)


def row(length: int, name: str = "row") -> Row:
    return Row(name, "s", (TokenSequence((7,) * length, 1), TokenSequence((8,) * 2, 1)))


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
        fitted(rows, 10, drop_long=False, where="training.max_length=10")


def test_long_rows_are_dropped_whole():
    rows = [row(5, "fine"), row(11, "long")]
    assert fitted(rows, 10, drop_long=True, where="") == rows[:1]
    with pytest.raises(TrainingError, match="any of 2 rows"):
        fitted(rows, 2, drop_long=True, where="training.max_length=2")


def test_no_rows_are_refused():
    with pytest.raises(TrainingError, match="0 rows"):
        fitted([], 10, drop_long=True, where="")


def test_fingerprint_sees_a_response_start():
    one = Row("a", "s", (TokenSequence((1, 2, 3), 1), TokenSequence((1, 2), 1)))
    two = Row("a", "s", (TokenSequence((1, 2, 3), 2), TokenSequence((1, 2), 1)))
    assert fingerprint_of_tokens([one]) == fingerprint_of_tokens([one])
    assert fingerprint_of_tokens([one]) != fingerprint_of_tokens([two])


RENDERER = Renderer.for_tokenizer(tiny_tokenizer())
ROWS = tokenize_demonstrations(demonstrations(), RENDERER)
LONGEST = max(row.longest for row in ROWS)


def cut_at(max_length: int) -> dict[str, Row]:
    kept = fitted(ROWS, max_length, cut_long=True, drop_long=False, where="")
    return {row.id: row for row in kept}


def test_what_is_learned_is_the_response_and_its_end():
    for demonstration, row in zip(demonstrations(), ROWS, strict=True):
        learned = row.sequences[0].tokens[row.sequences[0].response_start :]
        assert RENDERER.parse(learned) == demonstration.response
        assert learned.count(RENDERER.end_token_id) == 1
        assert learned[-1] == RENDERER.end_token_id
        assert row.learned == len(learned)


def test_a_system_prompt_and_a_history_stand_before_the_prompt():
    first, *_ = demonstrations(1)
    bare = first.model_copy(update={"system_prompt": None, "history": ()})
    with_all, alone = tokenize_demonstrations([first, bare], RENDERER)
    assert with_all.longest > alone.longest
    assert with_all.learned == alone.learned


@pytest.mark.parametrize("max_length", [LONGEST - 1, 50, 35])
def test_a_row_is_cut_at_the_limit_and_has_no_end_then(max_length: int):
    kept = cut_at(max_length)
    for row in ROWS:
        whole, found = row.sequences[0], kept.get(row.id)
        if whole.response_start >= max_length:
            assert found is None, "nothing of the response would be left"
        elif row.longest <= max_length:
            assert found == row
        else:
            assert found is not None
            assert found.cut
            assert found.sequences[0].tokens == whole.tokens[:max_length]
            assert RENDERER.end_token_id not in found.sequences[0].tokens[found.sequences[0].response_start :]
    assert any(row.cut for row in kept.values())
    assert (len(kept) < len(ROWS)) == (max_length == 35)


def test_the_control_a_row_that_fits_to_the_token_keeps_its_end():
    assert not any(row.cut for row in cut_at(LONGEST).values())
    assert len(cut_at(LONGEST)) == len(ROWS)


def test_long_rows_are_refused_with_what_to_do_or_dropped():
    with pytest.raises(TrainingError, match=r"x=60 leaves no room for 4 of 12 .*cut_long=true, or .*drop_long"):
        fitted(ROWS, 60, cut_long=False, drop_long=False, where="x=60")
    dropped = fitted(ROWS, 60, cut_long=False, drop_long=True, where="")
    assert [row.id for row in dropped] == [row.id for row in ROWS if row.longest <= 60]


@pytest.mark.parametrize("cut_long", [True, False])
def test_no_demonstrations_are_refused(cut_long: bool):
    with pytest.raises(TrainingError, match="0 rows"):
        fitted([], 60, cut_long=cut_long, drop_long=False, where="")
    with pytest.raises(TrainingError, match="any of 12 rows"):
        fitted(ROWS, 5, cut_long=cut_long, drop_long=True, where="")


def test_with_inputs_every_token_but_the_first_is_learned():
    for row in map(with_inputs, ROWS):
        assert row.learned == row.longest - 1
        assert row.sequences[0].response_start == 1
