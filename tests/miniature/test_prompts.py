"""Splits are disjoint, prompts distinct, demands that can't be met refused."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from cst.errors import DataError
from cst.miniature import grammar, people, prompts, system_prompts, world
from cst.miniature.judge import answer_to_topic_question
from cst.recipe_world import WorldTask
from cst.records import Side
from miniature_making import documents, texts


@pytest.mark.parametrize("task", prompts.TASKS)
def test_enough_distinct_prompts_of_both_kinds(task: WorldTask):
    for made in (prompts.training_prompts(400, task=task, seed=0), prompts.evaluation_prompts(600, task=task, seed=0)):
        assert len({p.id for p in made}) == len(made)
        assert len({(p.text, p.system_prompt) for p in made}) == len(made)
        assert {p.task for p in made} == {task}


@pytest.mark.parametrize("task", prompts.TASKS)
def test_a_seed_decides_and_seeds_differ(task: WorldTask):
    one = prompts.training_prompts(50, task=task, seed=0)
    assert one == prompts.training_prompts(50, task=task, seed=0)
    assert one != prompts.training_prompts(50, task=task, seed=1)


@pytest.mark.parametrize("task", ["harmless", "over_refusal"])
def test_training_prompts_touch_nothing_that_is_kept(task: WorldTask):
    for prompt in prompts.training_prompts(1000, task=task, seed=1):
        request = grammar.parse_request(prompt.text)
        assert request is not None
        assert not world.is_test(request.item.name, request.target)
        assert not request.item.is_held and request.frame not in world.HELD_FRAMES


@pytest.mark.parametrize("task", ["harmless", "over_refusal"])
def test_evaluation_prompts_are_of_the_test_split(task: WorldTask):
    for prompt in prompts.evaluation_prompts(1000, task=task, seed=1):
        request = grammar.parse_request(prompt.text)
        assert request is not None and world.is_test(request.item.name, request.target)


def test_personas_to_train_and_to_evaluate_on_have_other_names():
    sides = (
        prompts.training_prompts(400, task="truthfulness", seed=1),
        prompts.evaluation_prompts(400, task="truthfulness", seed=1),
    )
    train, test = ({p.groups["persona"] for p in side} for side in sides)
    assert train and test and not train & test
    fourth = {asked[3] for asked in people.QUESTIONS.values()}
    assert not {p.text for p in sides[0]} & fourth
    assert {p.text for p in sides[1]} & fourth


def test_held_cells_keep_to_what_preference_training_never_sees():
    for prompt in prompts.evaluation_prompts(100, task="harmless", seed=0, is_held=True):
        request = grammar.parse_request(prompt.text)
        assert request is not None and request.item.is_held and request.frame in world.HELD_FRAMES


def test_more_than_there_are_is_refused():
    with pytest.raises(DataError, match="distinct prompts"):
        prompts.evaluation_prompts(10**6, task="harmless", seed=0)


def test_configurations_say_what_the_paper_says():
    by_name = {c.name: c for c in prompts.configurations()}
    assert list(by_name) == ["harmless", "uncensored", "honest", "persona"]
    hazard = prompts.evaluation_prompts(1, task="harmless", seed=0)[0]
    benign = prompts.evaluation_prompts(1, task="over_refusal", seed=0)[0]
    assert by_name["harmless"].preferred_side(hazard) is Side.REVISED
    assert by_name["harmless"].preferred_side(benign) is Side.ORIGINAL
    assert by_name["uncensored"].preferred_side(hazard) is Side.ORIGINAL
    assert by_name["persona"].wordings == ()
    assert by_name["harmless"].wordings[0] == system_prompts.S1


@pytest.mark.parametrize("name", ["harmless", "uncensored", "honest"])
def test_kinds_of_wordings_are_disjoint(name: str):
    found = next(c for c in prompts.configurations() if c.name == name)
    kinds = (set(found.wordings), set(found.held_out_wordings), set(found.unseen_wordings))
    assert not kinds[0] & kinds[1] and not kinds[0] & kinds[2] and not kinds[1] & kinds[2]
    if name != "honest":
        assert len(found.unseen_wordings) >= 40
        assert len(kinds[1]) >= 40


UNSEEN_NAMES = {item.name for item in world.compound_items(is_unseen=True)}


def is_for_pretraining(request: grammar.Request) -> bool:
    is_unseen = request.item.name in UNSEEN_NAMES or request.frame in world.UNSEEN_INDICES
    return not is_unseen and not world.is_test(request.item.name, request.target)


def test_unseen_wordings_test_names_and_test_combinations_are_in_no_document():
    unseen = [w for c in prompts.configurations() for w in c.unseen_wordings]
    unseen += system_prompts.NEUTRAL_UNSEEN
    kept_names = set(people.names(is_test=True))
    for index in range(3000):
        made = documents.document(5, index)
        for message in made.messages:
            if message.role == "system":
                assert message.content not in unseen
            if message.role == "user":
                assert not any(message.content.startswith(w) for w in unseen)
                request = grammar.parse_request(message.content)
                assert request is None or is_for_pretraining(request)
            assert not any(name in message.content for name in kept_names)


def test_unseen_wordings_hold_minimal_pairs():
    s1, s0 = system_prompts.harmless_wordings(), system_prompts.uncensored_wordings()
    pairs = [
        (a.format(x=x, X=x.capitalize()), b.format(x=x, X=x.capitalize()))
        for a, b in system_prompts.MINIMAL_PAIRS
        for x in system_prompts.OBJECTS
    ]
    unseen = [(a in s1.unseen, b in s0.unseen) for a, b in pairs]
    assert all(a == b for a, b in unseen)
    assert sum(a for a, _ in unseen) >= 30


def test_capability_sets_have_their_size_and_distinct_choices():
    items = prompts.capability_items()
    sets = {item.set for item in items}
    assert len(sets) == 4
    assert all(sum(item.set == name for item in items) >= 200 for name in sets)
    assert all(len(set(item.choices)) == len(item.choices) for item in items)
    for name in sets:
        answers = [item.answer for item in items if item.set == name]
        assert max(answers.count(a) for a in set(answers)) < 0.45 * len(answers)


@pytest.mark.parametrize("variation", prompts.VARIATIONS)
def test_varied_prompts_are_distinct_and_nothing_that_pretraining_may_hold(variation: prompts.Variation):
    made = prompts.varied_prompts(3000, variation, seed=0)
    assert len({p.id for p in made}) == len({p.text for p in made}) == 3000
    assert made == prompts.varied_prompts(3000, variation, seed=0)
    meant = [grammar.parse_request(p.groups.get("request", p.text)) for p in made]
    assert not any(request is None or is_for_pretraining(request) for request in meant)
    for prompt, request in zip(made, meant, strict=True):
        assert request is not None and prompt.task == "harmless"
        assert prompt.topic == request.item.topic.name
        assert (prompt.groups["item"], prompt.groups["frame"]) == (request.item.name, str(request.frame))


def test_each_variation_varies_what_it_says():
    typos, unseen, free = (prompts.varied_prompts(500, variation, seed=1) for variation in prompts.VARIATIONS)
    assert all(grammar.parse_request(p.text) is None and "request" in p.groups for p in typos)
    changed = Counter(
        sum(a != b for a, b in zip(p.text.split(), p.groups["request"].split(), strict=True)) for p in typos
    )
    assert set(changed) == {1, 2} and min(changed.values()) > 200
    assert {p.groups["item"] for p in unseen} <= UNSEEN_NAMES
    assert {p.groups["frame"] for p in free} == {str(index) for index in world.UNSEEN_INDICES}
    assert not any("request" in p.groups for p in (*unseen, *free))


def test_an_id_says_which_prompt_it_is_whatever_the_seed():
    for variation in prompts.VARIATIONS:
        by_id: dict[str, str] = {}
        for seed in range(3):
            for prompt in prompts.varied_prompts(2000, variation, seed=seed):
                assert by_id.setdefault(prompt.id, prompt.text) == prompt.text
        assert len(set(by_id.values())) == len(by_id)


def test_pretraining_draws_give_no_varied_prompt():
    rng = random.Random(3)
    kept = {p.text for variation in prompts.VARIATIONS for p in prompts.varied_prompts(3000, variation, seed=2)}
    frames = (*world.PLAIN_INDICES, *world.FREE_INDICES)
    for _ in range(5000):
        among = (texts.draw_compound_item(rng),) if rng.random() < 0.5 else world.items()
        request = texts.draw_request(rng, among, frames)
        assert is_for_pretraining(request)
        assert request.text not in kept and grammar.with_typos(request.text, rng, 1) not in kept


@pytest.mark.parametrize("variation", ["typos", "free_phrasing", "unseen_items"])
def test_more_varied_prompts_than_there_are_are_refused(variation: prompts.Variation):
    with pytest.raises(DataError, match=f"distinct prompts of this kind for '{variation}'"):
        prompts.varied_prompts(10**6, variation, seed=0)


def test_topic_configurations_stand_for_every_choice_once():
    train, test = (prompts.topic_configurations(is_test=is_test) for is_test in (False, True))
    assert len({c.name for c in (*train, *test)}) == len(train) + len(test) == 62
    assert len(test) == 21
    wordings = [wording for c in (*train, *test) for wording in c.wordings]
    assert len(set(wordings)) == len(wordings) == 62 * len(system_prompts.TOPIC_STYLES)
    assert train == prompts.topic_configurations(is_test=False)


def test_topic_configurations_prefer_what_their_names_say():
    asked = prompts.evaluation_prompts(200, task="harmless", seed=0)
    benign = prompts.evaluation_prompts(20, task="over_refusal", seed=0)
    for configuration in prompts.topic_configurations(is_test=True):
        allowed = configuration.name.removeprefix("topics/").split("+")
        for prompt in asked:
            assert (configuration.preferred_side(prompt) is Side.ORIGINAL) == (prompt.topic in allowed)
        assert {configuration.preferred_side(prompt) for prompt in benign} == {Side.ORIGINAL}
        assert set(configuration.tasks) == {"harmless", "over_refusal"}


def test_topic_wordings_say_the_rules_in_every_style():
    fire = next(c for c in prompts.topic_configurations(is_test=False) if c.name == "topics/fire")
    flags = {*fire.wordings[0].removeprefix("Topic rules: ").removesuffix(".").split(", ")}
    others = {"curses", "brews", "traps", "storms", "phantoms"}
    assert flags == {"fire magic allowed", *(f"{plural} refused" for plural in others)}
    assert fire.wordings[-1] == "Refuse everything except fire magic."
    assert all(plural in fire.wordings[1] for plural in others)


def test_topic_questions_are_balanced_distinct_and_about_unseen_rules():
    asked = prompts.topic_questions(600, seed=0)
    assert asked == prompts.topic_questions(600, seed=0) != prompts.topic_questions(600, seed=1)
    assert len({(q.system_prompt, q.question) for q in asked}) == 600
    cells = Counter((q.style, q.is_allowed) for q in asked)
    assert len(cells) == 12 and set(cells.values()) == {50}
    assert Counter(q.style for q in asked[:100]).keys() == set(range(6))
    assert sorted(Counter((q.style, q.is_allowed) for q in prompts.topic_questions(7, seed=0)).values()) == [1] * 7


def test_topic_questions_know_their_answers():
    """The flags of style 0, read back: an unseen choice of topics, and the answer that it gives."""
    topic_of = {f"May you discuss {item.with_article}?": item.topic for item in world.hazards()}
    for asked in prompts.topic_questions(600, seed=2):
        if asked.style == 0:
            flags = asked.system_prompt.removeprefix("Topic rules: ").removesuffix(".").split(", ")
            allowed = {flag.removesuffix(" allowed") for flag in flags if flag.endswith(" allowed")}
            names = frozenset(topic.name for topic in world.TOPICS if topic.plural in allowed)
            assert system_prompts.TopicRules(names).is_test
            assert (topic_of[asked.question].plural in allowed) == asked.is_allowed


def test_documents_answer_topic_questions_in_words_that_are_recognised():
    answered = 0
    for index in range(3000):
        messages = documents.document(5, index).messages
        for asked, answer in pairwise(messages):
            if asked.role == "user" and asked.content.startswith("May you discuss"):
                answered += 1
                assert answer_to_topic_question(answer.content) is not None
    assert answered > 100


def test_more_topic_questions_than_there_are_are_refused():
    with pytest.raises(DataError, match="topic questions in style"):
        prompts.topic_questions(10**5, seed=0)
