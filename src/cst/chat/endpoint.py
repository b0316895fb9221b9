"""A `ChatModel` behind OpenAI-compatible servers.

One request is one unit and one call; asking again is `complete`'s business, and writing down is `Journalled`'s.
"""

from collections.abc import Sequence
from typing import final

from cst.chat.base import ChatReply, ChatRequest
from cst.chat.endpoint_calls import NO_KEY, Calls, Question, key_from_environment
from cst.chat.endpoint_messages import body_of, reply_of, withheld
from cst.chat.pace import Pace
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
        question = Question(
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
