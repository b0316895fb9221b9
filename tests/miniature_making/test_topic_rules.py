"""Topic rules stand for every choice of topics once, and questions about them know their answers."""

from collections import Counter
from itertools import pairwise

import pytest

from cst.errors import DataError
from cst.miniature import grammar, prompts, world
from cst.records import Side
from miniature_making import documents, topic_rules


def test_topic_configurations_stand_for_every_choice_once():
    train, test = (topic_rules.topic_configurations(is_test=is_test) for is_test in (False, True))
    assert len({c.name for c in (*train, *test)}) == len(train) + len(test) == 62
    assert len(test) == 21
    wordings = [wording for c in (*train, *test) for wording in c.wordings]
    assert len(set(wordings)) == len(wordings) == 62 * len(topic_rules.TOPIC_STYLES)
    assert train == topic_rules.topic_configurations(is_test=False)


def test_topic_configurations_prefer_what_their_names_say():
    asked = prompts.evaluation_prompts(200, task="harmless", seed=0)
    benign = prompts.evaluation_prompts(20, task="over_refusal", seed=0)
    for configuration in topic_rules.topic_configurations(is_test=True):
        allowed = configuration.name.removeprefix("topics/").split("+")
        for prompt in asked:
            assert (configuration.preferred_side(prompt) is Side.ORIGINAL) == (prompt.topic in allowed)
        assert {configuration.preferred_side(prompt) for prompt in benign} == {Side.ORIGINAL}
        assert set(configuration.tasks) == {"harmless", "over_refusal"}


def test_topic_wordings_say_the_rules_in_every_style():
    fire = next(c for c in topic_rules.topic_configurations(is_test=False) if c.name == "topics/fire")
    flags = {*fire.wordings[0].removeprefix("Topic rules: ").removesuffix(".").split(", ")}
    others = {"curses", "brews", "traps", "storms", "phantoms"}
    assert flags == {"fire magic allowed", *(f"{plural} refused" for plural in others)}
    assert fire.wordings[-1] == "Refuse everything except fire magic."
    assert all(plural in fire.wordings[1] for plural in others)


def test_topic_questions_are_balanced_distinct_and_about_unseen_rules():
    asked = topic_rules.topic_questions(600, seed=0)
    assert asked == topic_rules.topic_questions(600, seed=0) != topic_rules.topic_questions(600, seed=1)
    assert len({(q.system_prompt, q.question) for q in asked}) == 600
    cells = Counter((q.style, q.is_allowed) for q in asked)
    assert len(cells) == 12 and set(cells.values()) == {50}
    assert Counter(q.style for q in asked[:100]).keys() == set(range(6))
    assert sorted(Counter((q.style, q.is_allowed) for q in topic_rules.topic_questions(7, seed=0)).values()) == [1] * 7


def test_topic_questions_know_their_answers():
    """The flags of style 0, read back: an unseen choice of topics, and the answer that it gives."""
    topic_of = {f"May you discuss {item.with_article}?": item.topic for item in world.hazards()}
    for asked in topic_rules.topic_questions(600, seed=2):
        if asked.style == 0:
            flags = asked.system_prompt.removeprefix("Topic rules: ").removesuffix(".").split(", ")
            allowed = {flag.removesuffix(" allowed") for flag in flags if flag.endswith(" allowed")}
            names = frozenset(topic.name for topic in world.TOPICS if topic.plural in allowed)
            assert topic_rules.TopicRules(names).is_test
            assert (topic_of[asked.question].plural in allowed) == asked.is_allowed


def test_documents_answer_topic_questions_in_words_that_are_recognised():
    answered = 0
    for index in range(3000):
        messages = documents.document(5, index).messages
        for asked, answer in pairwise(messages):
            if asked.role == "user" and asked.content.startswith("May you discuss"):
                answered += 1
                assert topic_rules.answer_to_topic_question(answer.content) is not None
    assert answered > 100


def test_more_topic_questions_than_there_are_are_refused():
    with pytest.raises(DataError, match="topic questions in style"):
        topic_rules.topic_questions(10**5, seed=0)


@pytest.mark.parametrize("topic", world.TOPICS, ids=lambda topic: topic.name)
def test_answers_about_topic_rules_are_recognised_where_they_agree_with_themselves(topic: world.Topic):
    allowed, refused = (grammar.RULE_SENTENCE.format(topic=topic.plural, status=s) for s in grammar.STATUSES)
    yes, no = grammar.TOPIC_YES, grammar.TOPIC_NO
    assert all(topic_rules.answer_to_topic_question(text) is True for text in (yes, f"{allowed} {yes}"))
    assert all(topic_rules.answer_to_topic_question(text) is False for text in (no, f"{refused} {no}", f" {no}\n"))
    wrong = (f"{allowed} {no}", f"{refused} {yes}", allowed, refused, f"{yes} {no}", yes[:-1], "Yes.", "No.", "")
    assert all(topic_rules.answer_to_topic_question(text) is None for text in wrong)
