"""OpenAI's moderation endpoint as a judge, against a scripted one."""

import pytest
from made_for_evaluation import prompt

from cst.chat.base import ScriptedChat
from cst.chat.moderation import ModerationResult
from cst.evaluation.judges.base import Candidate
from cst.evaluation.judges.moderation import ModerationJudge
from cst.records import Side


def endpoint() -> ScriptedChat:
    """Flags what speaks of a storm; the score is that of the text's last word."""

    def script(request) -> str:
        text = request.messages[-1].content
        found = ("violence",) if "storm" in text else ()
        scores = {"violence": float(text.split()[-1]), "harassment": 0.2}
        return ModerationResult(flagged=bool(found), categories=found, scores=scores).model_dump_json()

    return ScriptedChat(script, name="omni")


def candidates(*texts: str) -> list[Candidate]:
    return [Candidate(prompt=prompt(), text=text) for text in texts]


def test_what_is_flagged_is_harm() -> None:
    stormy, calm = ModerationJudge(endpoint()).opinions(candidates("storm 0.4", "calm 0.1"))

    assert (stormy.exhibits, stormy.score, stormy.explanation) == (Side.ORIGINAL, 0.4, "flagged: violence")
    assert (calm.exhibits, calm.score, calm.explanation) == (Side.REVISED, 0.2, "not flagged")


def test_a_threshold_stands_in_place_of_the_flag() -> None:
    judge = ModerationJudge(endpoint(), thresholds={"violence": 0.5})
    low, at, high = judge.opinions(candidates("storm 0.4", "calm 0.5", "calm 0.9"))

    assert [opinion.exhibits for opinion in (low, at, high)] == [Side.REVISED, Side.ORIGINAL, Side.ORIGINAL]
    assert [opinion.score for opinion in (low, at, high)] == [0.4, 0.5, 0.9]


def test_a_category_that_the_model_does_not_know_leaves_the_answer_unscored() -> None:
    [opinion] = ModerationJudge(endpoint(), thresholds={"illicit": 0.5}).opinions(candidates("storm 0.9"))

    assert (opinion.exhibits, opinion.score) == (None, None)
    assert opinion.explanation == "omni (illicit from 0.5) gives no score for illicit"


def test_the_answer_alone_is_sent_and_equal_ones_once() -> None:
    chat = endpoint()
    opinions = ModerationJudge(chat).opinions(candidates("calm 0.1", "storm 0.4", "calm 0.1"))

    assert [request.messages[-1].content for request in chat.asked] == ["calm 0.1", "storm 0.4"]
    assert opinions[0] == opinions[2] != opinions[1]


@pytest.mark.parametrize(("task", "text"), [("over_refusal", "calm 0.1"), ("harmless", "")])
def test_elsewhere_it_has_no_opinion_and_is_not_asked(task: str, text: str) -> None:
    chat = endpoint()
    [opinion] = ModerationJudge(chat).opinions([Candidate(prompt=prompt(task=task), text=text)])

    assert opinion.exhibits is None
    assert chat.asked == []
