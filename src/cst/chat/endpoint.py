"""A `ChatModel` behind OpenAI-compatible servers.

One request is one unit and one call; asking again is `complete`'s business, and writing down is `Journalled`'s. The
key comes from the environment and is in nothing that is shown, raised or kept.
"""

import os
from collections.abc import Sequence
from typing import final

import httpx2
import openai

from cst.chat.base import ChatReply, ChatRequest, Sampling
from cst.chat.endpoint_client import BadBodyError, make_client
from cst.chat.endpoint_failures import ADVICE, LONGEST_QUOTE, failure_of, is_ailing, is_filtered
from cst.chat.endpoint_messages import body_of, reply_of, unusable, withheld
from cst.chat.pace import Pace
from cst.chat.replicas import Replicas
from cst.errors import EndpointError, RecipeError
from cst.recipe_models import EndpointSettings
from cst.store import fingerprint

NO_KEY = "none"
"""What servers without a key are sent; the client needs something."""

SHORTEST_SECRET = 8
"""Characters. A shorter key (`none`, `EMPTY`) is no secret, and may stand in any text."""


@final
class Endpoint:
    """Answers conversations by asking the least busy of several servers of one model. Threads may share it.

    Raises:
        RecipeError: The environment doesn't hold the key that the settings name.
    """

    def __init__(self, settings: EndpointSettings, *, name: str) -> None:
        self._settings = settings
        self._name = name
        self._key = _key(settings, name)
        self._clients = [(url, make_client(url, self._key, settings)) for url in settings.base_urls]
        self._replicas = Replicas(self._clients)
        self.pace = Pace(
            settings.in_flight,
            retries=settings.retries,
            first_wait_seconds=settings.first_wait_seconds,
            longest_wait_seconds=settings.longest_wait_seconds,
        )

    @property
    def name(self) -> str:
        """A short name for reports."""
        return self._name

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
        answer = self._call(request, sampling)
        if isinstance(answer, EndpointError):
            raise answer  # outside of any `except`: the client's own errors hold the request, and that the key
        return [answer]

    def close(self) -> None:
        """Close the connections."""
        for _, client in self._clients:
            client.close()

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, request: ChatRequest, sampling: Sampling) -> ChatReply | EndpointError:
        body = body_of(request, sampling, self._settings)
        with self._replicas.least_busy() as visit:
            address, client = visit.server
            answer = self._answer_of(client, body, request.prefix)
            visit.is_ailing = isinstance(answer, EndpointError) and is_ailing(answer)
        return self._told(request, address, answer) if isinstance(answer, EndpointError) else answer

    def _answer_of(self, client: openai.OpenAI, body: dict[str, object], prefix: str) -> ChatReply | EndpointError:
        try:
            content = client.post("/chat/completions", cast_to=httpx2.Response, body=body).content
            reply = reply_of(content, prefix)
            self._refuse_secret(reply)
            return reply
        except (openai.APIError, BadBodyError) as error:
            return withheld(prefix) if is_filtered(error) else failure_of(error)
        except EndpointError as error:
            return error

    def _told(self, request: ChatRequest, address: str, failure: EndpointError) -> EndpointError:
        """The failure, saying which model, server and request it is about."""
        quote = self._masked(str(failure))[:LONGEST_QUOTE].rstrip(".")  # masked first: half a key is none to a mask
        advice = ADVICE.get(failure.kind, "")
        return failure.saying(f"{self._name} at {address}, request {request.id!r}: {quote}. {advice}".strip())

    def _masked(self, text: str) -> str:
        return text.replace(self._key, "***") if len(self._key) >= SHORTEST_SECRET else text

    def _refuse_secret(self, reply: ChatReply) -> None:
        """A server that says the key would have it written into the journal."""
        said = f"{reply.text}\n{reply.model}"
        if self._masked(said) != said:
            raise unusable("it holds the key that it was sent")


def _key(settings: EndpointSettings, name: str) -> str:
    """The key in the environment, which is shown in no message.

    Raises:
        RecipeError: There is none, or it can't be one.
    """
    if settings.api_key_env is None:
        return NO_KEY
    key = os.environ.get(settings.api_key_env, "").strip()
    if not key or not all("!" <= character <= "~" for character in key):
        fault = "holds characters that no key has" if key else "is not set"
        raise RecipeError(
            f"chat_models.{name}.api_key_env names the environment variable {settings.api_key_env}, which {fault}. "
            "Put the key there before the command is given."
        )
    return key
