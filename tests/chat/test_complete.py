"""Answers come in the order of the questions, whichever came first; what fails passingly is asked again."""

import re
import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.chat.base import ChatReply, ChatRequest
from cst.chat.complete import complete
from cst.chat.pace import Pace
from cst.chat.scripted import ScriptedChat
from cst.errors import EndpointError
from cst.records import Message, Sampling

REQUESTS = [ChatRequest(id=f"r{number}", messages=(Message(role="user", content="x"),)) for number in range(10)]
SAMPLING = Sampling(max_new_tokens=50)
BUSY = EndpointError("busy", kind="server_error", status=503)
LIMITED = EndpointError("slower", kind="rate_limited", status=429)
REFUSED = EndpointError("wrong key", kind="key_refused", status=401, is_final=True)


class InThatOrder:
    """A chat model with a plan of the test's making; it says each request's id."""

    name = "planned"
    fingerprint = "planned"

    def __init__(self, plan: list[list[int]], pace: Pace | None = None) -> None:
        self._plan = plan
        self.pace = pace or Pace()

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        return self._plan

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        return [ChatReply(text=r.id, finish_reason="stop", prompt_tokens=1, completion_tokens=1) for r in unit]


def several(script, **pace) -> ScriptedChat:
    """A chat of which four calls may be in flight."""
    return ScriptedChat(script, batch_size=1, pace=Pace(4, first_wait_seconds=0.001, **pace))


def ask(chat, requests=REQUESTS) -> list[str]:
    return [reply.text for reply in complete(chat, requests, SAMPLING, description="ask")]


@given(order=st.permutations(range(len(REQUESTS))), size=st.integers(1, 10), most=st.sampled_from([1, 3]))
def test_replies_are_in_the_order_of_the_requests_whatever_the_plan(order, size, most):
    plan = [order[start : start + size] for start in range(0, len(order), size)]

    assert ask(InThatOrder(plan, Pace(most))) == [request.id for request in REQUESTS]


def test_replies_are_in_order_also_where_they_come_out_of_it():
    def script(request: ChatRequest) -> str:
        time.sleep(0.02 if request.id == "r0" else 0.001)
        return request.id

    assert ask(several(script)) == [request.id for request in REQUESTS]


def test_nothing_to_ask_is_nothing_asked():
    chat = ScriptedChat(lambda _: "yes")

    assert ask(chat, []) == []
    assert chat.asked == []


def test_a_reply_too_few_is_no_answer():
    class Forgetful(InThatOrder):
        def answer(self, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
            return super().answer(unit, sampling)[1:]

    with pytest.raises(ValueError, match="shorter"):
        ask(Forgetful([[0, 1]]), REQUESTS[:2])


def test_no_call_waits_for_the_slowest_of_those_beside_it():
    """A barrier between batches would end the four slow ones one after another."""
    others_ended = threading.Event()
    ended: list[str] = []

    def script(request: ChatRequest) -> str:
        if request.id == "r0":
            assert others_ended.wait(10)
        ended.append(request.id)
        if len(ended) == len(REQUESTS) - 1:
            others_ended.set()
        return request.id

    assert ask(several(script)) == [request.id for request in REQUESTS]
    assert ended[-1] == "r0"


def test_a_model_in_this_process_is_asked_in_this_thread():
    threads: set[int] = set()
    ask(ScriptedChat(lambda request: str(threads.add(threading.get_ident()) or request.id)))

    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("most", [1, 4])
def test_what_fails_passingly_is_asked_again_until_it_is_answered(most):
    asked: Counter[str] = Counter()

    def script(request: ChatRequest) -> str:
        asked[request.id] += 1
        if asked[request.id] <= int(request.id[1:]) % 3:
            raise BUSY
        return request.id

    chat = ScriptedChat(script, batch_size=1, pace=Pace(most, retries=2, first_wait_seconds=0.001))

    assert ask(chat) == [request.id for request in REQUESTS]
    assert asked == {request.id: 1 + int(request.id[1:]) % 3 for request in REQUESTS}


def test_patience_ends_and_says_why():
    asked: list[str] = []

    def script(request: ChatRequest) -> str:
        asked.append(request.id)
        raise BUSY

    with pytest.raises(EndpointError, match=r"after 4 calls in 0 s \(server_error 4\); the last, server_error: busy"):
        ask(several(script, retries=3), REQUESTS[:1])
    assert len(asked) == 4


def test_the_last_failure_is_told_with_the_kinds_and_the_time_of_those_before():
    failures = iter([BUSY, LIMITED, LIMITED, REFUSED])

    def script(request: ChatRequest) -> str:
        time.sleep(0.3)
        raise next(failures)

    with pytest.raises(EndpointError) as told:
        ask(several(script, retries=9), REQUESTS[:1])
    assert re.fullmatch(
        r"Given up after 4 calls in [1-9] s \(rate_limited 2, server_error 1, key_refused 1\); "
        "the last, key_refused: wrong key",
        str(told.value),
    )
    assert (told.value.kind, told.value.status, told.value.is_final) == ("key_refused", 401, True)


def test_what_is_refused_at_once_is_told_as_it_is():
    def script(request: ChatRequest) -> str:
        raise REFUSED

    with pytest.raises(EndpointError) as told:
        ask(several(script, retries=9))
    assert told.value is REFUSED


@pytest.mark.parametrize("most", [1, 4])
def test_calls_that_are_made_again_are_told_by_kind(most, capsys):
    failures = {"r1": [BUSY, LIMITED], "r2": [BUSY], "r7": [BUSY]}

    def script(request: ChatRequest) -> str:
        if failures.get(request.id):
            raise failures[request.id].pop(0)
        return request.id

    ask(ScriptedChat(script, batch_size=1, pace=Pace(most, retries=2, first_wait_seconds=0.001)))

    assert capsys.readouterr().err == "ask: 10/10 in 0 s, 4 retried: server_error 3, rate_limited 1\n"


@pytest.mark.parametrize("most", [1, 4])
def test_where_nothing_fails_nothing_is_told_of_it(most, capsys):
    ask(ScriptedChat(lambda request: request.id, batch_size=1, pace=Pace(most)))

    assert capsys.readouterr().err == "ask: 10/10 in 0 s\n"


@pytest.mark.parametrize(("limits", "allowed"), [(0, 8), (8, 4), (8 + 4, 2), (8 + 4 + 2, 1)])
def test_as_many_calls_are_in_hand_as_the_pace_allows(limits, allowed):
    pace, begun, seen, may_end = Pace(8), [], [], threading.Event()
    for _ in range(limits):
        pace.note(LIMITED)

    def script(request: ChatRequest) -> str:
        begun.append(request.id)
        assert may_end.wait(10)
        return request.id

    def look() -> None:
        seen.append(len(begun))
        may_end.set()

    threading.Timer(0.1, look).start()
    ask(ScriptedChat(script, batch_size=1, pace=pace))

    assert seen == [allowed]


def test_workers_that_wait_for_their_turn_ask_nothing_once_work_is_stopped():
    pace = Pace(50, retries=5)
    for _ in range(200):
        pace.note(LIMITED)
    begun: list[str] = []

    def script(request: ChatRequest) -> str:
        begun.append(request.id)
        time.sleep(0.05)
        raise REFUSED

    many = [request.model_copy(update={"id": f"r{number}"}) for number, request in enumerate(REQUESTS * 20)]
    with pytest.raises(EndpointError, match="wrong key"):
        ask(ScriptedChat(script, batch_size=1, pace=pace), many)

    assert begun == ["r0"]


@pytest.mark.parametrize(("most", "waits"), [(1, True), (4, False)])
def test_a_server_that_asks_for_time_gets_it_from_all_calls_only_where_they_are_made_one_at_a_time(most, waits):
    asked: dict[str, list[float]] = {}

    def script(request: ChatRequest) -> str:
        times = asked.setdefault(request.id, [])
        times.append(time.monotonic())
        if request.id == "r0" and len(times) == 1:
            raise EndpointError("later", kind="rate_limited", status=429, retry_after_seconds=0.3)
        return request.id

    ask(ScriptedChat(script, batch_size=1, pace=Pace(most, retries=1, first_wait_seconds=0.001)))

    first, again = asked["r0"]
    assert again - first >= 0.3
    assert (asked["r9"][0] - first >= 0.3) == waits


@pytest.mark.parametrize("failure", [REFUSED, KeyboardInterrupt()], ids=["final", "interrupt"])
def test_what_is_final_stops_new_calls_and_lets_those_in_hand_end(failure):
    begun: list[str] = []
    ended: list[str] = []
    two_are_in = threading.Barrier(2)

    def script(request: ChatRequest) -> str:
        begun.append(request.id)
        if request.id in ("r0", "r1"):
            two_are_in.wait(10)
        if request.id == "r0":
            raise failure
        time.sleep(0.05)
        ended.append(request.id)
        return request.id

    many = [request.model_copy(update={"id": f"r{number}"}) for number, request in enumerate(REQUESTS * 20)]
    with pytest.raises(type(failure)):
        ask(several(script, retries=5), many)

    assert len(begun) < 20
    assert sorted(ended) == sorted(set(begun) - {"r0"})


def test_an_error_that_is_no_failed_call_is_raised_as_it_is():
    def script(request: ChatRequest) -> str:
        raise ZeroDivisionError(request.id)

    with pytest.raises(ZeroDivisionError, match="r0"):
        ask(several(script, retries=5), REQUESTS[:1])
