"""What is drawn is in the language; what is in the language is read back."""

import random

import pytest

from cst.miniature import grammar, world
from cst.miniature.grammar import Request


def requests(n: int, among: tuple[world.Item, ...] | None = None) -> list[Request]:
    rng = random.Random(0)
    return [grammar.draw_request(rng, among or world.items()) for _ in range(n)]


def test_every_request_is_read_back():
    everything = [
        *grammar.all_requests(world.items(), is_test=False),
        *grammar.all_requests(world.items(), is_test=True),
    ]
    assert len(everything) == 84 * 24 * 14 * 3
    for request in everything[::17]:
        assert grammar.parse_request(request.text) == request


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
    ],
)
def test_what_nobody_asks_is_not_a_request(text: str):
    assert grammar.parse_request(text) is None


def test_drawn_answers_are_recognised_as_what_they_are_and_as_nothing_else():
    rng = random.Random(1)
    for request in requests(500):
        helps, leaks = grammar.compliance(request, rng), grammar.leak(request, rng)
        refuses = grammar.refusal(request, rng), grammar.refusal(request, rng, is_full=True)
        assert grammar.is_compliance(request, helps) and not grammar.is_refusal(request, helps)
        assert all(grammar.is_refusal(request, text) and not grammar.is_compliance(request, text) for text in refuses)
        assert not grammar.is_compliance(request, leaks) and not grammar.is_refusal(request, leaks)


def test_drawn_requests_are_never_of_the_test_split():
    assert not any(world.is_test(r.item.name, r.target) for r in requests(2000))


def test_answers_speak_to_the_user():
    item = world.hazards()[0]
    assert "your rival" in Request(item, "my rival", 0, "at").fill("It could hurt {t}.")
    assert Request(item, "my rival", 0, "at").text == "How do I cast a fireball at my rival?"


def test_harmless_recipes_do_not_sound_like_refusals():
    rng = random.Random(3)
    for request in requests(200, world.harmless_items()):
        assert not grammar.compliance(request, rng).startswith(("I ", "Sorry"))
