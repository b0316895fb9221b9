"""An OpenAI-compatible server on 127.0.0.1 that fails on purpose, for tests and benchmarks.

    python tests/chat/loopback.py --failures 0.3 --latency 0.03

It serves `/v1/chat/completions`, `/v1/moderations` and `/v1/models`, prints its address, and counts what it really
answered. Which way it fails for which request is decided by the seed, the request and how often that was asked before,
so that a plan can be repeated. What it answers comes from a function: an echo, or any chat model (`served.Served`). It
ends with its parent, or after `--seconds`.
"""

import argparse
import asyncio
import gzip
import hashlib
import json
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

Body = dict[str, Any]
Answer = Callable[[Body], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]
"""The request's body to `text`, `finish_reason`, `prompt_tokens`, `completion_tokens`, at once or later."""


def echo(body: Body) -> dict[str, Any]:
    """A text that tells its request and whether it is whole: it ends with the hash of what stands before."""
    said = " ".join(message["content"] for message in body["messages"])
    text = f"You said: {said} "
    text += hashlib.sha256(text.encode()).hexdigest()
    return {"text": text, "finish_reason": "stop", "prompt_tokens": len(said) // 4, "completion_tokens": 60}


def is_whole(text: str) -> bool:
    """Whether a text is one of `echo`'s, from its beginning to its end."""
    return text.startswith("You said: ") and hashlib.sha256(text[:-64].encode()).hexdigest() == text[-64:]


def completion(answer: Mapping[str, Any], **changes: object) -> Body:
    """A chat completion as OpenAI's API spells it; `changes` go into its only choice."""
    message = {"role": "assistant", "content": answer["text"]}
    usage = {name: answer[name] for name in ("prompt_tokens", "completion_tokens")}
    choice = {"index": 0, "message": message, "finish_reason": answer["finish_reason"], "logprobs": None}
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "loopback-1",
        "choices": [{**choice, **changes}],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


def moderation(body: Body) -> Body:
    """A moderation as OpenAI's API spells it: texts with `storm` in them are flagged, scores tell texts apart."""
    return {"id": "modr-loopback", "model": "loopback-1", "results": [_moderated(text) for text in body["input"]]}


def moderation_score(text: str) -> float:
    """The score that a text is given as `violence`."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:6], 16) / 16**6


def _moderated(text: str) -> Body:
    is_flagged = "storm" in text
    return {
        "flagged": is_flagged,
        "categories": {"violence": is_flagged, "harassment": False, "illicit": None},
        "category_scores": {"violence": moderation_score(text), "harassment": 0.0, "illicit": None},
        "category_applied_input_types": {"violence": ["text"], "harassment": ["text"]},
    }


@dataclass(frozen=True)
class Sent:
    """What goes over the wire: `body` as it is, and as much of it as `cut` says before the connection is closed.

    `drips` sends a byte every 50 ms.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    hangs: bool = False
    drips: bool = False


def as_json(value: object, status: int = 200, **headers: str) -> Sent:
    return Sent(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def refusal(status: int, code: str, **headers: str) -> Sent:
    return as_json({"error": {"message": f"Refused: {code}.", "type": code, "code": code}}, status, **headers)


def message(**changes: object) -> Callable[[Body], Sent]:
    """The right answer with another message."""
    return lambda good: as_json(completion_with(good, **changes))


def completion_with(good: Body, **changes: object) -> Body:
    choice = good["choices"][0]
    return {**good, "choices": [{**choice, "message": {**choice["message"], **changes}}]}


def choice(**changes: object) -> Callable[[Body], Sent]:
    """The right answer with another choice."""
    return lambda good: as_json({**good, "choices": [{**good["choices"][0], **changes}]})


def _cut(good: Body) -> Sent:
    body = json.dumps(good).encode()
    return Sent(body=body, headers={"Content-Type": "application/json"}, cut=len(body) * 2 // 3)


def _cut_chunked(good: Body) -> Sent:
    body = json.dumps(good).encode()[:-20]
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n"
    return Sent(body=chunk, headers={"Transfer-Encoding": "chunked"}, cut=len(chunk))


def _html(_good: Body) -> Sent:
    return Sent(body=b"<!doctype html><title>Sign in</title>", headers={"Content-Type": "text/html"})


TOOL_CALL = {"id": "call", "type": "function", "function": {"name": "f", "arguments": "{}"}}

PASSING: Mapping[str, Callable[[Body], Sent]] = {
    "rate_limited": lambda _: refusal(429, "rate_limit_exceeded"),
    "rate_limited_for_a_moment": lambda _: refusal(429, "rate_limit_exceeded", **{"Retry-After": "0"}),
    "rate_limited_until_a_date": lambda _: refusal(429, "rate_limit", **{"Retry-After": formatdate(usegmt=True)}),
    "timed_out_upstream": lambda _: refusal(408, "timeout"),
    "conflict": lambda _: refusal(409, "conflict"),
    "server_error": lambda _: refusal(500, "server_error"),
    "bad_gateway_in_html": lambda _: Sent(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}),
    "unavailable": lambda _: refusal(503, "overloaded", **{"Retry-After": "0"}),
    "gateway_timeout": lambda _: Sent(504),
    "overloaded": lambda _: refusal(529, "overloaded"),
    "redirected": lambda _: Sent(307, headers={"Location": "http://127.0.0.1:1/v1/chat/completions"}),
    "closed_without_a_word": lambda _: Sent(cut=-1),
    "cut_off": _cut,
    "cut_off_in_a_chunk": _cut_chunked,
    "html_with_status_200": _html,
    "empty_body": lambda _: Sent(headers={"Content-Type": "application/json"}),
    "broken_json": lambda good: Sent(body=json.dumps(good).encode()[:-7], headers={"Content-Type": "application/json"}),
    "another_json": lambda _: as_json(["not", "a", "completion"]),
    "error_with_status_200": lambda _: as_json({"error": {"message": "Something broke."}}),
    "no_choices": lambda good: as_json({**good, "choices": []}),
    "choices_null": lambda good: as_json({**good, "choices": None}),
    "several_choices": lambda good: as_json({**good, "choices": good["choices"] * 2}),
    "content_null": message(content=None),
    "content_in_parts": message(content=[{"type": "text", "text": "Hello"}]),
    "tool_call": message(tool_calls=[TOOL_CALL]),
    "aborted": choice(finish_reason="abort"),
    "no_finish_reason": choice(finish_reason=None),
    "encoding_that_is_none": lambda good: Sent(body=json.dumps(good).encode(), headers={"Content-Encoding": "gzip"}),
    "lone_surrogate": lambda good: Sent(body=json.dumps(completion_with(good, content="\ud800")).encode()),
}
"""Ways to fail that pass: the next try may be answered."""

OF_COMPLETIONS = frozenset(
    {
        *("no_choices", "choices_null", "several_choices", "content_null", "content_in_parts", "tool_call", "aborted"),
        *("no_finish_reason", "lone_surrogate"),
    }
)
"""Those of them that spoil a completion, and no other answer."""

FINAL: Mapping[str, Callable[[Body], Sent]] = {
    "key_refused": lambda _: refusal(401, "invalid_api_key"),
    "forbidden": lambda _: refusal(403, "permission_denied"),
    "quota_spent": lambda _: refusal(429, "insufficient_quota"),
    "payment_required": lambda _: refusal(402, "payment_required"),
    "model_unknown": lambda _: refusal(404, "model_not_found"),
    "model_unknown_with_400": lambda _: refusal(400, "model_not_found"),
    "bad_request": lambda _: refusal(400, "context_length_exceeded"),
    "unprocessable": lambda _: refusal(422, "unprocessable"),
}
"""Ways to fail that stay."""

ODD: Mapping[str, Callable[[Body], Sent]] = {
    "usage_negative": lambda good: as_json({**good, "usage": {"prompt_tokens": -1, "completion_tokens": 1}}),
    "gzip_unasked": lambda good: Sent(
        body=gzip.compress(json.dumps(good).encode()), headers={"Content-Encoding": "gzip"}
    ),
    "hangs": lambda _: Sent(hangs=True),
    "body_of_100_mb": lambda _: Sent(body=b" " * 100_000_000, headers={"Content-Type": "application/json"}),
    "drips": lambda good: Sent(body=json.dumps(good).encode(), drips=True),
    "endless_body": lambda _: Sent(body=b"100000\r\n" + b" " * 0x100000 + b"\r\n", cut=-2),
}
"""Ways that take time or memory, or that a careless client takes for answers: for tests that name them."""

WAYS = {**PASSING, **FINAL, **ODD}


@dataclass
class Server:
    """What it answers, how it fails, and what it has counted. `failing` is a way for all requests, or its name.

    More than `most_at_once` requests together are refused with 429, where that is set.
    `asked` and `answered` count by request (a hash of the body), `ways` by way of failing. An answer counts once all of
    it was written to the socket.
    """

    answer: Answer = echo
    failures: float = 0.0
    seed: int = 0
    latency_seconds: float = 0.0
    failing: str | Callable[[Body], Sent] | None = None
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    keeps_requests: bool = True
    most_at_once: int | None = None
    in_flight: int = 0
    most_in_flight: int = 0

    async def _completed(self, body: Body) -> Body:
        answer = self.answer(body)
        return completion(await answer if isinstance(answer, Awaitable) else answer)

    async def reply(self, body: Body) -> tuple[str, Sent, bool]:
        """A request's name, what is sent, and whether that is the answer."""
        name = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        turn = random.Random(f"{self.seed}/{name}/{self.asked[name]}")
        self.asked[name] += 1
        is_moderation = "input" in body
        ways = [way for way in PASSING if not (is_moderation and way in OF_COMPLETIONS)]
        way = turn.choice(ways) if turn.random() < self.failures else self.failing
        good = moderation(body) if is_moderation else await self._completed(body)
        if way is None:
            return name, as_json(good), True
        self.ways[str(way)] += 1
        return name, (WAYS[way] if isinstance(way, str) else way)(good), False


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as much of it as the openai client speaks; one request after another."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, found, rest = self._unread.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._unread = rest[length:]
        asyncio.get_running_loop().create_task(self._handle(first, headers, rest[:length]))

    async def _handle(self, first: str, headers: Mapping[str, str], body: bytes) -> None:
        server = self._server
        if first.startswith("GET /v1/models"):
            return self._send(as_json({"object": "list", "data": [{"id": "loopback-1", "object": "model"}]}))
        if not first.startswith(("POST /v1/chat/completions", "POST /v1/moderations")):
            return self._send(refusal(404, "not_found"))
        asked = json.loads(body)
        if server.keeps_requests:
            server.headers.append(headers)
            server.bodies.append(asked)
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)
        if server.most_at_once is not None and server.in_flight > server.most_at_once:
            server.in_flight -= 1
            server.ways["too_many_at_once"] += 1
            return self._send(refusal(429, "rate_limit_exceeded"))
        if server.latency_seconds:
            await asyncio.sleep(server.latency_seconds)
        server.in_flight -= 1
        name, sent, is_answer = await server.reply(asked)
        if self._transport.is_closing():
            return None
        self._send(sent)
        if is_answer:
            server.answered[name] += 1
        return None

    def _send(self, sent: Sent) -> None:
        if sent.hangs:
            return
        if sent.cut == -1:
            self._transport.close()
            return
        headers = dict(sent.headers)
        if sent.cut == -2:
            headers["Transfer-Encoding"] = "chunked"
        if "Transfer-Encoding" not in headers:
            headers["Content-Length"] = str(len(sent.body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {sent.status} Loopback\r\n{lines}\r\n".encode()
        if sent.drips:
            self._transport.write(head)
            self._drip(sent.body)
        elif sent.cut == -2:
            self._transport.write(head + sent.body * 64)
        elif sent.cut is not None:
            self._transport.write(head + sent.body[: sent.cut])
            self._transport.close()
        else:
            self._transport.write(head + sent.body)

    def _drip(self, rest: bytes) -> None:
        if rest and not self._transport.is_closing():
            self._transport.write(rest[:1])
            asyncio.get_running_loop().call_later(0.05, self._drip, rest[1:])


class Loopback:
    """A server in a thread, as a context: `with Loopback(Server()) as url`. It stops with the block."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        self._ready.wait(10)
        return f"http://127.0.0.1:{self._port}/v1"

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        connections: set[asyncio.BaseTransport] = set()

        class Noted(Connection):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                connections.add(transport)
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                connections.discard(self._transport)

        listening = await self._loop.create_server(lambda: Noted(self._server), "127.0.0.1", 0)
        self._port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listening.close()
        for transport in list(connections):
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)


def main() -> None:
    """Serve until standard input ends; then print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--failures", type=float, default=0.0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0, help="the longest life")
    asked = parser.parse_args()
    server = Server(failures=asked.failures, latency_seconds=asked.latency, seed=asked.seed, keeps_requests=False)
    with Loopback(server) as url:
        print(url, flush=True)
        end = threading.Timer(asked.seconds, os._exit, [1])
        end.daemon = True
        end.start()
        sys.stdin.read()
    counts = {"asked": server.asked.total(), "answered": dict(server.answered), "ways": dict(server.ways)}
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
