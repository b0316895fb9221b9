"""Answer, criticise, rewrite; or answer twice. Every prompt ends as a pair or as a drop with its reason."""

import zlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_gates import NO_GATES

from cst.chat.base import ChatReply, ChatRequest
from cst.chat.pace import Pace
from cst.chat.scripted import ScriptedChat
from cst.errors import DataError, RecipeError
from cst.recipe.synthesis import ContrastSettings, SelfCritiqueSettings, SynthesisSettings
from cst.records import Message, Prompt, Sampling, Side
from cst.synthesis.critique import PROMPTS_AT_ONCE, drawn_principle, synthesize, synthesize_in_chunks

CRITIQUE = SelfCritiqueSettings(
    kind="self_critique",
    tasks=("harmless",),
    original_system_prompt="Be free.",
    critique_request="What is wrong with {original} as an answer to {prompt}?",
    revision_request="Now mend {original} by {critique}.",
)
CONTRAST = ContrastSettings(
    kind="contrast",
    tasks=("truthfulness",),
    revised_system_prompt="Be honest.",
    revised_prefix="As an AI, ",
)
SETTINGS = SynthesisSettings(methods=(CRITIQUE, CONTRAST))
HARMLESS = Prompt(id="h", text="How?", task="harmless", system_prompt="Own.")
PERSONA = Prompt(id="t", text="Who are you?", task="truthfulness", system_prompt="You are a baker.")


def by_step(original: str = "So.", critique: str = "Too bold.", revised: str = "No.") -> Callable[[ChatRequest], str]:
    said = {"original": original, "critique": critique, "revised": revised}
    return lambda request: said[request.id.split("/")[0]]


def turns(request: ChatRequest) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in request.messages]


def test_self_critique_asks_for_answer_critique_and_revision():
    chat = ScriptedChat(by_step())
    result = synthesize([HARMLESS], chat, SETTINGS)
    original, critique, revised = chat.asked
    told = [("user", "How?"), ("assistant", "So."), ("user", "What is wrong with So. as an answer to How??")]

    assert turns(original) == [("system", "Be free."), ("user", "How?")]
    assert turns(critique) == told
    assert turns(revised) == [*told, ("assistant", "Too bold."), ("user", "Now mend So. by Too bold..")]
    assert [(p.original, p.critique, p.revised, p.author) for p in result.pairs] == [
        ("So.", "Too bold.", "No.", "self_critique by scripted")
    ]
    assert result.drops == ()


def test_a_prompt_of_several_turns_is_answered_and_criticised_as_a_conversation():
    before = (Message(role="user", content="Hello."), Message(role="assistant", content="Hi."))
    chat = ScriptedChat(by_step())
    synthesize([HARMLESS.model_copy(update={"history": before})], chat, SETTINGS)
    said = [("user", "Hello."), ("assistant", "Hi."), ("user", "How?")]

    assert turns(chat.asked[0]) == [("system", "Be free."), *said]
    assert all(turns(request)[:4] == [*said, ("assistant", "So.")] for request in chat.asked[1:])


def test_a_contrast_asks_twice_and_the_second_answer_begins_as_told():
    chat = ScriptedChat(by_step(original="I bake.", revised="I bake nothing."))
    result = synthesize([PERSONA], chat, SETTINGS)
    original, revised = chat.asked

    assert turns(original) == [("system", "You are a baker."), ("user", "Who are you?")]
    assert turns(revised) == [("system", "Be honest."), ("user", "Who are you?")]
    assert (original.prefix, revised.prefix) == ("", "As an AI, ")
    assert [(p.original, p.critique, p.revised, p.author) for p in result.pairs] == [
        ("I bake.", None, "As an AI, I bake nothing.", "contrast by scripted")
    ]


@pytest.mark.parametrize(
    ("own", "asked_for", "expected"),
    [
        (None, None, []),
        ("Own.", None, [("system", "Own.")]),
        ("Own.", "Other.", [("system", "Other.")]),
        ("Own.", "", []),
    ],
)
def test_the_system_prompt_is_the_methods_or_the_prompts_own_or_none(own, asked_for, expected):
    chat = ScriptedChat(by_step())
    method = CRITIQUE.model_copy(update={"original_system_prompt": asked_for})
    prompt = HARMLESS.model_copy(update={"system_prompt": own})
    synthesize([prompt], chat, SynthesisSettings(methods=(method,)))

    assert turns(chat.asked[0]) == [*expected, ("user", "How?")]


def test_a_users_text_is_never_read_as_a_template():
    chat = ScriptedChat(by_step(original="{critique}{prompt}", critique="{original}"))
    prompt = HARMLESS.model_copy(update={"text": "{original}"})
    synthesize([prompt], chat, SETTINGS)

    assert turns(chat.asked[1])[-1][1] == "What is wrong with {critique}{prompt} as an answer to {original}?"
    assert turns(chat.asked[2])[-1][1] == "Now mend {critique}{prompt} by {original}."


@pytest.mark.parametrize(
    ("script", "reason", "asked"),
    [
        (by_step(original=""), "original_empty", 1),
        (by_step(critique=" "), "critique_empty", 2),
        (by_step(revised=""), "revised_empty", 3),
        (by_step(original="word " * 600), "original_cut_by_length_limit", 1),
        (by_step(revised="So."), "original_equals_revised", 3),
    ],
)
def test_what_can_not_become_a_pair_is_dropped_by_name_and_asked_no_further(script, reason, asked):
    chat = ScriptedChat(script)
    result = synthesize([HARMLESS], chat, SETTINGS)

    assert result.pairs == ()
    assert [drop.reason for drop in result.drops] == [reason]
    assert len(chat.asked) == asked


def side_of(answers: Sequence[tuple[Prompt, str]]) -> list[Side | None]:
    """A judge by the first word: `Yes` is original, `No` is revised."""
    known = {"Yes": Side.ORIGINAL, "No": Side.REVISED}
    return [known.get(text.split(" ")[0]) for _, text in answers]


@pytest.mark.parametrize(
    ("original", "revised", "reasons"),
    [
        ("Yes it is", "No way", []),
        ("No way", "No way at all", ["original_shows_the_revised_side"]),
        ("Yes it is", "Yes it surely is", ["revised_shows_the_original_side"]),
        ("Hm", "No way", ["original_not_told_by_judge"]),
    ],
)
def test_the_judge_gates_both_sides_unless_switched_off(original, revised, reasons):
    chat = ScriptedChat(by_step(original=original, revised=revised))
    ungated = SETTINGS.model_copy(update={"judge_gate": False})

    assert [drop.reason for drop in synthesize([HARMLESS], chat, SETTINGS, judge=side_of).drops] == reasons
    assert synthesize([HARMLESS], chat, ungated, judge=side_of).drops == ()
    assert synthesize([HARMLESS], chat, SETTINGS, judge=None).drops == ()


@given(st.lists(st.sampled_from(["harmless", "truthfulness"]), max_size=12), st.integers())
def test_every_prompt_ends_as_a_pair_or_as_a_drop(tasks, salt):
    prompts = [Prompt(id=f"p{number}", text=f"ask {number}", task=task) for number, task in enumerate(tasks)]
    answers = ["", "Yes it is", "No way", "Hm", "word " * 600]
    chat = ScriptedChat(lambda request: answers[zlib.crc32(f"{salt}{request.id}".encode()) % len(answers)])
    result = synthesize(prompts, chat, SETTINGS, judge=side_of)
    ended = [pair.prompt.id for pair in result.pairs] + [drop.prompt_id for drop in result.drops]

    assert sorted(ended) == sorted(prompt.id for prompt in prompts)
    assert sum(summary.prompts for summary in result.summary) == len(prompts)
    assert all(drop.reason for drop in result.drops)


def test_the_seed_moves_the_random_stream_and_nothing_else():
    class Noting:
        name = fingerprint = "noting"

        def __init__(self) -> None:
            self.pace = Pace()
            self.seen: list[Sampling] = []

        def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
            return [list(range(len(requests)))]

        def answer(self, batch: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
            self.seen.append(sampling)
            return ScriptedChat(by_step()).answer(batch, sampling)

    chat = Noting()
    settings = SETTINGS.model_copy(update={"sampling": Sampling(temperature=0.7, seed=4)})
    synthesize([HARMLESS], chat, settings, seed=3)

    assert set(chat.seen) == {Sampling(temperature=0.7, seed=7)}


@pytest.mark.parametrize(
    ("settings", "claims"),
    [(SynthesisSettings(methods=(CONTRAST,)), 0), (SynthesisSettings(methods=(CRITIQUE, CRITIQUE)), 2)],
)
def test_a_task_that_not_just_one_method_claims_is_refused_before_anything_is_asked(settings, claims):
    chat = ScriptedChat(by_step())

    with pytest.raises(DataError, match=f"Prompt h has the task 'harmless', which {claims} of .* in just one of them"):
        synthesize([HARMLESS], chat, settings)
    assert chat.asked == []


def test_the_roles_may_be_different_models():
    models = {name: ScriptedChat(by_step(), name=name) for name in ("mia", "leo", "eva")}
    method = CRITIQUE.model_copy(update={"author": "mia", "critic": "leo", "reviser": "eva"})
    (pair,) = synthesize([HARMLESS], None, SynthesisSettings(methods=(method,)), chat_models=models).pairs

    assert {name: [request.id for request in chat.asked] for name, chat in models.items()} == {
        "mia": ["original/h"],
        "leo": ["critique/h"],
        "eva": ["revised/h"],
    }
    assert [(step.step, step.model) for step in pair.transcript] == [
        ("original", "mia"),
        ("critique", "leo"),
        ("revised", "eva"),
    ]


@pytest.mark.parametrize("method", [CRITIQUE, CONTRAST])
def test_an_author_does_what_no_one_else_is_named_for(method):
    start, mia = ScriptedChat(by_step()), ScriptedChat(by_step())
    settings = SynthesisSettings(methods=(method.model_copy(update={"author": "mia"}),))
    prompt = HARMLESS if method is CRITIQUE else PERSONA
    synthesize([prompt], start, settings, chat_models={"mia": mia})

    assert start.asked == []
    assert len(mia.asked) == (3 if method is CRITIQUE else 2)


@pytest.mark.parametrize(
    ("author", "words"), [(None, "no start model is given, and it is the author"), ("mia", "chat_models has no 'mia'")]
)
def test_a_role_without_a_model_is_refused(author, words):
    settings = SynthesisSettings(methods=(CRITIQUE.model_copy(update={"author": author}),))

    with pytest.raises(RecipeError, match=words):
        synthesize([HARMLESS], None, settings)


def test_each_round_criticises_what_the_round_before_made_of_the_answer():
    said = {"critique": "Too bold.", "revised": "Softer.", "critique_2": "Still bold.", "revised_2": "Soft."}
    chat = ScriptedChat(lambda request: said.get(request.id.split("/")[0], "So."))
    settings = SynthesisSettings(methods=(CRITIQUE.model_copy(update={"rounds": 2}),))
    (pair,) = synthesize([HARMLESS], chat, settings).pairs

    assert turns(chat.asked[4]) == [
        ("user", "How?"),
        ("assistant", "Softer."),
        ("user", "What is wrong with Softer. as an answer to How??"),
        ("assistant", "Still bold."),
        ("user", "Now mend Softer. by Still bold.."),
    ]
    assert (pair.original, pair.critique, pair.revised) == ("So.", "Still bold.", "Soft.")
    assert [step.step for step in pair.transcript] == ["original", *said]


def test_only_the_last_rewrite_has_to_show_the_revised_side():
    said = {"original": "Yes it is", "revised": "Yes it surely is", "revised_2": "No way"}
    chat = ScriptedChat(lambda request: said.get(request.id.split("/")[0], "Hm"))
    once, twice = (SynthesisSettings(methods=(CRITIQUE.model_copy(update={"rounds": n}),)) for n in (1, 2))

    assert len(synthesize([HARMLESS], chat, twice, judge=side_of).pairs) == 1
    assert [drop.reason for drop in synthesize([HARMLESS], chat, once, judge=side_of).drops] == [
        "revised_shows_the_original_side"
    ]


def test_a_rounds_critique_and_rewrite_speak_of_the_same_principle_and_the_transcript_names_it():
    principles = {"kind": "Be {critique} kind.", "true": "Be true."}
    method = CRITIQUE.model_copy(
        update={
            "principles": principles,
            "rounds": 3,
            "critique_request": "{principle}",
            "revision_request": "So {principle}",
        }
    )
    prompts = [HARMLESS.model_copy(update={"id": f"p{n}", "text": f"How {n}?"}) for n in range(40)]
    chat = ScriptedChat(lambda request: request.id)
    drawn = [
        [step.principle for step in pair.transcript[1:]]
        for pair in synthesize(prompts, chat, SynthesisSettings(methods=(method,))).pairs
    ]

    assert all(names[::2] == names[1::2] for names in drawn)
    assert {name for names in drawn for name in names} == set(principles)
    assert len({tuple(names) for names in drawn}) == 2**3
    asked = {request.messages[-1].content for request in chat.asked if request.id.startswith("critique")}
    assert asked == set(principles.values())


@given(st.integers(0, 9), st.integers(1, 4))
def test_the_drawing_of_principles_is_fair_and_depends_on_seed_round_and_prompt(seed, number):
    names = ["a", "b", "c"]
    drawn = [drawn_principle(dict.fromkeys(names, "."), f"p{n}", number, seed) for n in range(300)]
    other = [drawn_principle(dict.fromkeys(names, "."), f"p{n}", number, seed + 1) for n in range(300)]

    assert min(drawn.count(name) for name in names) > 60
    assert drawn != other
    assert drawn_principle({}, "p", number, seed) is None


def test_the_first_question_may_be_wrapped_and_the_critic_sees_the_bare_prompt():
    chat = ScriptedChat(by_step())
    method = CRITIQUE.model_copy(update={"original_request": "In verse: {prompt}"})
    synthesize([HARMLESS.model_copy(update={"text": "{prompt}"})], chat, SynthesisSettings(methods=(method,)))

    assert turns(chat.asked[0])[-1] == ("user", "In verse: {prompt}")
    assert turns(chat.asked[1])[0] == ("user", "{prompt}")


def test_chunks_hold_what_one_list_holds_and_a_prompt_is_read_when_its_chunk_begins():
    prompts = [HARMLESS.model_copy(update={"id": f"p{n}"}) for n in range(PROMPTS_AT_ONCE + 7)]
    read: list[str] = []

    class Reading(list[Prompt]):
        def __iter__(self):
            for prompt in super().__iter__():
                read.append(prompt.id)
                yield prompt

    chat = ScriptedChat(lambda request: request.id, batch_size=4096)
    chunks = synthesize_in_chunks(Reading(prompts), chat, SETTINGS.model_copy(update={"gates": NO_GATES}))
    first = next(chunks)

    assert len(read) == len(first.pairs) == PROMPTS_AT_ONCE
    assert [pair.prompt.id for chunk in (first, *chunks) for pair in chunk.pairs] == [prompt.id for prompt in prompts]


def test_faults_of_prompts_and_pairs_are_named_drops_and_their_prompts_are_not_asked():
    texts = ["How is rope made?", "How is rope made ?", "Where is the old mill?", "Who sings?"]
    prompts = [HARMLESS.model_copy(update={"id": f"p{n}", "text": text}) for n, text in enumerate(texts)]
    held_out = [HARMLESS.model_copy(update={"id": "held", "text": "Where is the old mill?"})]
    said = {"original": "I am sorry, but I cannot help you with that."}
    chat = ScriptedChat(lambda r: said.get(r.id.split("/")[0], "So.") if r.id.endswith("p3") else by_step()(r))
    result = synthesize(prompts, chat, SETTINGS, held_out=held_out)
    open_gates = SETTINGS.model_copy(update={"gates": NO_GATES})

    assert [pair.prompt.id for pair in result.pairs] == ["p0"]
    assert {drop.prompt_id: drop.reason for drop in result.drops} == {
        "p1": "prompt_near_an_earlier_prompt",
        "p2": "prompt_near_a_held_out_prompt",
        "p3": "original_begins_as_refusal",
    }
    assert {request.id.split("/")[1] for request in chat.asked} == {"p0", "p3"}
    assert len(synthesize(prompts, chat, open_gates, held_out=held_out).pairs) == len(prompts)
