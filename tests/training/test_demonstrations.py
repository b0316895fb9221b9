"""Laws of a demonstration's tokens: what is learned, what is cut, and that nothing ends where it was cut."""

import pytest
from demonstrated import demonstrations
from tiny import tiny_tokenizer

from cst.errors import TrainingError
from cst.models.rendering import Renderer
from cst.training.demonstrations import TokenizedDemonstration, fitted, tokenize_demonstrations, with_inputs

RENDERER = Renderer.for_tokenizer(tiny_tokenizer())
ROWS = tokenize_demonstrations(demonstrations(), RENDERER)
LONGEST = max(row.longest for row in ROWS)


def cut_at(max_length: int) -> dict[str, TokenizedDemonstration]:
    kept = fitted(ROWS, max_length, cut_long=True, drop_long=False, where="")
    return {row.id: row for row in kept}


def test_what_is_learned_is_the_response_and_its_end():
    for demonstration, row in zip(demonstrations(), ROWS, strict=True):
        learned = row.sequence.tokens[row.sequence.response_start :]
        assert RENDERER.parse(learned) == demonstration.response
        assert learned.count(RENDERER.end_token_id) == 1
        assert learned[-1] == RENDERER.end_token_id
        assert row.labels == len(learned)


def test_a_system_prompt_and_a_history_stand_before_the_prompt():
    first, *_ = demonstrations(1)
    bare = first.model_copy(update={"system_prompt": None, "history": ()})
    with_all, alone = tokenize_demonstrations([first, bare], RENDERER)
    assert with_all.longest > alone.longest
    assert with_all.labels == alone.labels


@pytest.mark.parametrize("max_length", [LONGEST - 1, 50, 35])
def test_a_row_is_cut_at_the_limit_and_has_no_end_then(max_length: int):
    kept = cut_at(max_length)
    for row in ROWS:
        whole, found = row.sequence, kept.get(row.id)
        if whole.response_start >= max_length:
            assert found is None, "nothing of the response would be left"
        elif row.longest <= max_length:
            assert found == row
        else:
            assert found is not None
            assert found.cut
            assert found.sequence.tokens == whole.tokens[:max_length]
            assert RENDERER.end_token_id not in found.sequence.tokens[found.sequence.response_start :]
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
def test_no_rows_are_refused(cut_long: bool):
    with pytest.raises(TrainingError, match="0 rows"):
        fitted([], 60, cut_long=cut_long, drop_long=False, where="")
    with pytest.raises(TrainingError, match="any of 12 rows"):
        fitted(ROWS, 5, cut_long=cut_long, drop_long=True, where="")


def test_with_inputs_every_token_but_the_first_is_learned():
    for row in map(with_inputs, ROWS):
        assert row.labels == row.longest - 1
        assert row.sequence.response_start == 1
