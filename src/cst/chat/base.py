"""The one seam through which text comes back from any model: requests, replies, the protocol, and how fast to ask.

A `ChatModel` is asked units of requests. It plans the units itself, from the whole work list, because a row computed
alone differs in the low bits from the same row in a batch: the same work list gives the same plan, and a unit is
answered whole or not at all. So a unit's replies are a pure function of the unit, as far as its model can be asked for
that. This file knows no model; `ScriptedChat`, which answers from a function, is for tests and trials.
"""

import random
from collections.abc import Callable, Sequence
from typing import Annotated, Protocol, final

from pydantic import Field

from cst.errors import EndpointError
from cst.records import FinishReason, Message, Record, Sampling, Text
from cst.store import seed_of


class ChatRequest(Record):
    """One conversation to go on with. `prefix` is text that the response is made to begin with (prefill).

    `id` names the request's random stream: two requests with one id and one seed draw the same numbers. `seed` is the
    stream itself, for a server that was sent one (signed, 64 bits).
    """

    id: Text
    messages: tuple[Message, ...]
    prefix: str = ""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None


class ChatReply(Record):
    """What came back, `prefix` included; token counts as the model counts them, None where it doesn't tell.

    `model` is the one that a server said it was. `logprobs` are the tokens' log-probs in nats, where they were asked
    for and given; of a `LabelChat`, the labels'.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int | None
    completion_tokens: int | None
    model: str | None = None
    logprobs: tuple[float, ...] | None = None


RATE_LIMITED = "rate_limited"
"""The kind of an `EndpointError` that asks for fewer calls at once (HTTP 429)."""

LONGEST_RETRY_AFTER_SECONDS = 600.0
"""A server may ask for this long a wait; what it asks beyond is cut."""


@final
class Pace:
    """The calls that may be in flight, between 1 and `most`, and the patience with those that failed.

    After each round of as many calls, the number in flight falls by half the share of rate-limited ones and rises by
    one: additive increase, and multiplicative decrease by the extent of congestion as in DCTCP (RFC 8257, section 3.3,
    with g = 1). A 429 among a hundred calls costs next to nothing, a round of nothing else halves the number.

    Waits are drawn uniformly from 0 to `first_wait_seconds` x 2^failures, at most `longest_wait_seconds`: "full
    jitter" of Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).

    It holds no lock: whoever makes the calls notes them one at a time.
    """

    def __init__(
        self,
        most: int = 1,
        *,
        retries: int = 0,
        first_wait_seconds: float = 0.5,
        longest_wait_seconds: float = 60.0,
    ) -> None:
        self.most = most
        self._retries = retries
        self._first_wait = first_wait_seconds
        self._longest_wait = longest_wait_seconds
        self._window = float(most)
        self._ended = self._limited = self._broken = self._dead_rounds = 0
        self._jitter = random.Random()  # clients that failed together must not come back together: no seed

    @property
    def in_flight(self) -> int:
        """Calls that may be in flight now."""
        return int(self._window)

    def note(self, failure: EndpointError | None) -> None:
        """Count a call that ended; after a round of them, adapt."""
        is_limited = failure is not None and failure.kind == RATE_LIMITED
        self._ended += 1
        self._limited += is_limited
        self._broken += failure is not None and not is_limited
        if self._ended >= self.in_flight:
            self._end_round()

    def _end_round(self) -> None:
        share = self._limited / self._ended
        window = self._window * (1 - share / 2) + (share < 1)
        self._window = min(max(window, 1.0), float(self.most))
        self._dead_rounds = self._dead_rounds + 1 if self._broken == self._ended else 0
        self._ended = self._limited = self._broken = 0

    def wait_seconds(self, failure: EndpointError, failures: int) -> float | None:
        """Seconds until a unit that has failed so often may be asked again; None: not again."""
        if failure.is_final or failures > self._retries:
            return None
        return _asked_for(failure) + self._drawn(failures)

    def pause_seconds(self, failure: EndpointError) -> float:
        """Seconds for which nothing at all is to be asked, now that a call has failed so.

        A server that limits some calls answers others: what it asks for holds for all once calls are made one at a
        time. Whole rounds without an answer say that the servers are down: a long work list mustn't run through them.
        """
        asked_for = _asked_for(failure) if self.in_flight == 1 else 0.0
        return max(asked_for, self._drawn(self._dead_rounds))

    def _drawn(self, failures: int) -> float:
        highest = min(self._longest_wait, self._first_wait * 2.0 ** min(failures - 1, 60))
        return self._jitter.uniform(0, highest) if failures else 0.0


def _asked_for(failure: EndpointError) -> float:
    return min(failure.retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS)


class ChatModel(Protocol):
    """Anything that answers conversations."""

    @property
    def name(self) -> str:
        """A short name for reports."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides an answer besides the request: weights, adapter, template, engine."""
        ...

    @property
    def pace(self) -> Pace:
        """How many calls may be in flight, and how long to wait before one is made again."""
        ...

    def plan(self, requests: Sequence[ChatRequest], /) -> list[list[int]]:
        """Indices into `requests`, unit by unit, each index once; a function of the requests alone."""
        ...

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling, /) -> list[ChatReply]:
        """One reply a request, in order; asked once, and from several threads where `pace` says so.

        Raises:
            EndpointError: No answer came; `complete` asks again where that may help.
        """
        ...


def request_seed(request: ChatRequest, sampling: Sampling) -> int:
    """The seed of a request's random stream, a signed 64-bit number: its own, or decided by (sampling.seed, id).

    A model in this process draws from it, and an endpoint is sent it: a server that draws as this process does answers
    as this process does. OpenAI's `seed` has the same range.
    """
    if request.seed is not None:
        return request.seed
    drawn = seed_of(f"{sampling.seed}\0{request.id}")
    return int.from_bytes(drawn.to_bytes(8, "big"), "little", signed=True)  # as earlier versions drew it


@final
class ScriptedChat:
    """Answers each request with `script(request)`; counts tokens as words; notes what it was asked in `asked`.

    With a pace that allows several units at once, the script is called from several threads.
    """

    def __init__(
        self,
        script: Callable[[ChatRequest], str],
        *,
        name: str = "scripted",
        batch_size: int = 4,
        pace: Pace | None = None,
    ) -> None:
        self._script = script
        self._batch_size = batch_size
        self.name = name
        self.fingerprint = f"scripted:{name}"
        self.pace = pace or Pace()
        self.asked: list[ChatRequest] = []

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Units in the order of the requests."""
        size = self._batch_size
        return [list(range(start, min(start + size, len(requests)))) for start in range(0, len(requests), size)]

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        """The script's answers, cut to `max_new_tokens` words."""
        self.asked.extend(unit)
        return [self._reply(request, sampling) for request in unit]

    def _reply(self, request: ChatRequest, sampling: Sampling) -> ChatReply:
        words = self._script(request).split(" ")
        kept = words[: sampling.max_new_tokens]
        return ChatReply(
            text=request.prefix + " ".join(kept),
            finish_reason="stop" if len(kept) == len(words) else "length",
            prompt_tokens=sum(len(message.content.split(" ")) for message in request.messages),
            completion_tokens=len(kept),
        )
