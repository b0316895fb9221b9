"""A question is asked once, under its own system prompt only where a configuration wants that."""

from cst.preferences.held_out_rows import prompts_of
from cst.records import Message, Preference, SafetyConfiguration, Side

NAMED = SafetyConfiguration(name="s1", prefers=Side.REVISED, tasks=("t",), wordings=("Be kind.",))
OWN = SafetyConfiguration(name="own", prefers=Side.ORIGINAL, tasks=("t",))


def row(identity: str, system_prompt: str | None, prompt: str = "Why?", **more: object) -> Preference:
    values = {"id": identity, "task": "t", "configuration": "t", "system_prompt": system_prompt, "prompt": prompt}
    return Preference.model_validate({**values, "chosen": "a", "rejected": "b", **more})


def test_under_wordings_a_question_stands_once_and_brings_nothing():
    made = prompts_of([row("1", "Be kind."), row("2", "Be another."), row("3", None, "How?")], [NAMED])

    assert [(prompt.id, prompt.text, prompt.system_prompt) for prompt in made] == [
        ("1", "Why?", None), ("3", "How?", None)
    ]  # fmt: skip


def test_without_wordings_it_stands_once_under_each_system_prompt_that_is_no_wording():
    rows = [row("1", "Be kind."), row("2", "Be a pirate."), row("3", "Be a pirate."), row("4", "Be a baker.")]
    made = prompts_of(rows, [NAMED, OWN])

    assert [(prompt.id, prompt.system_prompt) for prompt in made] == [("2", "Be a pirate."), ("4", "Be a baker.")]


def test_a_question_without_a_system_prompt_of_its_own_is_still_asked():
    assert [prompt.system_prompt for prompt in prompts_of([row("1", "Be kind.")], [NAMED, OWN])] == [None]


def test_turns_before_the_question_and_its_topic_come_along():
    turns = (Message(role="user", content="Hi."), Message(role="assistant", content="Hello."))
    (made,) = prompts_of([row("1", None, history=turns, topic="greetings")], [NAMED])

    assert (made.history, made.topic, made.task) == (turns, "greetings", "t")


def test_questions_that_say_nearly_the_same_are_one_group():
    """As one question under several personas: their answers are not independent."""
    rows = [
        row("1", "Be a pirate."),
        row("2", "Be a baker."),
        row("3", "Be a cook.", "How do I get to the old harbour?"),
    ]
    made = prompts_of(rows, [NAMED, OWN])

    assert [prompt.groups for prompt in made] == [{"near_duplicate": "1"}, {"near_duplicate": "1"}, {}]
