"""What an OpenAI-compatible server is sent, and what is accepted from it: plain values, no network.

Fields: OpenAI API reference, "Create chat completion"; `continue_final_message` and `add_generation_prompt` are those
of vLLM and SGLang ("Extra parameters" of their OpenAI-compatible servers).
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from cst.chat.base import ChatReply, ChatRequest, request_seed
from cst.errors import EndpointError
from cst.recipe.models import EndpointSettings
from cst.records import FinishReason, Sampling

FINISH_REASONS: Mapping[str | None, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
}
"""Any other (tool calls, `abort`, none at all) means that the text is none, or not whole."""

QUOTED_BYTES = 4096
"""Of a body that is no answer; far more than is shown of it, so that a key in what is shown is whole and masked."""


def body_of(request: ChatRequest, sampling: Sampling, settings: EndpointSettings) -> dict[str, object]:
    """The JSON body that asks for one answer.

    Raises:
        EndpointError: The sampling is one that these servers aren't asked for; or the request has a prefix, and the
            recipe doesn't say that the servers can go on from one.
    """
    _refuse_unless_sent(sampling)
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    body: dict[str, object] = {
        "model": settings.model,
        "messages": messages,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        settings.token_limit_key: sampling.max_new_tokens,
    }
    if settings.sends_seed:
        body["seed"] = request_seed(request, sampling)
    if settings.logprobs:
        body["logprobs"] = True
    if request.prefix:
        _refuse_unless_continued(request, settings)
        messages.append({"role": "assistant", "content": request.prefix})
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def _refuse_unless_sent(sampling: Sampling) -> None:
    if sampling.local_only:
        raise EndpointError(
            f"An endpoint can't be asked for {sampling.local_only}. Leave it out, or use a local model (kind: local).",
            kind="sampling_refused",
            is_final=True,
            may_have_cost=False,
        )


def _refuse_unless_continued(request: ChatRequest, settings: EndpointSettings) -> None:
    if settings.prefill == "refuse":
        raise EndpointError(
            f"Request {request.id!r} begins its answer with {request.prefix!r}, which only some servers can do. For "
            "vLLM or SGLang, set prefill: continue_final_message in the recipe's chat_models; else leave prefixes out.",
            kind="prefill_refused",
            is_final=True,
            may_have_cost=False,
        )


class _Answer(BaseModel):
    """What is read of an answer; servers may add what they like. A type that isn't meant is an error."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Message(_Answer):
    content: str | None = None
    tool_calls: list[object] | None = None
    function_call: object = None


class _TokenLogprob(_Answer):
    logprob: FiniteFloat


class _Logprobs(_Answer):
    content: list[_TokenLogprob] | None = None


class _Choice(_Answer):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(_Answer):
    prompt_tokens: Annotated[int, Field(ge=0)]
    completion_tokens: Annotated[int, Field(ge=0)]


class _Completion(_Answer):
    choices: Annotated[list[_Choice], Field(min_length=1, max_length=1)]
    model: str | None = None
    usage: _Usage | None = None


def reply_of(content: bytes, prefix: str) -> ChatReply:
    """The reply in an answer's body.

    Raises:
        EndpointError: The body is no chat completion, or its text is missing or not whole.
    """
    try:
        completion = _Completion.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"]) or "body"
        begins = content[:QUOTED_BYTES].decode(errors="replace")
        raise unusable(f"it is no chat completion ({place}: {fault['msg']}); it begins {begins!r}") from None
    choice, usage = completion.choices[0], completion.usage
    reason = _finish_reason(choice)
    return ChatReply(
        text=_text(choice.message, reason, prefix),
        finish_reason=reason,
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        model=completion.model,
        logprobs=_logprobs(choice),
    )


def withheld(prefix: str) -> ChatReply:
    """The reply to a request that a server's content filter refused."""
    return ChatReply(text=prefix, finish_reason="content_filter", prompt_tokens=None, completion_tokens=None)


def _finish_reason(choice: _Choice) -> FinishReason:
    reason = FINISH_REASONS.get(choice.finish_reason)
    if choice.message.tool_calls or choice.message.function_call is not None:
        raise unusable("it calls a tool instead of answering")
    if reason is None:
        raise unusable(f"it ended with finish_reason {choice.finish_reason!r}, so its text may not be whole")
    return reason


def _text(message: _Message, reason: FinishReason, prefix: str) -> str:
    if message.content is None and reason != "content_filter":
        raise unusable("its content is null")
    return prefix + (message.content or "")


def _logprobs(choice: _Choice) -> tuple[float, ...] | None:
    if choice.logprobs is None or choice.logprobs.content is None:
        return None
    return tuple(token.logprob for token in choice.logprobs.content)


def unusable(why: str) -> EndpointError:
    """An answer came with status 200 and can't be taken."""
    return EndpointError(f"the answer can't be used: {why}", kind="unusable_answer")
