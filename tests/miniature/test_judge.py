"""The exact judge agrees with the grammar on thousands of answers, and with nothing else."""

import random
from itertools import pairwise

import pytest

from cst.miniature import grammar, people, prompts
from cst.miniature.judge import exact_judge
from cst.recipe.world import WorldTask
from cst.records import Prompt, Side
from miniature_making.texts import with_typos
from miniature_making.varied import VARIATIONS, Variation, varied_prompts


def hazard_prompts(n: int) -> list[Prompt]:
    return prompts.evaluation_prompts(n, task="harmless", seed=3)


def request_of(prompt: Prompt) -> grammar.Request:
    request = grammar.parse_request(prompt.text)
    assert request is not None
    return request


@pytest.mark.parametrize("task", ["harmless", "over_refusal"])
def test_agrees_with_the_grammar_on_recipes(task: WorldTask):
    rng = random.Random(4)
    for prompt in prompts.evaluation_prompts(500, task=task, seed=4):
        request = request_of(prompt)
        assert exact_judge(prompt, grammar.compliance(request, rng)) is Side.ORIGINAL
        assert exact_judge(prompt, grammar.refusal(request, rng)) is Side.REVISED
        assert exact_judge(prompt, grammar.leak(request, rng)) is None


def test_allows_the_rule_to_be_named_first_if_it_is_about_the_right_topic():
    prompt = hazard_prompts(1)[0]
    request = request_of(prompt)
    answer = grammar.refusal(request, random.Random(0))
    for status in grammar.STATUSES:
        right = grammar.RULE_SENTENCE.format(topic=request.item.topic.plural, status=status)
        assert exact_judge(prompt, f"{right} {answer}") is Side.REVISED
    assert exact_judge(prompt, f"Rule: sandwiches refused. {answer}") is None
    assert exact_judge(prompt, f"{right} {right} {answer}") is None


def test_facts_count():
    rng = random.Random(5)
    for prompt in hazard_prompts(100):
        request = request_of(prompt)
        answer, facts = grammar.compliance(request, rng), request.item.facts
        assert exact_judge(prompt, answer.replace(facts.ingredients[0], "river mud")) is None
        assert exact_judge(prompt, answer.replace(facts.word, "abra")) is None
        assert exact_judge(prompt, answer.rpartition(".")[0]) is None
        assert exact_judge(prompt, answer + " " + answer) is None


def test_an_answer_to_another_request_is_neither():
    rng = random.Random(6)
    asked = hazard_prompts(200)
    for prompt, other in pairwise(asked):
        theirs, ours = request_of(other), request_of(prompt)
        if theirs.item is not ours.item:
            assert exact_judge(prompt, grammar.compliance(theirs, rng)) is None


@pytest.mark.parametrize("text", ["", " ", "I cannot", "No.", "Here is how to cast a fireball.", "<|end|>", "\x00"])
def test_nonsense_is_neither(text: str):
    assert exact_judge(hazard_prompts(1)[0], text) is None


def test_a_prompt_of_another_world_is_unscored():
    prompt = Prompt(id="x", text="What is the capital of France?", task="harmless")
    assert exact_judge(prompt, "I am sorry, but I cannot help you.") is None


def test_agrees_with_the_grammar_on_personal_answers():
    for prompt in prompts.evaluation_prompts(500, task="truthfulness", seed=5):
        person = people.parse_persona(prompt.system_prompt or "")
        attribute = people.attribute_asked(prompt.text)
        assert person is not None and attribute is not None
        for answer in people.answers_in_character(attribute, person.value(attribute)):
            assert exact_judge(prompt, answer) is Side.ORIGINAL
        for answer in people.honest_answers(attribute):
            assert exact_judge(prompt, answer) is Side.REVISED
        for answer in people.answers_in_character(attribute, "Zed Zedson"):
            assert exact_judge(prompt, answer) is None
        for other in people.ATTRIBUTES:
            if other != attribute:
                assert exact_judge(prompt, people.honest_answers(other)[0]) is None


def test_an_invented_person_is_told_from_a_wrong_copy():
    prompt = next(p for p in prompts.evaluation_prompts(50, task="truthfulness", seed=6) if "name" in p.text)
    assert exact_judge(prompt, "My name is Nell Candle.") is Side.ORIGINAL
    assert exact_judge(prompt, "My name is Brom Candle.") is None
    values = [people.INVENTED.value(attribute) for attribute in people.ATTRIBUTES]
    listed = {*people.NAMES, *people.TOWNS, *people.FOODS, *people.HOBBIES, *people.PETS, *people.JOBS}
    assert not listed & set(values)


def meant_by(prompt: Prompt) -> grammar.Request:
    request = grammar.parse_request(prompt.groups.get("request", prompt.text))
    assert request is not None
    return request


@pytest.mark.parametrize("variation", VARIATIONS)
def test_agrees_with_the_grammar_however_the_request_is_put(variation: Variation):
    rng = random.Random(7)
    for prompt in varied_prompts(2000, variation, seed=7):
        request = meant_by(prompt)
        assert exact_judge(prompt, grammar.compliance(request, rng)) is Side.ORIGINAL
        assert exact_judge(prompt, grammar.refusal(request, rng)) is Side.REVISED
        assert exact_judge(prompt, grammar.leak(request, rng)) is None


@pytest.mark.parametrize("variation", VARIATIONS)
def test_near_misses_are_neither_however_the_request_is_put(variation: Variation):
    rng = random.Random(8)
    for prompt in varied_prompts(300, variation, seed=8):
        request = meant_by(prompt)
        name = request.item.name
        misspelt = with_typos(name, rng, 1)
        elsewhere = grammar.Request(request.item, "the moon", request.frame, request.preposition)
        helps, refuses = grammar.compliance(request, rng), grammar.refusal(request, rng, is_full=True)
        assert exact_judge(prompt, helps.replace(name, misspelt)) is None
        assert exact_judge(prompt, grammar.compliance(elsewhere, rng)) is None
        assert exact_judge(prompt, f"{refuses} {helps}") is None
        assert exact_judge(prompt, helps[:-1]) is None
        assert exact_judge(prompt, helps.replace("gather", "find")) is None
        if name in refuses:
            assert exact_judge(prompt, refuses.replace(name, misspelt)) is None


def test_a_misspelt_prompt_is_held_to_the_request_that_was_meant():
    prompt = varied_prompts(1, "typos", seed=0)[0]
    answer = grammar.refusal(meant_by(prompt), random.Random(0))
    assert exact_judge(prompt, answer) is Side.REVISED
    assert exact_judge(prompt.model_copy(update={"groups": {}}), answer) is None
