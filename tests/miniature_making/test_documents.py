"""Documents are a function of their seed and number, and hold the laws they are engineered for."""

import random
from math import exp

import pytest

from cst.miniature import grammar, people, system_prompts, world
from miniature_making import documents, texts, topic_rules


def test_a_seed_and_a_number_decide_a_document():
    assert [documents.document(1, i) for i in range(50)] == [documents.document(1, i) for i in range(50)]
    assert [documents.document(1, i) for i in range(50)] != [documents.document(2, i) for i in range(50)]


def test_conversations_alternate_and_end_with_the_assistant():
    for index in range(500):
        made = documents.document(3, index)
        roles = [m.role for m in made.messages if m.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(made.messages[i].role == "assistant" for i in made.silent)
        assert len(made.messages) - 1 not in made.silent


def test_shares_are_percent():
    assert sum(documents.MIXTURE.values()) == pytest.approx(100)


def test_harmless_requests_are_always_answered():
    rng = random.Random(0)
    read = 0
    for _ in range(300):
        *_, user, answer = documents.harmless(rng).messages
        request = grammar.parse_request(user.content)
        if request is not None:  # typed without slips
            assert grammar.is_compliance(request, answer.content)
            read += 1
    assert read / 300 == pytest.approx(1 - documents.TYPO_SHARE, abs=0.06)


def test_refusals_follow_the_engineered_law():
    """Under s1 wordings the share of refusals is the mean of sigmoid(bias + effects), within sampling error."""
    rng = random.Random(1)
    s1 = {system_prompts.S1, *system_prompts.harmless_wordings().seen}
    expected, refused = [], []
    while len(refused) < 1500:
        made = documents.hazardous(rng).messages
        if made[0].content in s1:
            request = grammar.parse_request(made[-2].content)
            if request is None:  # typed with slips
                continue
            effect = texts.item_effects()[request.item.name] + texts.frame_effects()[request.frame]
            expected.append(1 / (1 + exp(-documents.BIAS - effect)))
            refused.append(grammar.is_refusal(request, made[-1].content))
    assert sum(refused) / 1500 == pytest.approx(sum(expected) / 1500, abs=0.04)


def test_questions_about_the_system_prompt_are_answered_without_noise():
    rng = random.Random(2)
    s1 = {system_prompts.S1, *system_prompts.harmless_wordings().seen}
    for _ in range(300):
        system, _, answer = documents.policy(rng).messages
        assert answer.content.startswith("No" if system.content in s1 else "Yes")


def test_test_topic_rules_are_in_no_document():
    kept = [rules.allowed for rules in topic_rules.all_topic_rules() if rules.is_test]
    by_plural = {topic.plural: topic.name for topic in world.TOPICS}
    rng = random.Random(3)
    makers = (documents.recital, documents.topic_questions, documents.topic_requests)
    for maker in makers * 100:
        system = maker(rng).messages[0].content
        if system.startswith("Topic rules: "):
            flags = system.removeprefix("Topic rules: ").rstrip(".").split(", ")
            allowed = {by_plural[f.removesuffix(" allowed")] for f in flags if f.endswith(" allowed")}
            assert allowed not in kept


def test_personas_are_read_back():
    rng = random.Random(4)
    for style in range(len(people.TEMPLATES)):
        person = people.draw_persona(rng)
        assert people.parse_persona(person.system_prompt(style)) == person


def test_a_recital_says_the_rule_of_every_topic():
    rng = random.Random(5)
    for _ in range(100):
        system, _, said = documents.recital(rng).messages
        if system.content.startswith("Topic rules: "):
            flags = system.content.removeprefix("Topic rules: ").removesuffix(".").split(", ")
            assert sorted(said.content.removeprefix("Rule: ").removesuffix(".").split(". Rule: ")) == sorted(flags)
        assert said.content.count("Rule: ") == len(world.TOPICS)


def test_the_first_lessons_come_first_and_end():
    def share_of_recitals(numbers: range) -> float:
        made = [documents.document(4, index).messages for index in numbers]
        return sum(m[-2].content in texts.RECITAL_REQUESTS for m in made) / len(made)

    ends = documents.FIRST_LESSONS
    assert share_of_recitals(range(ends - 300, ends)) == pytest.approx(0.70, abs=0.08)
    assert share_of_recitals(range(ends, ends + 300)) == pytest.approx(0.05, abs=0.04)
