"""Calls of OpenAI-compatible servers: the least busy one is asked, at the pace that it bears, and failures are told.

The key comes from the environment and is in nothing that is shown, raised or kept. This file knows neither what is
asked nor what an answer looks like.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, final

import httpx2
import openai

from cst.chat.endpoint_client import BadBodyError, make_client
from cst.chat.endpoint_failures import ADVICE, LONGEST_QUOTE, failure_of, is_ailing, is_filtered
from cst.chat.endpoint_messages import unusable
from cst.chat.pace import Pace
from cst.chat.replicas import Replicas
from cst.errors import EndpointError, RecipeError
from cst.recipe.models import EndpointSettings

T = TypeVar("T")

NO_KEY = "none"
"""What servers without a key are sent; the client needs something."""

SHORTEST_SECRET = 8
"""Characters. A shorter key (`none`, `EMPTY`) is no secret, and may stand in any text."""


@dataclass(frozen=True)
class Question(Generic[T]):
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
        self._replicas = Replicas(self._clients)
        self.pace = Pace(
            settings.in_flight,
            retries=settings.retries,
            first_wait_seconds=settings.first_wait_seconds,
            longest_wait_seconds=settings.longest_wait_seconds,
        )

    def ask(self, question: Question[T]) -> T:
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

    def _answer(self, question: Question[T]) -> T | EndpointError:
        with self._replicas.least_busy() as visit:
            address, client = visit.server
            answer = self._answer_of(client, question)
            visit.is_ailing = isinstance(answer, EndpointError) and is_ailing(answer)
        return self._told(question.what, address, answer) if isinstance(answer, EndpointError) else answer

    def _answer_of(self, client: openai.OpenAI, question: Question[T]) -> T | EndpointError:
        try:
            content = client.post(question.path, cast_to=httpx2.Response, body=question.body).content
            answer = question.read(content)
            self._refuse_secret(answer)
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

    def _refuse_secret(self, answer: object) -> None:
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
