"""What is in the journal is never asked again, and every call is written down with what became of it."""

import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from cst.budget import Budget
from cst.chat.base import ChatModel, ChatReply, ChatRequest
from cst.chat.complete import complete
from cst.chat.costs import estimate
from cst.chat.journalled import Journalled
from cst.chat.pace import Pace
from cst.chat.scripted import ScriptedChat
from cst.errors import BudgetError, EndpointError, RunFolderError
from cst.journal import Journal
from cst.recipe.models import Prices
from cst.records import Message, Sampling

REQUESTS = [ChatRequest(id=f"r{number}", messages=(Message(role="user", content="x"),)) for number in range(10)]
SAMPLING = Sampling(max_new_tokens=50)
PRICES = Prices(prompt_per_million=1.0, completion_per_million=2.0)


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


def ask(chat: ChatModel, path: Path, requests: Sequence[ChatRequest] = REQUESTS, sampling: Sampling = SAMPLING):
    with Journal(path) as journal:
        return complete(Journalled(chat, journal), requests, sampling, description="ask")


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
        connection.execute("UPDATE calls SET answer = replace(answer, 'to r4', 'to r5')")

    with pytest.raises(RunFolderError, match="is damaged"):
        ask(willing(), path)


def test_calls_are_written_down_before_they_are_sent(tmp_path):
    seen: list[list[str]] = []
    with Journal(tmp_path / "journal.sqlite") as journal:
        chat = ScriptedChat(lambda _: str(seen.append([call.outcome for call in journal.calls()])), batch_size=2)
        complete(Journalled(chat, journal), REQUESTS[:4], SAMPLING, description="ask")

        assert seen == [["sent"], ["sent"], ["answered", "sent"], ["answered", "sent"]]
        assert [call.what for call in journal.calls()] == ["r0 and 1 more", "r2 and 1 more"]


def test_an_answers_tokens_and_cost_are_written_down(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        chat = Journalled(ScriptedChat(lambda _: "four words are here", batch_size=1), journal, prices=PRICES)
        complete(chat, REQUESTS[:1], SAMPLING, description="ask")
        (call,) = journal.calls()

        assert (call.prompt_tokens, call.completion_tokens, call.cost) == (1, 4, 1 * 1000 + 4 * 2000)
        assert journal.ledger.cost == call.cost
        assert call.seconds is not None


UNTOLD = ChatReply(text="x", finish_reason="stop", prompt_tokens=None, completion_tokens=None)


class Untold:
    """A chat model that doesn't count its tokens, or answers or fails as the test has it."""

    name = fingerprint = "untold"

    def __init__(self, outcome: EndpointError | ChatReply | None = None) -> None:
        self.pace = Pace()
        self._outcome = outcome or UNTOLD

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        return [[index] for index in range(len(requests))]

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        if isinstance(self._outcome, EndpointError):
            raise self._outcome
        return [self._outcome]


@pytest.mark.parametrize(
    ("failure", "outcome", "costs"),
    [
        (None, "answered", True),
        (EndpointError("", kind="timed_out", is_final=True), "timed_out", True),
        (EndpointError("", kind="key_refused", status=401, is_final=True, may_have_cost=False), "key_refused", False),
    ],
)
def test_what_may_have_cost_counts_with_the_most_it_may_cost(tmp_path, failure, outcome, costs):
    bound = round(estimate([REQUESTS[:1]], SAMPLING, PRICES).highest_cost * 1e9)
    with Journal(tmp_path / "journal.sqlite") as journal:
        chat = Journalled(Untold(failure), journal, prices=PRICES)
        try:
            complete(chat, REQUESTS[:1], SAMPLING, description="ask")
        except EndpointError as error:
            assert error is failure
        (call,) = journal.calls()

        assert (call.outcome, call.cost, call.status) == (outcome, costs * bound, failure.status if failure else None)
        assert journal.ledger.cost == call.cost


def test_a_plan_names_what_is_still_to_ask_and_asks_nothing(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        chat = Journalled(willing(), journal, prices=PRICES)
        complete(chat, REQUESTS[:4], SAMPLING, description="ask")
        before = journal.ledger.calls

        assert chat.new_calls(REQUESTS, SAMPLING) == [REQUESTS[4:8], REQUESTS[8:]]
        assert journal.ledger.calls == before


def test_a_budget_holds_over_reruns_and_a_greater_one_goes_on(tmp_path):
    path = tmp_path / "journal.sqlite"
    asked: list[list[str]] = []
    for most in (1, 1, 2):
        chat = willing()
        with Journal(path, budget=Budget(max_calls=most)) as journal, pytest.raises(BudgetError):
            complete(Journalled(chat, journal), REQUESTS, SAMPLING, description="ask")
        asked.append([request.id for request in chat.asked])

    assert asked == [["r0", "r1", "r2", "r3"], [], ["r4", "r5", "r6", "r7"]]


def test_one_request_asked_by_many_threads_at_once_is_one_call(tmp_path):
    chat = ScriptedChat(lambda request: str(threading.Event().wait(0.02)), batch_size=1, pace=Pace(8))
    replies = ask(chat, tmp_path / "journal.sqlite", [REQUESTS[0]] * 30)

    assert len(chat.asked) == 1
    assert len(set(replies)) == 1


def test_one_request_asked_by_many_threads_is_one_answer_also_where_the_first_call_failed(tmp_path):
    failures = [EndpointError("", kind="server_error")]

    def script(request: ChatRequest) -> str:
        threading.Event().wait(0.02)
        if failures:
            raise failures.pop()
        return "x"

    chat = ScriptedChat(script, batch_size=1, pace=Pace(8, retries=1, first_wait_seconds=0.001))
    replies = ask(chat, tmp_path / "journal.sqlite", [REQUESTS[0]] * 30)

    assert len(chat.asked) == 2
    assert len(set(replies)) == 1


def test_log_probs_are_in_the_journal(tmp_path):
    (request, *_), path = REQUESTS, tmp_path / "journal.sqlite"
    told = ChatReply(text="x", finish_reason="stop", prompt_tokens=1, completion_tokens=2, logprobs=(-0.5, -1.25))
    first, second = Untold(told), Untold(EndpointError("not to be asked", kind="server_error"))

    assert ask(first, path, [request]) == ask(second, path, [request]) == [told]


def test_it_bears_the_models_name_and_fingerprint(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        journalled = Journalled(willing("me"), journal)

        assert (journalled.name, journalled.fingerprint) == ("me", "scripted:me")
