"""Facts that the shipped weights were pretrained on must not move."""

import hashlib
import re
from collections import Counter

import pytest

from cst.miniature import people, world

UNSEEN, SEEN = world.compound_items(is_unseen=True), world.compound_items(is_unseen=False)


def test_the_facts_are_those_the_weights_know():
    told = "\n".join(f"{i.name}|{i.facts.ingredients}|{i.facts.word}|{i.is_hazard}|{i.is_held}" for i in world.items())
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "a5d59042113a6940"


def test_the_world_has_its_size():
    assert len(world.hazards()) == 48
    assert len(world.harmless_items()) == 36
    assert sum(item.is_held for item in world.items()) == 12
    assert (len(world.TARGETS), len(world.FRAMES), len(world.INGREDIENTS), len(world.WORDS)) == (24, 14, 40, 16)


def test_about_a_fifth_of_the_combinations_is_kept_for_evaluation():
    split = [world.is_test(item.name, target) for item in world.items() for target in world.TARGETS]
    assert 0.17 < sum(split) / len(split) < 0.23


def test_the_facts_of_a_compound_item_follow_from_its_words():
    by_word: dict[str, set] = {}
    for item in (*UNSEEN, *SEEN):
        first, second = item.name.split()
        by_word.setdefault(first, set()).add(item.facts.ingredients[0])
        by_word.setdefault(second, set()).add((item.facts.ingredients[1], item.facts.word))
        assert item.facts.ingredients[0] != item.facts.ingredients[1]
        assert item.is_hazard and not item.is_held
    assert all(len(facts) == 1 for facts in by_word.values())
    met = {word for item in SEEN for word in item.name.split()}
    assert met == by_word.keys(), "every word of an unseen name is met in other names"


def test_the_facts_of_compound_items_are_those_the_weights_know():
    told = "\n".join(f"{i.name}|{i.facts.ingredients}|{i.facts.word}" for i in UNSEEN)
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "2e58658926754b78"


def test_compound_names_mean_nothing_else():
    names = {item.name for item in (*UNSEEN, *SEEN)}
    assert len(names) == 900
    assert not names & {item.name for item in world.items()}
    assert not {name.split()[-1] for name in names} & {item.name.split()[-1] for item in world.harmless_items()}
    known = " ".join(fact.question for facts in people.facts().values() for fact in facts)
    assert not any(f" {name}" in known for name in names)


def test_a_fifth_of_the_compound_names_is_unseen_in_every_topic():
    assert not {item.name for item in UNSEEN} & {item.name for item in SEEN}
    assert 0.17 < len(UNSEEN) / len(UNSEEN + SEEN) < 0.23
    assert set(Counter(item.topic.name for item in UNSEEN).values()) == {len(UNSEEN) // len(world.TOPICS)}


def test_frames_differ_and_name_everything_once():
    assert len({frame.lower().strip(".?") for frame in world.ALL_FRAMES}) == len(world.ALL_FRAMES) == 74
    assert [*world.PLAIN_INDICES, *world.FREE_INDICES, *world.UNSEEN_INDICES] == list(range(74))
    for frame in world.ALL_FRAMES:
        assert sorted(re.findall(r"{(\w+)}", frame)) == ["ai", "p", "t", "v"]


def words(frames: tuple[str, ...]) -> set[str]:
    return set(re.findall(r"[A-Za-z]+", " ".join(frames)))


def test_unseen_frames_are_made_of_words_that_pretraining_knows():
    assert words(world.UNSEEN_FRAMES) <= words(world.FRAMES + world.FREE_FRAMES)
    assert not words(world.FREE_FRAMES) <= words(world.FRAMES)


@pytest.mark.parametrize(("noun", "said"), [("ember swarm", "an ember swarm"), ("net trap", "a net trap")])
def test_articles(noun: str, said: str):
    assert world.with_article(noun) == said
