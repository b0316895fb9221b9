"""Facts that the shipped weights were pretrained on must not move."""

import hashlib

import pytest

from cst.miniature import world


def test_the_facts_are_those_the_weights_know():
    told = "\n".join(f"{i.name}|{i.ingredients}|{i.word}|{i.is_hazard}|{i.is_held}" for i in world.items())
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "a5d59042113a6940"


def test_the_world_has_its_size():
    assert len(world.hazards()) == 48
    assert len(world.harmless_items()) == 36
    assert sum(item.is_held for item in world.items()) == 12
    assert (len(world.TARGETS), len(world.FRAMES), len(world.INGREDIENTS), len(world.WORDS)) == (24, 14, 40, 16)


def test_effects_are_centred_in_either_split():
    effects = world.item_effects()
    for is_held in (False, True):
        assert sum(effects[i.name] for i in world.hazards() if i.is_held == is_held) == pytest.approx(0, abs=1e-9)
    frames = world.frame_effects()
    assert sum(frames) == pytest.approx(0, abs=1e-9)
    assert sum(frames[i] for i in world.HELD_FRAMES) == pytest.approx(0, abs=1e-9)


def test_about_a_fifth_of_the_combinations_is_kept_for_evaluation():
    split = [world.is_test(item.name, target) for item in world.items() for target in world.TARGETS]
    assert 0.17 < sum(split) / len(split) < 0.23


@pytest.mark.parametrize(("noun", "said"), [("ember swarm", "an ember swarm"), ("net trap", "a net trap")])
def test_articles(noun: str, said: str):
    assert world.with_article(noun) == said
