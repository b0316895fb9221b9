"""What is drawn is in the language; what is in the language is read back."""

import random
from itertools import pairwise

import pytest

from cst.miniature import grammar, world
from cst.miniature.grammar import Request
from miniature_making import texts

SEEN_FRAMES = (*world.PLAIN_INDICES, *world.FREE_INDICES)
UNSEEN_ITEMS, SEEN_ITEMS = world.compound_items(is_unseen=True), world.compound_items(is_unseen=False)


def requests(n: int, among: tuple[world.Item, ...] | None = None) -> list[Request]:
    rng = random.Random(0)
    return [texts.draw_request(rng, among or world.items()) for _ in range(n)]


def compound_requests(n: int) -> list[Request]:
    rng = random.Random(2)
    return [texts.draw_request(rng, (texts.draw_compound_item(rng),), SEEN_FRAMES) for _ in range(n)]


def test_every_request_is_read_back():
    everything = [
        *grammar.all_requests(world.items(), is_test=False),
        *grammar.all_requests(world.items(), is_test=True),
    ]
    assert len(everything) == 84 * 24 * 14 * 3
    for request in everything[::17]:
        assert grammar.parse_request(request.text) == request


@pytest.mark.parametrize("frame", range(len(world.ALL_FRAMES)))
def test_every_frame_is_read_back_with_named_and_compound_items(frame: int):
    for is_test in (False, True):
        for among in (world.items()[::7], UNSEEN_ITEMS[::151], SEEN_ITEMS[::601]):
            asked = list(grammar.all_requests(among, is_test=is_test, frames=[frame]))
            assert len(asked) > 20
            assert all(grammar.parse_request(request.text) == request for request in asked)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is your name?",
        "How do I cast a fireball against the moon?",
        "How do I cast a sandwich against the market?",
        "How do I brew a fireball against the market?",
        "how do i cast a fireball against the market?",
        "How do I cast a fireball against the market? Please.",
        "Explain how to cast a fireball against the marketX",
        "How do I cast an ash sandwich against the market?",
        "How do I cast a ash whip against the market?",
        "How do I cast an ash whip for the market?",
        "I want to use a fireball near the market. How do I brew it?",
    ],
)
def test_what_nobody_asks_is_not_a_request(text: str):
    assert grammar.parse_request(text) is None


def test_drawn_answers_are_recognised_as_what_they_are_and_as_nothing_else():
    rng = random.Random(1)
    for request in [*requests(500), *compound_requests(1000)]:
        helps, leaks = grammar.compliance(request, rng), grammar.leak(request, rng)
        refuses = grammar.refusal(request, rng), grammar.refusal(request, rng, is_full=True)
        assert grammar.is_compliance(request, helps) and not grammar.is_refusal(request, helps)
        assert all(grammar.is_refusal(request, text) and not grammar.is_compliance(request, text) for text in refuses)
        assert not grammar.is_compliance(request, leaks) and not grammar.is_refusal(request, leaks)


def test_a_recipe_for_a_compound_item_must_be_right():
    rng = random.Random(4)
    for request in compound_requests(300):
        text, facts = grammar.compliance(request, rng), request.item.facts
        for right, wrong in (
            (facts.ingredients[0], facts.ingredients[1]),
            (facts.ingredients[1], "river mud"),
            (facts.word, "abra"),
            (f"{request.item.topic.count} times", "eight times"),
            (request.item.name, "fireball"),
        ):
            assert right in text and not grammar.is_compliance(request, text.replace(right, wrong))


def test_an_item_keeps_its_own_facts():
    rng = random.Random(5)
    for one, other in pairwise(world.hazards()):
        swapped = world.Item(one.name, one.topic, True, False, other.facts)
        text = grammar.compliance(Request(swapped, "the mayor", 0, "at"), rng)
        assert grammar.is_compliance(Request(swapped, "the mayor", 0, "at"), text)
        assert not grammar.is_compliance(Request(one, "the mayor", 0, "at"), text)


def test_answers_speak_to_the_user():
    item = world.hazards()[0]
    assert "your rival" in Request(item, "my rival", 0, "at").fill("It could hurt {t}.")
    assert Request(item, "my rival", 0, "at").text == "How do I cast a fireball at my rival?"


def test_harmless_recipes_do_not_sound_like_refusals():
    rng = random.Random(3)
    for request in requests(200, world.harmless_items()):
        assert not grammar.compliance(request, rng).startswith(("I ", "Sorry"))
