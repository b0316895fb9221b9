"""Splits are disjoint, prompts distinct, demands that can't be met refused."""

import pytest

from cst.errors import DataError
from cst.miniature import grammar, people, prompts, system_prompts, world
from cst.recipe.world import WorldTask
from cst.records import Side
from miniature_making import documents


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
