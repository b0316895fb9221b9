"""What an OpenAI-compatible server is sent, what is accepted from it, and what a failed call means.

Plain values, no network. Fields: OpenAI API reference, "Create chat completion"; `continue_final_message` and
`add_generation_prompt` are those of vLLM and SGLang ("Extra parameters" of their OpenAI-compatible servers). Statuses
are HTTP's (RFC 9110, section 15; RFC 6585 for 429); error codes are OpenAI's ("Error codes" of its API guides), which
vLLM, SGLang and hosted servers follow. This file shows no key.
"""

import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Annotated

import httpx2
import openai
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from cst.chat.base import RATE_LIMITED, ChatReply, ChatRequest, request_seed
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


class BadBodyError(Exception):
    """A body that is not read to its end."""


def body_of(request: ChatRequest, sampling: Sampling, settings: EndpointSettings) -> dict[str, object]:
    """The JSON body that asks for one answer.

    Raises:
        EndpointError: The sampling is one that these servers aren't asked for; or the request has a prefix, and the
            recipe doesn't say that the servers can go on from one.
    """
    _reject_unless_sent(sampling)
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
        _reject_unless_continued(request, settings)
        messages.append({"role": "assistant", "content": request.prefix})
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def _reject_unless_sent(sampling: Sampling) -> None:
    if sampling.local_only:
        raise EndpointError(
            f"An endpoint can't be asked for {sampling.local_only}. Leave it out, or use a local model (kind: local).",
            kind="sampling_refused",
            is_final=True,
            may_have_cost=False,
        )


def _reject_unless_continued(request: ChatRequest, settings: EndpointSettings) -> None:
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


LONGEST_QUOTE = 300
"""Characters of a server's own words in a message."""

QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})
PASSING_STATUSES = frozenset({408, 409, 425})
"""Statuses below 500 that speak of the moment: request time-out, conflict, too early."""

ADVICE: Mapping[str, str] = {
    "key_refused": "Check the key in the environment variable that api_key_env names.",
    "quota_spent": "Add credit or raise the limit with the provider, then run the same command again.",
    "model_unknown": "Check `model` and `base_urls` (most end in /v1); GET base_url/models lists what is served.",
    "request_refused": "Correct what the server names: a prompt that is too long, or a setting that it doesn't take.",
    "redirected": "If you trust where it leads, name that address in base_urls.",
    "unreachable": "Start the server, or correct base_urls.",
    "timed_out": "Look at the server, or raise read_timeout_seconds.",
    "cut_off": "Look at the server's log.",
    "server_error": "Look at the server's log.",
    "rate_limited": "Lower in_flight, or raise retries.",
    "unusable_answer": "Check that base_urls leads to an OpenAI-compatible server and `model` to a chat model.",
}
"""What a user could do, by the kind of a failure: told once asking again has no use."""

FINAL_KINDS = frozenset({"key_refused", "quota_spent", "model_unknown", "request_refused"})


def is_filtered(error: BaseException) -> bool:
    """Whether a server's content filter refused the request, which is an answer in its way (OpenAI, Azure)."""
    return isinstance(error, openai.BadRequestError) and bool(_codes(error) & FILTER_CODES)


def failure_of(error: openai.APIError | BadBodyError) -> EndpointError:
    """An exception of the client as an `EndpointError`."""
    if isinstance(error, openai.APIStatusError):
        return _status_failure(error)
    if isinstance(error, BadBodyError):
        return EndpointError(f"the answer can't be used: {error}", kind="unusable_answer")
    cause = type(error.__cause__)
    if issubclass(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return EndpointError(f"no connection ({cause.__name__})", kind="unreachable", may_have_cost=False)
    if isinstance(error, openai.APITimeoutError):
        return EndpointError(f"no answer came in time ({cause.__name__})", kind="timed_out")
    return EndpointError(f"the connection broke off ({cause.__name__})", kind="cut_off")


def _status_failure(error: openai.APIStatusError) -> EndpointError:
    kind = _kind(error)
    return EndpointError(
        error.message,
        kind=kind,
        status=error.status_code,
        is_final=kind in FINAL_KINDS,
        retry_after_seconds=retry_after_seconds(error.response.headers.get("retry-after"), time.time()),
        may_have_cost=False,
    )


def _kind(error: openai.APIStatusError) -> str:
    """The name of a failure by status and error code."""
    status, codes = error.status_code, _codes(error)
    if status == 402 or codes & QUOTA_CODES:
        return "quota_spent"
    if status in (401, 403):
        return "key_refused"
    if status == 404 or "model_not_found" in codes:
        return "model_unknown"
    if status == 429:
        return RATE_LIMITED
    if status >= 500 or status in PASSING_STATUSES:
        return "server_error"
    return "redirected" if status < 400 else "request_refused"


def _codes(error: openai.APIStatusError) -> set[str]:
    """What a server calls its error; the client takes any JSON for these two."""
    return {str(error.code), str(error.type)}


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """What a Retry-After header asks for, in seconds from `now` (Unix time); None if it says nothing readable.

    RFC 9110, section 10.2.3: a number of seconds, or an HTTP date; those of its forms that name no zone are in UTC
    (section 5.6.7).
    """
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header[:12])
    try:
        date = parsedate_to_datetime(header)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return None
