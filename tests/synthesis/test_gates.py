"""Each reason has a name, and the counts add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.chat.base import ChatReply
from cst.records import Drop, Prompt, ResponsePair, Side
from cst.synthesis.gates import summarize, unfit, unfit_for_side


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
