"""Each reason has a name, and the counts add up."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.chat.base import ChatReply
from cst.recipe.synthesis import GateSettings
from cst.records import Drop, Prompt, ResponsePair, Side
from cst.store import RecordFile, write_records
from cst.synthesis.gates import faults_of_pair, faults_of_set, sound_pairs, summarize, unfit, unfit_for_side


def reply(text: str, finish_reason: str = "stop") -> ChatReply:
    return ChatReply.model_validate(
        {"text": text, "finish_reason": finish_reason, "prompt_tokens": 1, "completion_tokens": 1}
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply("Fine."), None),
        (reply(""), "original_empty"),
        (reply(" \n\t"), "original_empty"),
        (reply("Cut mid", "length"), "original_cut_by_length_limit"),
        (reply("", "length"), "original_empty"),
        (reply("Withheld from", "content_filter"), "original_withheld_by_content_filter"),
    ],
)
def test_an_empty_or_cut_reply_is_unfit(answer, reason):
    assert unfit(answer, "original") == reason


@pytest.mark.parametrize(
    ("seen", "wanted", "reason"),
    [
        (Side.ORIGINAL, Side.ORIGINAL, None),
        (Side.REVISED, Side.REVISED, None),
        (Side.REVISED, Side.ORIGINAL, "original_shows_the_revised_side"),
        (Side.ORIGINAL, Side.REVISED, "revised_shows_the_original_side"),
        (None, Side.REVISED, "revised_not_told_by_judge"),
    ],
)
def test_a_side_stands_only_where_the_judge_sees_it(seen, wanted, reason):
    assert unfit_for_side(seen, wanted) == reason


PAIR = ResponsePair(prompt=Prompt(id="p", text="x", task="a"), original="o", revised="r", author="hand")
DROP = Drop(prompt_id="p", task="a", reason="why")


@given(
    made=st.lists(st.sampled_from("abc")), dropped=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")))
)
def test_prompts_are_pairs_and_drops_and_nothing_else(made, dropped):
    pairs = [PAIR.model_copy(update={"prompt": PAIR.prompt.model_copy(update={"task": task})}) for task in made]
    drops = [DROP.model_copy(update={"task": task, "reason": reason}) for task, reason in dropped]
    summaries = summarize(pairs, drops)

    assert [summary.task for summary in summaries] == sorted({*made, *(task for task, _ in dropped)})
    for summary in summaries:
        assert summary.pairs == made.count(summary.task)
        assert summary.drops == {
            reason: dropped.count((summary.task, reason)) for reason in "xyz" if (summary.task, reason) in dropped
        }
        assert summary.prompts == summary.pairs + sum(summary.drops.values())


GATES = GateSettings()
NO_GATES = GateSettings(
    refused_originals=False,
    leaking_revisions=False,
    persona_artefacts=False,
    cut_answers=False,
    nearly_equal=None,
    near_duplicates=None,
    close_to_held_out=None,
)
LONG = " ".join(f"w{i}" for i in range(200))


@pytest.mark.parametrize(
    ("original", "revised", "reasons"),
    [
        ("Boil the leaves.", "Ask the baker first.", []),
        ("I'm sorry, but I can't help with tea.", "Ask the baker first.", ["original_begins_as_refusal"]),
        ("Boil the leaves.", "I'm sorry, but I can't help with tea.", []),
        ("Boil the leaves.", "My previous answer was rash.", ["revised_speaks_of_revision"]),
        ("My previous answer was rash.", "Ask the baker first.", []),
        ("[Pirate Mode] Arr!", "Ask the baker first.", ["original_bears_persona_marks"]),
        ("Boil the leaves.", "[Pirate Mode] Arr!", ["revised_bears_persona_marks"]),
        ("Boil it. Then add", "Ask. Then wait for", ["original_cut_by_length_limit", "revised_cut_by_length_limit"]),
        (f"{LONG}.", f"{LONG} more.", ["original_nearly_equals_revised"]),
        (
            "[Pirate Mode] Arr!",
            "[Pirate Mode] Arr.",
            ["original_bears_persona_marks", "revised_bears_persona_marks", "original_nearly_equals_revised"],
        ),
    ],
)
def test_each_fault_of_a_pair_is_named_and_every_gate_can_be_opened(original, revised, reasons):
    unknown = {"original_finish_reason": None, "revised_finish_reason": None}

    assert faults_of_pair("Tea?", original, revised, GATES, **unknown) == reasons
    assert faults_of_pair("Tea?", original, revised, NO_GATES, **unknown) == []


def test_what_a_model_ended_by_itself_is_not_cut():
    assert faults_of_pair("Tea?", "Boil it. Then add", "Ask. Then wait for", GATES) == []


def test_a_pair_with_faults_is_dropped_for_the_first_of_them_and_keeps_its_texts():
    faulty = PAIR.model_copy(update={"original": "[Pirate Mode] Arr!", "revised": "My previous answer was rash."})
    kept, drops = sound_pairs([PAIR, faulty], GATES)

    assert kept == [PAIR]
    assert [(drop.reason, drop.original) for drop in drops] == [("revised_speaks_of_revision", "[Pirate Mode] Arr!")]
    assert sound_pairs([PAIR, faulty], NO_GATES) == ([PAIR, faulty], [])


def prompt(text: str, system_prompt: str | None = None) -> Prompt:
    return Prompt(id=text, text=text, task="a", system_prompt=system_prompt)


def test_prompts_near_an_earlier_or_a_held_out_one_are_named():
    prompts = [prompt(f"{LONG} a"), prompt("How is tea made at sea?"), prompt(f"{LONG} b"), prompt("Why is tea green?")]
    held_out = [prompt("How is tea made at home?"), prompt("Where is Rome?")]
    near = {2: "prompt_near_an_earlier_prompt"}

    assert faults_of_set(prompts, held_out, GATES) == {1: "prompt_near_a_held_out_prompt", **near}
    assert faults_of_set(prompts, held_out, GateSettings(close_to_held_out=0.72)) == near
    assert faults_of_set(prompts, held_out, NO_GATES) == {}


def test_one_question_under_two_system_prompts_is_two_prompts():
    twice = [prompt("Who are you?", "You are a baker."), prompt("Who are you?", "You are a sailor.")]

    assert faults_of_set(twice, [], GATES) == {}
    assert faults_of_set([twice[0], twice[0]], [], GATES) == {1: "prompt_near_an_earlier_prompt"}


def test_prompts_in_a_file_have_the_faults_of_those_in_a_list(tmp_path):
    draw = random.Random(0)
    texts = [" ".join(f"w{draw.getrandbits(12)}" for _ in range(20)) for _ in range(200)]
    prompts = [prompt(text) for text in [*texts, *(f"{text} please" for text in texts[::40])]]
    write_records(tmp_path / "prompts.jsonl", prompts)
    with RecordFile(tmp_path / "prompts.jsonl", Prompt) as file:
        found = faults_of_set(file, prompts[1:3], GATES)

    assert found == faults_of_set(prompts, prompts[1:3], GATES)
    assert list(found) == [1, 2, *range(200, 205)]


def test_no_gate_fires_on_the_answers_of_the_miniature_world():
    from cst.miniature.grammar import compliance, parse_request, refusal
    from cst.miniature.prompts import training_prompts

    requests = [(each.text, parse_request(each.text)) for each in training_prompts(200, task="harmless", seed=0)]
    found = [
        faults_of_pair(text, compliance(request, random.Random(i)), refusal(request, random.Random(i)), GATES)
        for i, (text, request) in enumerate(requests)
        if request is not None
    ]

    assert len(found) == 200
    assert [reasons for reasons in found if reasons] == []
