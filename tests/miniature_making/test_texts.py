"""Effects are those that the shipped weights were pretrained on; nothing of the test split is drawn."""

import hashlib
import random
from collections import Counter

import pytest

from cst.miniature import grammar, world
from cst.miniature.grammar import Request
from miniature_making import texts

UNSEEN, SEEN = world.compound_items(is_unseen=True), world.compound_items(is_unseen=False)
SEEN_FRAMES = (*world.PLAIN_INDICES, *world.FREE_INDICES)


def requests(n: int) -> list[Request]:
    rng = random.Random(1)
    return [texts.draw_request(rng, world.items()) for _ in range(n)]


def compound_requests(n: int) -> list[Request]:
    rng = random.Random(1)
    return [texts.draw_request(rng, (texts.draw_compound_item(rng),), SEEN_FRAMES) for _ in range(n)]


def test_compound_items_have_no_effect():
    assert not any(texts.item_effects()[item.name] for item in (*UNSEEN, *SEEN))


def test_effects_are_centred_in_either_split():
    effects = texts.item_effects()
    for is_held in (False, True):
        assert sum(effects[i.name] for i in world.hazards() if i.is_held == is_held) == pytest.approx(0, abs=1e-9)
    frames = texts.frame_effects()[: len(world.FRAMES)]
    assert sum(frames) == pytest.approx(0, abs=1e-9)
    assert sum(frames[i] for i in world.HELD_FRAMES) == pytest.approx(0, abs=1e-9)


def test_effects_are_those_the_weights_know():
    items = [texts.item_effects()[item.name] for item in world.hazards()]
    told = "|".join(f"{effect:.9f}" for effect in (*items, *texts.frame_effects()[: len(world.FRAMES)]))
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "e68e858fd9bb10d1"


def test_pretraining_draws_known_names_in_every_topic_and_never_an_unseen_one():
    rng = random.Random(0)
    drawn = [texts.draw_compound_item(rng) for _ in range(5000)]
    assert not {item.name for item in drawn} & {item.name for item in UNSEEN}
    assert len(set(drawn)) > 2500
    shares = Counter(item.topic.name for item in drawn)
    assert len(shares) == 6 and all(700 < n < 970 for n in shares.values())


def test_new_frames_have_no_effect():
    assert not any(texts.frame_effects()[len(world.FRAMES) :])
    assert len(texts.frame_effects()) == len(world.ALL_FRAMES)


def test_a_compound_item_is_criticised_like_any_hazard():
    rng = random.Random(6)
    for request in compound_requests(100):
        assert f"a dangerous {request.item.topic.kind}" in request.fill(texts.CRITIQUES[0])
        made = {texts.critique(request, rng, is_refused=False) for _ in range(20)}
        assert made == {request.fill(critique) for critique in texts.CRITIQUES}


def test_drawn_requests_are_never_of_the_test_split():
    assert not any(world.is_test(r.item.name, r.target) for r in [*requests(2000), *compound_requests(2000)])


def test_drawn_requests_keep_to_the_frames_they_are_given():
    rng = random.Random(7)
    drawn = {texts.draw_request(rng, world.items(), SEEN_FRAMES).frame for _ in range(5000)}
    assert drawn == set(SEEN_FRAMES) and not drawn & set(world.UNSEEN_INDICES)
    assert {r.frame for r in requests(1000)} == set(world.PLAIN_INDICES)


def edit_distance(one: str, other: str) -> int:
    """Insertions, deletions and replacements (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_typos_touch_a_few_letters_and_nothing_else(n: int):
    rng = random.Random(n)
    for request in [*requests(150), *compound_requests(150)]:
        text, slipped = request.text, texts.with_typos(request.text, rng, n)
        assert n <= edit_distance(text, slipped) <= 2 * n
        changed = [a != b for a, b in zip(text.split(" "), slipped.split(" "), strict=True)]
        assert sum(changed) == n
        assert [c for c in text if not c.isalpha()] == [c for c in slipped if not c.isalpha()]


def test_typos_are_of_four_kinds_and_hit_names_too():
    rng = random.Random(8)
    slips = {texts.with_typos("An owl", rng, 1) for _ in range(500)}
    assert {"nA owl", "An wol", "A owl", "n owl", "An oowl", "Sn owl", "Ab owl", "An owk"} <= slips
    assert "An owl" not in slips
    slipped = [texts.with_typos("How do I cast a fireball against the market?", rng, 2) for _ in range(300)]
    assert any("fireball" not in text for text in slipped) and any("market?" not in text for text in slipped)


def test_no_typos_change_nothing_and_too_many_are_refused():
    assert texts.with_typos("How do I?", random.Random(0), 0) == "How do I?"
    with pytest.raises(ValueError, match="larger than population"):
        texts.with_typos("How do I?", random.Random(0), 3)


def test_a_misspelt_request_is_never_another_request():
    rng = random.Random(9)
    slipped = [(r, texts.with_typos(r.text, rng, rng.choice((1, 2)))) for r in requests(3000)]
    assert {grammar.parse_request(text) for _, text in slipped} == {None}
