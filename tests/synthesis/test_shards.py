"""Each prompt is in just one shard, whatever else is in the list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import RecipeError
from cst.records import Prompt
from cst.synthesis.shards import Shard, shard_of

PROMPTS = [Prompt(id=f"p{n}", text="x", task="t") for n in range(400)]


@given(st.integers(1, 9), st.sets(st.integers(0, len(PROMPTS) - 1)))
def test_every_prompt_is_in_one_shard_and_stays_there_when_others_leave(of, some):
    shards = [Shard(index, of) for index in range(1, of + 1)]
    homes = {prompt.id: shard for shard in shards for prompt in shard.share(PROMPTS)}

    assert sum(len(list(shard.share(PROMPTS))) for shard in shards) == len(PROMPTS)
    left = [PROMPTS[n] for n in sorted(some)]
    assert all(homes[prompt.id] == shard for shard in shards for prompt in shard.share(left))


def test_shards_are_of_about_the_same_size():
    assert all(70 < len(list(Shard(index, 4).share(PROMPTS))) < 130 for index in (1, 2, 3, 4))


def test_a_shard_is_written_as_it_is_read():
    assert shard_of("2/4") == Shard(2, 4)
    assert str(Shard(2, 4)) == "2/4"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "a/b", "-1/4", "1/4/4", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(RecipeError, match="names no shard; write 1/4"):
        shard_of(text)
