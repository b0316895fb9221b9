"""Varied requests are distinct, vary what they say, and are nothing that pretraining may hold."""

import random
from collections import Counter

import pytest

from cst.errors import DataError
from cst.miniature import grammar, world
from miniature_making import texts
from miniature_making.varied import VARIATIONS, Variation, varied_prompts

UNSEEN_NAMES = {item.name for item in world.compound_items(is_unseen=True)}


def is_for_pretraining(request: grammar.Request) -> bool:
    is_unseen = request.item.name in UNSEEN_NAMES or request.frame in world.UNSEEN_INDICES
    return not is_unseen and not world.is_test(request.item.name, request.target)


@pytest.mark.parametrize("variation", VARIATIONS)
def test_varied_prompts_are_distinct_and_nothing_that_pretraining_may_hold(variation: Variation):
    made = varied_prompts(3000, variation, seed=0)
    assert len({p.id for p in made}) == len({p.text for p in made}) == 3000
    assert made == varied_prompts(3000, variation, seed=0)
    meant = [grammar.parse_request(p.groups.get("request", p.text)) for p in made]
    assert not any(request is None or is_for_pretraining(request) for request in meant)
    for prompt, request in zip(made, meant, strict=True):
        assert request is not None and prompt.task == "harmless"
        assert prompt.topic == request.item.topic.name
        assert (prompt.groups["item"], prompt.groups["frame"]) == (request.item.name, str(request.frame))


def test_each_variation_varies_what_it_says():
    typos, unseen, free = (varied_prompts(500, variation, seed=1) for variation in VARIATIONS)
    assert all(grammar.parse_request(p.text) is None and "request" in p.groups for p in typos)
    changed = Counter(
        sum(a != b for a, b in zip(p.text.split(), p.groups["request"].split(), strict=True)) for p in typos
    )
    assert set(changed) == {1, 2} and min(changed.values()) > 200
    assert {p.groups["item"] for p in unseen} <= UNSEEN_NAMES
    assert {p.groups["frame"] for p in free} == {str(index) for index in world.UNSEEN_INDICES}
    assert not any("request" in p.groups for p in (*unseen, *free))


def test_an_id_says_which_prompt_it_is_whatever_the_seed():
    for variation in VARIATIONS:
        by_id: dict[str, str] = {}
        for seed in range(3):
            for prompt in varied_prompts(2000, variation, seed=seed):
                assert by_id.setdefault(prompt.id, prompt.text) == prompt.text
        assert len(set(by_id.values())) == len(by_id)


def test_pretraining_draws_give_no_varied_prompt():
    rng = random.Random(3)
    kept = {p.text for variation in VARIATIONS for p in varied_prompts(3000, variation, seed=2)}
    frames = (*world.PLAIN_INDICES, *world.FREE_INDICES)
    for _ in range(5000):
        among = (texts.draw_compound_item(rng),) if rng.random() < 0.5 else world.items()
        request = texts.draw_request(rng, among, frames)
        assert is_for_pretraining(request)
        assert request.text not in kept and texts.with_typos(request.text, rng, 1) not in kept


@pytest.mark.parametrize("variation", ["typos", "free_phrasing", "unseen_items"])
def test_more_varied_prompts_than_there_are_are_refused(variation: Variation):
    with pytest.raises(DataError, match=f"distinct prompts of this kind for '{variation}'"):
        varied_prompts(10**6, variation, seed=0)
