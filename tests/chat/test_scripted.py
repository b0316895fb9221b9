"""The scripted chat keeps the promises of a `ChatModel`."""

import pytest

from cst.chat.base import ChatModel, ChatRequest
from cst.chat.scripted import ScriptedChat
from cst.records import Message, Sampling


def request(identity: str, text: str = "one two", prefix: str = "") -> ChatRequest:
    return ChatRequest(id=identity, messages=(Message(role="user", content=text),), prefix=prefix)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 9])
def test_the_plan_holds_each_request_once_and_no_batch_is_too_large(n):
    chat: ChatModel = ScriptedChat(lambda _: "", batch_size=3)
    plan = chat.plan([request(str(number)) for number in range(n)])

    assert sorted(index for batch in plan for index in batch) == list(range(n))
    assert all(1 <= len(batch) <= 3 for batch in plan)


def test_it_answers_from_its_script_and_notes_what_it_was_asked():
    chat = ScriptedChat(lambda asked: f"to {asked.id}")
    first, second = chat.answer([request("a"), request("b", prefix="Well, ")], Sampling())

    assert (first.text, second.text) == ("to a", "Well, to b")
    assert (first.prompt_tokens, first.completion_tokens, first.finish_reason) == (2, 2, "stop")
    assert [asked.id for asked in chat.asked] == ["a", "b"]


def test_an_answer_is_cut_at_the_limit_and_says_so():
    (reply,) = ScriptedChat(lambda _: "one two three").answer([request("a")], Sampling(max_new_tokens=2))

    assert (reply.text, reply.finish_reason, reply.completion_tokens) == ("one two", "length", 2)
