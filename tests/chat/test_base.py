"""The seam's promises: seeds that any server can be sent, a pace within its bounds, and a scripted model."""

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cst.chat.base import LONGEST_RETRY_AFTER_SECONDS, ChatModel, ChatRequest, Pace, ScriptedChat, request_seed
from cst.errors import EndpointError
from cst.models.decoding import uniform_stream
from cst.records import Message, Sampling


def request(identity: str, seed: int | None = None, *, text: str = "one two", prefix: str = "") -> ChatRequest:
    return ChatRequest(id=identity, messages=(Message(role="user", content=text),), prefix=prefix, seed=seed)


@given(seed=st.integers(-(2**40), 2**40), identity=st.text(min_size=1))
def test_a_seed_is_a_signed_number_of_64_bits(seed, identity):
    drawn = request_seed(request(identity), Sampling(seed=seed))

    assert -(2**63) <= drawn < 2**63
    assert drawn == request_seed(request(identity), Sampling(seed=seed))


def test_seeds_and_ids_name_different_streams():
    pairs = [(seed, identity) for seed in range(30) for identity in ("a", "b", "0", "1a", "a1")]

    assert len({request_seed(request(identity), Sampling(seed=seed)) for seed, identity in pairs}) == len(pairs)


def test_a_seed_of_the_requests_own_is_that_stream():
    named = request_seed(request("a"), Sampling(seed=7))

    assert request_seed(request("served", seed=named), Sampling(seed=0)) == named


def test_the_stream_is_the_one_that_runs_have_drawn_from_since_the_first():
    digest = hashlib.sha256(b"7\0critique/p-1").digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    expected = torch.rand(5, dtype=torch.float64, generator=generator)

    assert torch.equal(uniform_stream(request_seed(request("critique/p-1"), Sampling(seed=7)), 5), expected)


LIMITED = EndpointError("429", kind="rate_limited", status=429)
BROKEN = EndpointError("500", kind="server_error", status=500)


def call(pace: Pace, failure: EndpointError | None = None, times: int = 1) -> None:
    for _ in range(times):
        pace.note(failure)


def test_a_round_of_nothing_but_rate_limits_halves_the_calls_in_flight():
    pace = Pace(64)
    seen = [pace.in_flight]
    while pace.in_flight > 1:
        call(pace, LIMITED, pace.in_flight)
        seen.append(pace.in_flight)

    assert seen == [64, 32, 16, 8, 4, 2, 1]


def test_each_round_without_one_adds_a_call_up_to_the_most():
    pace = Pace(8)
    call(pace, LIMITED, 8)
    seen = []
    for _ in range(6):
        call(pace, times=pace.in_flight)
        seen.append(pace.in_flight)

    assert seen == [5, 6, 7, 8, 8, 8]


def test_other_failures_are_no_reason_to_slow_down():
    pace = Pace(8)
    call(pace, BROKEN, 100)

    assert pace.in_flight == 8


def test_a_rate_limit_among_many_answers_costs_next_to_nothing():
    pace = Pace(64)
    for number in range(6400):
        call(pace, LIMITED if number % 64 == 0 else None)

    assert pace.in_flight >= 62


@given(st.lists(st.booleans(), max_size=300))
def test_the_calls_in_flight_stay_within_their_bounds(limits):
    pace = Pace(5)
    for limited in limits:
        call(pace, LIMITED if limited else None)
        assert 1 <= pace.in_flight <= 5


@given(failures=st.integers(1, 2000))
def test_a_wait_is_drawn_from_zero_to_a_bound_that_doubles_up_to_its_cap(failures):
    pace = Pace(1, retries=2000, first_wait_seconds=0.5, longest_wait_seconds=60)
    waits = [pace.wait_seconds(BROKEN, failures) for _ in range(20)]

    assert all(wait is not None and 0 <= wait <= min(60, 0.5 * 2.0 ** min(failures - 1, 60)) for wait in waits)
    assert len(set(waits)) == 20


@pytest.mark.parametrize(("asked_for", "least"), [(0.0, 0.0), (7.5, 7.5), (1e9, LONGEST_RETRY_AFTER_SECONDS)])
def test_what_the_server_asks_for_is_waited_up_to_a_cap(asked_for, least):
    pace = Pace(1, retries=1, first_wait_seconds=0.001)
    wait = pace.wait_seconds(EndpointError("", kind="rate_limited", retry_after_seconds=asked_for), 1)

    assert wait is not None
    assert least <= wait <= least + 0.001


def test_patience_ends_with_the_retries_and_at_once_with_what_is_final():
    pace = Pace(1, retries=2)

    assert pace.wait_seconds(BROKEN, 2) is not None
    assert pace.wait_seconds(BROKEN, 3) is None
    assert pace.wait_seconds(EndpointError("", kind="key_refused", is_final=True), 1) is None


def test_what_one_server_asks_for_holds_for_all_calls_only_once_they_are_made_one_at_a_time():
    pace = Pace(2)
    asks = EndpointError("", kind="rate_limited", retry_after_seconds=7.5)
    assert pace.pause_seconds(asks) == 0.0

    call(pace, LIMITED, 2)

    assert pace.in_flight == 1
    assert pace.pause_seconds(asks) == 7.5
    assert pace.pause_seconds(LIMITED) == 0.0
    assert pace.pause_seconds(EndpointError("", kind="x", retry_after_seconds=1e9)) == LONGEST_RETRY_AFTER_SECONDS


def test_whole_rounds_without_an_answer_bring_longer_and_longer_pauses_until_there_is_one():
    pace = Pace(4, first_wait_seconds=1.0, longest_wait_seconds=8.0)
    longest = []
    for _ in range(6):
        longest.append(max(pace.pause_seconds(BROKEN) for _ in range(300)))
        call(pace, BROKEN, 4)

    assert longest == pytest.approx([0, 1, 2, 4, 8, 8], rel=0.1)
    call(pace)
    call(pace, BROKEN, 3)
    assert pace.pause_seconds(BROKEN) == 0.0


def test_rounds_of_rate_limits_bring_fewer_calls_and_no_pause():
    pace = Pace(4)
    call(pace, LIMITED, 4)

    assert (pace.in_flight, pace.pause_seconds(LIMITED)) == (2, 0.0)


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
