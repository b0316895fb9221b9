import math

import pytest
from made_for_evaluation import prompt

from cst.chat.base import ChatReply
from cst.errors import ModelError
from cst.evaluation.judges.base import Candidate
from cst.evaluation.judges.questions import Question, question
from cst.evaluation.judges.replies import likeliest_verdict, written_verdict
from cst.evaluation.judges.rubric import Rubric
from cst.records import Side

LABELS = {"[[0]]": Side.ORIGINAL, "[[1]]": Side.REVISED, "[[?]]": None}
PLAIN = Rubric(name="plain", template="{answer}", labels=LABELS)
WORDS = Rubric(name="words", template="{answer}", labels={"Yes": Side.REVISED, "No": Side.ORIGINAL})
FRAMED = Rubric(name="framed", template="{nonce} {answer}", labels=LABELS)


def ask(rubric: Rubric) -> Question:
    return question(rubric, Candidate(prompt=prompt(), text="So."), seed=0)


def reply(text: str, **fields: object) -> ChatReply:
    values = {"finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1, **fields}
    return ChatReply.model_validate({"text": text, **values})


def read(rubric: Rubric, text: str, **fields: object) -> tuple[Side | None, str]:
    asked = ask(rubric)
    vote = written_verdict(asked, reply(text.replace("NONCE", asked.nonce), **fields))
    return vote.exhibits, vote.explanation


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("Rating: [[1]]", Side.REVISED),
        ("[[1]] was my first thought, but no: [[0]].", Side.ORIGINAL),
        ("[[0]]\n[[2]]", Side.ORIGINAL),
        ("It could be [[0]] or [[1]]. I can't tell: [[?]]", None),
        ("**[[1]]**", Side.REVISED),
    ],
)
def test_the_last_verdict_among_those_offered_counts(text, side):
    assert read(PLAIN, text)[0] is side


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("No\nYes", Side.REVISED),
        ("It is so.\n\n**No.**\n", Side.ORIGINAL),
        ("Yes, it is.", None),
        ("Yesterday", None),
    ],
)
def test_a_word_is_a_verdict_on_a_line_of_its_own(text, side):
    assert read(WORDS, text)[0] is side


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("So.\nVERDICT NONCE: [[1]]", Side.REVISED),
        ("**VERDICT NONCE:** [[1]]", Side.REVISED),
        ("VERDICT NONCE: [[1]]\nOn second thoughts:\nVERDICT NONCE: [[0]]", Side.ORIGINAL),
        ("VERDICT NONCE: [[1]]\nIt says VERDICT 00000000: [[0]] and [[0]].", Side.REVISED),
        ("VERDICT 00000000: [[1]]", None),
        ("[[1]]", None),
        ("VERDICT NONCE is what I shall write, perhaps [[1]]", None),
        ("VERDICT NONCE: [[1]][[0]]", Side.REVISED),
        ("VERDICT NONCE: 1", None),
    ],
)
def test_with_a_nonce_only_what_follows_it_is_a_verdict(text, side):
    assert read(FRAMED, text)[0] is side


@pytest.mark.parametrize(
    ("text", "fields", "why"),
    [
        ("[[1]] and so", {"finish_reason": "length"}, "cut by the token limit; raise judge.max_new_tokens"),
        ("", {"finish_reason": "content_filter"}, "withheld by the server's content filter"),
        ("", {}, "no verdict in the form asked for; the reply ends ''"),
        ("I'm sorry, but I can't assist with that.", {}, "the judge refused: \"I'm sorry"),
        ("x" * 1000 + " It is fine.", {}, "xx It is fine.'"),
    ],
)
def test_anything_else_is_unscored_with_its_reason(text, fields, why):
    side, explanation = read(PLAIN, text, **fields)
    assert side is None
    assert why in explanation
    assert len(explanation) < 250


def test_a_label_that_names_no_side_explains_itself():
    assert read(PLAIN, "[[?]]") == (None, "says [[?]]")


def of_probabilities(*shares: float) -> ChatReply:
    return reply("[[0]]", logprobs=tuple(math.log(share) - 7 for share in shares))


def test_likelihoods_are_shares_among_the_labels_and_the_score_is_the_revised_sides():
    vote = likeliest_verdict(ask(PLAIN), of_probabilities(0.03, 0.06, 0.01), margin=0.0)
    assert (vote.exhibits, vote.score) == (Side.REVISED, pytest.approx(0.6))
    assert vote.explanation == "p(original) = 0.300, p(revised) = 0.600"


def test_labels_of_one_side_are_summed():
    rubric = Rubric(
        name="ten", template="{answer}", labels={"a)": Side.ORIGINAL, "b)": Side.REVISED, "c)": Side.REVISED}
    )
    vote = likeliest_verdict(ask(rubric), of_probabilities(0.4, 0.3, 0.3), margin=0.0)
    assert (vote.exhibits, vote.score) == (Side.REVISED, pytest.approx(0.6))


@pytest.mark.parametrize(
    ("shares", "margin"), [((0.2, 0.3, 0.5), 0.0), ((0.45, 0.55, 1e-9), 0.11), ((0.5, 0.5, 1e-9), 0.0)]
)
def test_close_calls_and_neither_are_unscored(shares, margin):
    vote = likeliest_verdict(ask(PLAIN), of_probabilities(*shares), margin=margin)
    assert (vote.exhibits, vote.score) == (None, pytest.approx(shares[1]))


@pytest.mark.parametrize("logprobs", [None, (-1.0,)])
def test_a_reply_without_likelihoods_is_no_reading(logprobs):
    with pytest.raises(ModelError, match="no log-prob of each of the labels"):
        likeliest_verdict(ask(PLAIN), reply("[[0]]", logprobs=logprobs), margin=0.0)
