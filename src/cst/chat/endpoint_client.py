"""The openai client, so that nothing it brings back is unbounded or from elsewhere, and nothing unasked is sent.

No retries of its own, no redirects, no compressed bodies, bodies of bounded size and time; no headers that it takes
from the environment. This file knows neither messages nor answers.
"""

import time
from collections.abc import Iterator
from typing import final

import httpx2
import openai

from cst.recipe.models import EndpointSettings

LARGEST_BODY_BYTES = 16 << 20
"""No chat completion is longer: a million tokens of eight bytes, with their log-probs left out."""

SENT_HEADERS = frozenset({"host", "content-type", "content-length", "accept", "connection", "user-agent"})
"""What a server is told besides the key. The client would add organisation, project and OPENAI_CUSTOM_HEADERS."""


class BadBodyError(Exception):
    """A body that is not read to its end."""


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
