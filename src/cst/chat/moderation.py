"""OpenAI's moderation endpoint as a `ChatModel`: asked a text, it answers with the JSON of its result.

So a moderation is planned, paced, asked again and journalled as any other call is; several texts go with one call. The
key and the address come from the environment alone. API reference: "Create moderation".
"""

import os
from collections.abc import Sequence
from typing import Annotated, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cst.chat.base import ChatReply, ChatRequest
from cst.chat.endpoint_calls import Calls, Question, key_from_environment
from cst.chat.endpoint_messages import unusable
from cst.chat.pace import Pace
from cst.errors import RecipeError
from cst.recipe.judges import ModerationSettings
from cst.recipe.models import EndpointSettings
from cst.records import Record, Sampling
from cst.store import canonical_json, fingerprint

KEY_VARIABLES = ("OPENAI_API_KEY", "OPEN_AI_KEY")
"""The client's own, and that of Safety-Tuned LLaMAs."""

ADDRESS_VARIABLE = "OPENAI_BASE_URL"
OPENAI = "https://api.openai.com/v1"


class ModerationResult(Record):
    """Whether a text was flagged, in which categories, and the score of each category, from 0 to 1."""

    flagged: bool
    categories: tuple[str, ...]
    scores: dict[str, float]


@final
class ModerationEndpoint:
    """Answers each request with the `ModerationResult` of its last message, as JSON. Threads may share it.

    Raises:
        RecipeError: The environment doesn't hold a key, or its address is none.
    """

    def __init__(self, settings: ModerationSettings) -> None:
        self._settings = settings
        key = key_from_environment(KEY_VARIABLES, asked_by="The moderation endpoint takes its key from")
        self._calls = Calls(_server(settings), name=self.name, key=key)

    @property
    def name(self) -> str:
        """The moderation model's name."""
        return self._settings.model

    @property
    def pace(self) -> Pace:
        """How many calls may be in flight, and how long to wait before one is made again."""
        return self._calls.pace

    @property
    def fingerprint(self) -> str:
        """The model's name."""
        return fingerprint("moderation/1", self._settings.model)

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """As many at once as the settings say, in order."""
        size = self._settings.inputs_per_request
        return [list(range(start, min(start + size, len(requests)))) for start in range(0, len(requests), size)]

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        """One reply a request, in order; nothing is drawn, so `sampling` says nothing.

        Raises:
            EndpointError: No answer came, or none that can be taken.
        """
        texts = [request.messages[-1].content for request in unit]
        question = Question(
            path="/moderations",
            body={"model": self._settings.model, "input": texts},
            read=lambda content: _replies(content, len(texts)),
            what=f"{len(texts)} texts from request {unit[0].id!r} on",
        )
        return self._calls.ask(question)

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def __enter__(self) -> "ModerationEndpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def result_of(reply: ChatReply) -> ModerationResult:
    """The result that a reply is made of."""
    return ModerationResult.model_validate_json(reply.text)


def _server(settings: ModerationSettings) -> EndpointSettings:
    address = os.environ.get(ADDRESS_VARIABLE, "").strip() or OPENAI
    try:
        return EndpointSettings(
            kind="endpoint",
            base_urls=(address,),
            model=settings.model,
            in_flight=settings.in_flight,
            retries=settings.retries,
            first_wait_seconds=settings.first_wait_seconds,
        )
    except ValidationError as error:
        raise RecipeError(
            f"The environment variable {ADDRESS_VARIABLE} holds no address without credentials. Correct it, or unset "
            f"it for {OPENAI}."
        ) from error


class _Answer(BaseModel):
    """What is read of an answer; a type that isn't meant is an error."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Result(_Answer):
    flagged: bool
    categories: dict[str, bool | None]
    category_scores: dict[str, Annotated[float, Field(ge=0, le=1)] | None]


class _Moderation(_Answer):
    model: str
    results: list[_Result]


def _replies(content: bytes, n: int) -> list[ChatReply]:
    """One reply a result; categories that the model doesn't know (null) are left out.

    Raises:
        EndpointError: The body is no moderation of `n` texts.
    """
    try:
        answer = _Moderation.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"]) or "body"
        raise unusable(f"it is no moderation ({place}: {fault['msg']})") from None
    if len(answer.results) != n:
        raise unusable(f"it has {len(answer.results)} results for {n} texts")
    return [_reply(result, answer.model) for result in answer.results]


def _reply(result: _Result, model: str) -> ChatReply:
    kept = ModerationResult(
        flagged=result.flagged,
        categories=tuple(name for name, is_there in result.categories.items() if is_there),
        scores={name: score for name, score in result.category_scores.items() if score is not None},
    )
    return ChatReply(
        text=canonical_json(kept), finish_reason="stop", prompt_tokens=None, completion_tokens=None, model=model
    )
