"""What a failed call means: whether to ask again, when, and what a user could do.

Statuses are HTTP's (RFC 9110, section 15; RFC 6585 for 429); error codes are OpenAI's ("Error codes" of its API
guides), which vLLM, SGLang and hosted servers follow. This file knows no request, and shows no key.
"""

import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx2
import openai

from cst.chat.endpoint_client import BadBodyError
from cst.chat.pace import RATE_LIMITED
from cst.errors import EndpointError

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


def is_ailing(failure: EndpointError) -> bool:
    """Whether a failure speaks against the server: not one that a user must mend, nor a rate limit."""
    return not failure.is_final and failure.kind != RATE_LIMITED


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
