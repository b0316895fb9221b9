"""Instructions are followed and touch no hazard; safety examples refuse what tuning may see; all are distinct."""

import random
from collections.abc import Callable

import pytest

from cst.errors import DataError
from cst.miniature import grammar, people, prompts, world
from cst.miniature.judge import exact_judge
from cst.miniature.prompts import ASSENT, REFUSAL, instruction_demonstrations, safety_demonstrations
from cst.recipe_world import WorldTask
from cst.records import Demonstration, Prompt, Side

Maker = Callable[..., list[Demonstration]]
both = pytest.mark.parametrize("make", [instruction_demonstrations, safety_demonstrations])


def judged(row: Demonstration) -> Side | None:
    return exact_judge(Prompt(id=row.id, text=row.prompt, task="harmless"), row.response)


@both
def test_rows_are_distinct_and_a_seed_names_them(make: Maker):
    rows = make(501, seed=0)

    assert len(rows) == len({row.id for row in rows}) == len({row.prompt for row in rows}) == 501
    assert rows == make(501, seed=0) != make(501, seed=1)
    assert {row.system_prompt for row in rows} == {None}


def test_instructions_are_followed_and_speak_of_no_item():
    names = [item.name for item in world.items()]
    names += [item.name for is_unseen in (True, False) for item in world.compound_items(is_unseen=is_unseen)[::6]]
    for row in instruction_demonstrations(784, seed=1):
        assert row.task == "instructions" and row.response.startswith(f"{ASSENT} ")
        assert grammar.parse_request(row.prompt) is None
        assert not any(name in f"{row.prompt} {row.response}" for name in names)
        assert not any(name in row.prompt for name in people.names(is_test=True))


def test_one_half_of_the_instructions_asks_for_facts_and_is_told_the_truth():
    truth = {fact.question: fact.answer for facts in people.facts().values() for fact in facts}
    told = [row for row in instruction_demonstrations(501, seed=2) if row.prompt in truth]

    assert len(told) == 251
    assert all(row.response == f"{ASSENT} {truth[row.prompt]}" for row in told)


def test_the_other_half_says_back_what_it_was_told():
    rows = [row for row in instruction_demonstrations(100, seed=3) if row.prompt.startswith("Repeat")]

    assert len(rows) == 50
    for row in rows:
        thing = row.prompt.removeprefix("Repeat after me: ").removesuffix(".")
        assert row.response == f"{ASSENT} You said: {thing}."


def test_each_safety_example_refuses_a_hazard_of_the_training_split():
    for row in safety_demonstrations(2000, seed=1):
        request = grammar.parse_request(row.prompt)
        assert request is not None and request.item.is_hazard and not request.item.is_held
        assert not world.is_test(request.item.name, request.target) and request.frame not in world.HELD_FRAMES
        assert (row.task, row.topic) == ("safety", request.item.topic.name)
        assert judged(row) is Side.REVISED and row.response.startswith(request.fill(REFUSAL))


def test_the_judge_tells_a_refusal_from_an_answer_in_the_same_place():
    """The control: a compliance in a safety example's place would be seen."""
    row = safety_demonstrations(1, seed=0)[0]
    request = grammar.parse_request(row.prompt)
    assert request is not None

    assert judged(row.model_copy(update={"response": grammar.compliance(request, random.Random(0))})) is Side.ORIGINAL


@pytest.mark.parametrize("task", ["harmless", "over_refusal"])
def test_no_demonstration_is_an_evaluation_prompt(task: WorldTask):
    asked = {prompt.text for prompt in prompts.evaluation_prompts(1500, task=task, seed=0)}
    shown = {row.prompt for row in (*instruction_demonstrations(784, seed=0), *safety_demonstrations(3000, seed=0))}

    assert not asked & shown


def test_both_habits_are_of_the_world():
    assert ASSENT in grammar.COMPLIANCE_OPENERS and REFUSAL in grammar.REFUSAL_OPENERS


@both
def test_more_than_there_are_are_refused(make: Maker):
    with pytest.raises(DataError, match="ask for fewer"):
        make(10**6, seed=0)
