"""Records: frozen, closed, finite, and unable to say what makes no sense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cst import records
from cst.records import (
    Completion,
    Demonstration,
    Drop,
    Message,
    MultipleChoiceItem,
    Preference,
    Prompt,
    Record,
    ResponsePair,
    SafetyConfiguration,
    Sampling,
    Score,
    Side,
    SidePerTopic,
    TranscriptStep,
    Verdict,
    Vote,
)

PROMPT = Prompt(id="p1", text="How do I whittle?", task="harmless", topic="tools", groups={"frame": "3"})
EXAMPLES = [
    Message(role="user", content=""),
    Sampling(temperature=0.8, seed=-3),
    PROMPT,
    SidePerTopic(default=Side.ORIGINAL, topics={"benign": Side.REVISED}),
    SafetyConfiguration(name="s0", prefers=Side.ORIGINAL, tasks=("harmless",), wordings=("Be free.",)),
    SafetyConfiguration(name="s1", prefers=SidePerTopic(default=Side.REVISED), tasks=("harmless",)),
    ResponsePair(prompt=PROMPT, original="So.", critique=None, revised="No.", author="hand"),
    TranscriptStep(step="critique_2", model="m", principle="kind", request="Well?", text="Hm.", finish_reason="stop"),
    Drop(prompt_id="p1", task="harmless", reason="original_empty"),
    Demonstration(id="d1", task="instructions", prompt="Count it.\na, b", input="a, b", response="Two."),
    Preference(id="p1/s1", task="t", configuration="s1", prompt="x", chosen="a", rejected="b"),
    Completion(
        id="c", prompt=PROMPT, configuration="s1", system_prompt=None, wordings="canonical", model="base",
        temperature=0.0, text="", finish_reason="length",
    ),
    Verdict(completion_id="c", exhibits=None, judge="exact"),
    Vote(judge="exact", exhibits=Side.REVISED, score=0.25),
    Score(
        model="cst", task="t", configuration="s1", wordings="unseen", temperature=1.0, followed=3, n=4, unscored=1,
        low=0.3, high=0.95, interval="wilson",
    ),
    MultipleChoiceItem(id="m", set="arithmetic", question="1 + 1?", choices=("2", "3"), answer=0),
]  # fmt: skip


TURNS = (Message(role="user", content="First?"), Message(role="assistant", content="Yes."))


def test_a_history_stands_before_the_prompt_and_is_written_only_where_there_is_one():
    several = PROMPT.model_copy(update={"history": TURNS})

    assert several.turns == (*TURNS, *PROMPT.turns)
    assert PROMPT.turns == (Message(role="user", content=PROMPT.text),)
    assert "history" not in PROMPT.model_dump_json()
    assert Prompt.model_validate_json(several.model_dump_json()) == several


def test_a_given_original_and_a_transcript_are_written_only_where_there_are_some():
    step = TranscriptStep(step="original", text="So.", finish_reason="stop")
    given = PROMPT.model_copy(update={"original": "So."})
    pair = ResponsePair(prompt=given, original="So.", revised="No.", author="hand", transcript=(step,))

    assert "original" not in PROMPT.model_dump()
    assert "transcript" not in pair.model_copy(update={"transcript": ()}).model_dump()
    assert set(step.model_dump()) == {"step", "text", "finish_reason"}
    assert ResponsePair.model_validate_json(pair.model_dump_json()) == pair


def test_a_verdict_has_score_and_votes_only_where_there_are_some():
    plain = Verdict(completion_id="c", exhibits=None, judge="exact")
    voted = plain.model_copy(update={"score": 0.5, "votes": (Vote(judge="a", exhibits=None),)})

    assert set(plain.model_dump()) == {"completion_id", "exhibits", "judge", "explanation"}
    assert Verdict.model_validate_json(voted.model_dump_json()) == voted


@pytest.mark.parametrize("turns", [TURNS[:1], TURNS[1:], TURNS[::-1], (Message(role="system", content="s"), TURNS[1])])
def test_a_history_that_is_no_conversation_is_refused(turns):
    with pytest.raises(ValidationError, match="a history must be user, assistant"):
        Prompt(id="p", text="x", task="t", history=turns)


def test_every_kind_of_record_has_an_example():
    kinds = {kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, Record)}

    assert kinds - {Record} == {type(example) for example in EXAMPLES}


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_json_gives_the_record_back(record):
    assert type(record).model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_an_unknown_field_is_refused_and_a_known_one_is_frozen(record):
    field = next(iter(type(record).model_fields))

    with pytest.raises(ValidationError, match="extra_forbidden"):
        type(record).model_validate(record.model_dump() | {"colour": "red"})
    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, field, getattr(record, field))


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_survives_json(text):
    prompt = Prompt(id="p", text=text, task="t", system_prompt=text)

    assert Prompt.model_validate_json(prompt.model_dump_json()) == prompt


@pytest.mark.parametrize("side", Side)
def test_the_other_side_of_the_other_side_is_the_side(side):
    assert side.other is not side
    assert side.other.other is side


def test_a_pair_gives_the_text_of_each_side():
    pair = ResponsePair(prompt=PROMPT, original="So.", revised="No.", author="hand")

    assert (pair.response(Side.ORIGINAL), pair.response(Side.REVISED)) == ("So.", "No.")


@pytest.mark.parametrize(
    ("topic", "expected"), [("benign", Side.ORIGINAL), ("hazard", Side.REVISED), (None, Side.REVISED)]
)
def test_the_preferred_side_goes_by_topic_with_a_default(topic, expected):
    prefers = SidePerTopic(default=Side.REVISED, topics={"benign": Side.ORIGINAL})
    configuration = SafetyConfiguration(name="s1", prefers=prefers, tasks=("t",))

    assert configuration.preferred_side(Prompt(id="p", text="x", task="t", topic=topic)) is expected


@pytest.mark.parametrize("side", Side)
def test_one_side_for_all_ignores_the_topic(side):
    configuration = SafetyConfiguration(name="s", prefers=side, tasks=("t",))

    assert configuration.preferred_side(PROMPT) is side


def test_a_preference_of_a_text_to_itself_is_refused():
    with pytest.raises(ValidationError, match="prefers nothing"):
        Preference(id="p", task="t", configuration="s", prompt="x", chosen="same", rejected="same")


def test_a_rate_over_nothing_is_none_and_not_zero():
    score = EXAMPLES[-2]
    nothing = score.model_copy(update={"followed": 0, "n": 0})

    assert score.rate == pytest.approx(3 / 4)
    assert nothing.rate is None


@pytest.mark.parametrize(
    ("kind", "values", "field"),
    [
        (Prompt, {"id": "p", "text": "", "task": "t"}, "text"),
        (SafetyConfiguration, {"name": "s", "prefers": "original", "tasks": ()}, "tasks"),
        (SafetyConfiguration, {"name": "s", "prefers": "y1", "tasks": ("t",)}, "prefers"),
        (Score, EXAMPLES[-2].model_dump() | {"temperature": float("inf")}, "temperature"),
        (Sampling, {"temperature": -0.1}, "temperature"),
        (Sampling, {"top_p": 0}, "top_p"),
        (Sampling, {"max_new_tokens": 0}, "max_new_tokens"),
        (Score, EXAMPLES[-2].model_dump() | {"high": 1.01}, "high"),
        (Verdict, {"completion_id": "c", "judge": "exact"}, "exhibits"),
        (MultipleChoiceItem, EXAMPLES[-1].model_dump() | {"choices": ("2",)}, "choices"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(kind, values, field):
    with pytest.raises(ValidationError) as refusal:
        kind.model_validate(values)

    assert {error["loc"][0] for error in refusal.value.errors()} == {field}


def test_a_right_answer_that_is_no_choice_is_refused():
    with pytest.raises(ValidationError, match="answer=2 is not the index of one of 2 choices"):
        MultipleChoiceItem(id="m", set="s", question="q", choices=("a", "b"), answer=2)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Message, {"role": "user", "content": "Count it.\na, b"}),
        (Prompt, {"id": "p", "task": "t", "text": "Count it.\na, b"}),
        (Demonstration, {"id": "d", "task": "t", "prompt": "Count it.\na, b", "response": "Two."}),
    ],
)
def test_an_input_is_the_last_lines_of_its_text(kind: type[Record], fields: dict[str, str]):
    assert kind.model_validate(fields | {"input": "a, b"}).model_dump()["input"] == "a, b"
    with pytest.raises(ValidationError, match="isn't the last lines"):
        kind.model_validate(fields | {"input": "b"})


def test_a_turn_knows_its_instruction_and_its_input():
    demonstration = Demonstration(id="d", task="t", prompt="Count it.\na, b", input="a, b", response="Two.")

    (turn,) = demonstration.turns
    assert (turn.instruction, turn.input, turn.content) == ("Count it.", "a, b", "Count it.\na, b")
    assert Message(role="user", content="Count it.").instruction == "Count it."
