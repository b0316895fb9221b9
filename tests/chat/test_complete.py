"""Answers come in the order of the questions, and what is in the journal is never asked again."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.chat.base import ChatReply, ChatRequest, Sampling
from cst.chat.complete import Journalled, complete
from cst.chat.scripted import ScriptedChat
from cst.errors import RunFolderError
from cst.records import Message
from cst.store import Journal

REQUESTS = [ChatRequest(id=f"r{number}", messages=(Message(role="user", content="x"),)) for number in range(10)]
SAMPLING = Sampling(max_new_tokens=50)


class InThatOrder:
    """A chat model with a plan of the test's making; it says each request's id."""

    name = "planned"
    fingerprint = "planned"

    def __init__(self, plan: list[list[int]]) -> None:
        self._plan = plan

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        return self._plan

    def answer(self, batch: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        return [ChatReply(text=r.id, finish_reason="stop", prompt_tokens=1, completion_tokens=1) for r in batch]


class KilledError(Exception):
    """Stands for the death of the process."""


def dying_after(n: int) -> ScriptedChat:
    asked: list[str] = []

    def script(request: ChatRequest) -> str:
        if len(asked) == n:
            raise KilledError
        asked.append(request.id)
        return f"to {request.id}"

    return ScriptedChat(script)


def willing(name: str = "scripted") -> ScriptedChat:
    return ScriptedChat(lambda request: f"to {request.id}", name=name)


def ask(chat: ScriptedChat, path: Path, requests: Sequence[ChatRequest] = REQUESTS, sampling: Sampling = SAMPLING):
    with Journal(path) as journal:
        return complete(Journalled(chat, journal), requests, sampling, description="ask")


@given(order=st.permutations(range(len(REQUESTS))), size=st.integers(1, 10))
def test_replies_are_in_the_order_of_the_requests_whatever_the_plan(order, size):
    plan = [order[start : start + size] for start in range(0, len(order), size)]
    replies = complete(InThatOrder(plan), REQUESTS, SAMPLING, description="ask")

    assert [reply.text for reply in replies] == [request.id for request in REQUESTS]


def test_nothing_to_ask_is_nothing_asked():
    chat = willing()

    assert complete(chat, [], SAMPLING, description="ask") == []
    assert chat.asked == []


def test_a_reply_too_few_is_no_answer():
    class Forgetful(InThatOrder):
        def answer(self, batch: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
            return super().answer(batch, sampling)[1:]

    with pytest.raises(ValueError, match="shorter"):
        complete(Forgetful([[0, 1]]), REQUESTS[:2], SAMPLING, description="ask")


def test_a_second_run_asks_nothing_and_says_the_same(tmp_path):
    first, second = willing(), willing()
    replies = ask(first, tmp_path / "journal.sqlite")

    assert ask(second, tmp_path / "journal.sqlite") == replies
    assert replies == complete(willing(), REQUESTS, SAMPLING, description="ask")
    assert len(first.asked) == len(REQUESTS)
    assert second.asked == []


@pytest.mark.parametrize("deaths", [0, 1, 4, 7, 8, 9])
def test_killed_between_or_within_batches_no_whole_batch_is_asked_twice(tmp_path, deaths):
    path = tmp_path / "journal.sqlite"
    dying, after = dying_after(deaths), willing()
    with pytest.raises(KilledError):
        ask(dying, path)
    replies = ask(after, path)

    whole_batches = deaths // 4 * 4
    assert [request.id for request in after.asked] == [request.id for request in REQUESTS[whole_batches:]]
    assert replies == complete(willing(), REQUESTS, SAMPLING, description="ask")


@pytest.mark.parametrize(
    ("chat", "requests", "sampling"),
    [
        (willing("another"), REQUESTS, SAMPLING),
        (willing(), REQUESTS, SAMPLING.model_copy(update={"seed": 1})),
        (willing(), REQUESTS, SAMPLING.model_copy(update={"temperature": 0.5})),
        (willing(), [request.model_copy(update={"prefix": "So"}) for request in REQUESTS], SAMPLING),
        (willing(), [request.model_copy(update={"id": f"other {request.id}"}) for request in REQUESTS], SAMPLING),
        (willing(), REQUESTS[::-1], SAMPLING),
    ],
    ids=["model", "seed", "temperature", "prefix", "ids", "order"],
)
def test_another_question_is_asked_anew(tmp_path, chat, requests, sampling):
    ask(willing(), tmp_path / "journal.sqlite")
    ask(chat, tmp_path / "journal.sqlite", requests, sampling)

    assert len(chat.asked) == len(REQUESTS)


def test_only_the_batch_that_changed_is_asked_anew(tmp_path):
    changed = [*REQUESTS[:9], REQUESTS[9].model_copy(update={"prefix": "So"})]
    ask(willing(), tmp_path / "journal.sqlite")
    again = willing()
    ask(again, tmp_path / "journal.sqlite", changed)

    assert [request.id for request in again.asked] == ["r8", "r9"]


def test_an_answer_that_was_tampered_with_is_refused(tmp_path):
    path = tmp_path / "journal.sqlite"
    ask(willing(), path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE answers SET value = replace(value, 'to r4', 'to r5')")

    with pytest.raises(RunFolderError, match="is damaged"):
        ask(willing(), path)


def test_it_bears_the_models_name_and_fingerprint(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        journalled = Journalled(willing("me"), journal)

        assert (journalled.name, journalled.fingerprint) == ("me", "scripted:me")
