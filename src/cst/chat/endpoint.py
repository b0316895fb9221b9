"""A `ChatModel` behind OpenAI-compatible servers, and the calls that it and the moderation endpoint make.

One request is one unit and one call; asking again is the business of `complete`, and writing down that of `Journalled`.
The key comes from the environment and is in nothing that is shown, raised or kept. The openai client is used so that
nothing it brings back is unbounded or from elsewhere, and nothing unasked is sent: no retries of its own, no redirects,
no compressed bodies, bodies of bounded size and time, no headers from the environment.
"""

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar, final

import httpx2
import openai

from cst.chat.base import ChatReply, ChatRequest, Pace
from cst.chat.endpoint_wire import (
    ADVICE,
    LONGEST_QUOTE,
    BadBodyError,
    body_of,
    failure_of,
    is_filtered,
    reply_of,
    unusable,
    withheld,
)
from cst.errors import EndpointError, RecipeError
from cst.recipe.models import EndpointSettings
from cst.records import Sampling
from cst.store import fingerprint


@final
class Endpoint:
    """Answers conversations by asking the least busy of several servers of one model. Threads may share it.

    Raises:
        RecipeError: The environment doesn't hold the key that the settings name.
    """

    def __init__(self, settings: EndpointSettings, *, name: str) -> None:
        self._settings = settings
        self._name = name
        self._calls = Calls(settings, name=name, key=_key(settings, name))

    @property
    def name(self) -> str:
        """A short name for reports."""
        return self._name

    @property
    def pace(self) -> Pace:
        """How many calls may be in flight, and how long to wait before one is made again."""
        return self._calls.pace

    @property
    def fingerprint(self) -> str:
        """The model's name and what else is sent; not the servers' addresses, so that replicas may come and go."""
        settings = self._settings
        return fingerprint("endpoint/1", settings.model, settings.sends_seed, settings.logprobs, settings.prefill)

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Each request by itself, in order."""
        return [[index] for index in range(len(requests))]

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        """The reply to the one request of a unit.

        Raises:
            EndpointError: No answer came, or none that can be taken.
        """
        (request,) = unit
        question = Post(
            path="/chat/completions",
            body=body_of(request, sampling, self._settings),
            read=lambda content: reply_of(content, request.prefix),
            what=f"request {request.id!r}",
            filtered=lambda: withheld(request.prefix),
        )
        return [self._calls.ask(question)]

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _key(settings: EndpointSettings, name: str) -> str:
    if settings.api_key_env is None:
        return NO_KEY
    return key_from_environment([settings.api_key_env], asked_by=f"chat_models.{name}.api_key_env names")


T = TypeVar("T")

NO_KEY = "none"
"""What servers without a key are sent; the client needs something."""

SHORTEST_SECRET = 8
"""Characters. A shorter key (`none`, `EMPTY`) is no secret, and may stand in any text."""


@dataclass(frozen=True)
class Post(Generic[T]):
    """One call: where it goes, what is sent, what the answer's body is read as, and `what` names it in errors.

    `filtered` makes the answer to a question that a content filter refused, where that is an answer.
    """

    path: str
    body: dict[str, object]
    read: Callable[[bytes], T]
    what: str
    filtered: Callable[[], T] | None = None


@final
class Calls:
    """Asks the least busy of several servers of one model. Threads may share it."""

    def __init__(self, settings: EndpointSettings, *, name: str, key: str) -> None:
        self._name = name
        self._key = key
        self._clients = [(url, make_client(url, key, settings)) for url in settings.base_urls]
        self._in_flight = [0] * len(self._clients)
        self._asked = [0] * len(self._clients)
        self._lock = threading.Lock()
        self.pace = Pace(
            settings.in_flight,
            retries=settings.retries,
            first_wait_seconds=settings.first_wait_seconds,
            longest_wait_seconds=settings.longest_wait_seconds,
        )

    def ask(self, question: Post[T]) -> T:
        """The answer to a question, asked once.

        Raises:
            EndpointError: No answer came, or none that can be taken.
        """
        answer = self._answer(question)
        if isinstance(answer, EndpointError):
            raise answer  # outside of any `except`: the client's own errors hold the request, and that the key
        return answer

    def close(self) -> None:
        """Close the connections."""
        for _, client in self._clients:
            client.close()

    def _answer(self, question: Post[T]) -> T | EndpointError:
        with self._least_busy() as (address, client):
            answer = self._answer_of(client, question)
        return self._told(question.what, address, answer) if isinstance(answer, EndpointError) else answer

    @contextmanager
    def _least_busy(self) -> Generator[tuple[str, openai.OpenAI]]:
        """The server with the fewest calls in flight; of equals, the one that was asked least."""
        with self._lock:
            index = min(range(len(self._clients)), key=lambda i: (self._in_flight[i], self._asked[i]))
            self._in_flight[index] += 1
            self._asked[index] += 1
        try:
            yield self._clients[index]
        finally:
            with self._lock:
                self._in_flight[index] -= 1

    def _answer_of(self, client: openai.OpenAI, question: Post[T]) -> T | EndpointError:
        try:
            content = client.post(question.path, cast_to=httpx2.Response, body=question.body).content
            answer = question.read(content)
            self._reject_secret(answer)
            return answer
        except (openai.APIError, BadBodyError) as error:
            return question.filtered() if question.filtered and is_filtered(error) else failure_of(error)
        except EndpointError as error:
            return error

    def _told(self, what: str, address: str, failure: EndpointError) -> EndpointError:
        """The failure, saying which model, server and request it is about."""
        quote = self._masked(str(failure))[:LONGEST_QUOTE].rstrip(".")  # masked first: half a key is none to a mask
        return failure.saying(f"{self._name} at {address}, {what}: {quote}. {ADVICE.get(failure.kind, '')}".strip())

    def _masked(self, text: str) -> str:
        return text.replace(self._key, "***") if len(self._key) >= SHORTEST_SECRET else text

    def _reject_secret(self, answer: object) -> None:
        """A server that says the key would have it written into the journal."""
        if len(self._key) >= SHORTEST_SECRET and self._key in str(answer):
            raise unusable("it holds the key that it was sent")


def key_from_environment(variables: Sequence[str], *, asked_by: str) -> str:
    """The key in the first of these environment variables that is set; it is shown in no message.

    Raises:
        RecipeError: None is set, or what is there can't be a key.
    """
    name = next((name for name in variables if os.environ.get(name, "").strip()), " or ".join(variables))
    key = os.environ.get(name, "").strip()
    if not key or not all("!" <= character <= "~" for character in key):
        fault = "holds characters that no key has" if key else "is not set"
        raise RecipeError(
            f"{asked_by} the environment variable {name}, which {fault}. Put the key there before the command is given."
        )
    return key


LARGEST_BODY_BYTES = 16 << 20
"""No chat completion is longer: a million tokens of eight bytes, with their log-probs left out."""

SENT_HEADERS = frozenset({"host", "content-type", "content-length", "accept", "connection", "user-agent"})
"""What a server is told besides the key. The client would add organisation, project and OPENAI_CUSTOM_HEADERS."""


def make_client(base_url: str, api_key: str, settings: EndpointSettings) -> openai.OpenAI:
    """A client of one server; threads may share it. Proxies are those of the environment, as usual."""
    timeout = httpx2.Timeout(settings.read_timeout_seconds, connect=settings.connect_timeout_seconds)

    def strip(request: httpx2.Request) -> None:
        kept = {name: value for name, value in request.headers.items() if name in SENT_HEADERS}
        # no encoding: a small compressed body may be a large one
        request.headers = httpx2.Headers({**kept, "Authorization": f"Bearer {api_key}", "Accept-Encoding": "identity"})

    def bound(response: httpx2.Response) -> None:
        response.stream = _BoundedBody(response, settings.read_timeout_seconds)

    http = openai.DefaultHttpx2Client(
        timeout=timeout,
        limits=httpx2.Limits(max_connections=settings.in_flight, max_keepalive_connections=settings.in_flight),
        follow_redirects=False,
        event_hooks={"request": [strip], "response": [bound]},
    )
    return openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0, timeout=timeout, http_client=http)


@final
class _BoundedBody(httpx2.SyncByteStream):
    """A body that raises instead of growing beyond its bounds in bytes and seconds."""

    def __init__(self, response: httpx2.Response, seconds: float) -> None:
        assert isinstance(response.stream, httpx2.SyncByteStream)
        self._inner = response.stream
        self._seconds = seconds
        self._encoding = response.headers.get("content-encoding", "identity")
        self._length = response.headers.get("content-length", "0")

    def __iter__(self) -> Iterator[bytes]:
        if self._encoding != "identity":
            raise BadBodyError(f"its encoding is {self._encoding[:40]!r}, and none was asked for")
        if self._length.isdecimal() and int(self._length[:20]) > LARGEST_BODY_BYTES:
            raise BadBodyError(f"its body has {self._length[:20]} bytes, and {LARGEST_BODY_BYTES} is the most")
        deadline = time.monotonic() + self._seconds
        size = 0
        for chunk in self._inner:
            size += len(chunk)
            if size > LARGEST_BODY_BYTES:
                raise BadBodyError(f"its body has more than {LARGEST_BODY_BYTES} bytes")
            if time.monotonic() > deadline:
                raise BadBodyError(f"its body took longer than {self._seconds:g} s")
            yield chunk

    def close(self) -> None:
        """Close the connection's own stream."""
        self._inner.close()
