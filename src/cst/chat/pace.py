"""How fast a chat model is asked: calls in flight, and waits before one is made again.

This file knows no model and no clock: it is told how each call ended, and answers with numbers.
"""

import random
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from cst.errors import EndpointError

RATE_LIMITED = "rate_limited"
"""The kind of an `EndpointError` that asks for fewer calls at once (HTTP 429)."""

LONGEST_RETRY_AFTER_SECONDS = 600.0
"""A server may ask for this long a wait; what it asks beyond is cut."""


@dataclass
class Turn:
    """A call's turn; whoever calls says how it failed, if it did."""

    failure: EndpointError | None = None


@final
class Pace:
    """The calls that may be in flight, between 1 and `most`, and the patience with those that failed.

    After each round of as many calls, the number in flight falls by half the share of rate-limited ones and rises by
    one: additive increase, and multiplicative decrease by the extent of congestion as in DCTCP (RFC 8257, section 3.3,
    with g = 1). A 429 among a hundred calls costs next to nothing, a round of nothing else halves the number.

    Waits are drawn uniformly from 0 to `first_wait_seconds` x 2^failures, at most `longest_wait_seconds`: "full
    jitter" of Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).

    Threads may share it.
    """

    def __init__(
        self,
        most: int = 1,
        *,
        retries: int = 0,
        first_wait_seconds: float = 0.5,
        longest_wait_seconds: float = 60.0,
    ) -> None:
        self.most = most
        self._retries = retries
        self._first_wait = first_wait_seconds
        self._longest_wait = longest_wait_seconds
        self._window = float(most)
        self._in_flight = self._ended = self._limited = 0
        self._changed = threading.Condition()
        self._jitter = random.Random()  # clients that failed together must not come back together: no seed

    @property
    def in_flight(self) -> int:
        """Calls that may be in flight now."""
        return int(self._window)

    @contextmanager
    def turn(self) -> Generator[Turn]:
        """Wait until one more call may be in flight; it is, until the block ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight < self.in_flight)
            self._in_flight += 1
        turn = Turn()
        try:
            yield turn
        finally:
            with self._changed:
                self._in_flight -= 1
                self._note(turn.failure)
                self._changed.notify(max(1, self.in_flight - self._in_flight))

    def _note(self, failure: EndpointError | None) -> None:
        """Count a call that ended; after a round of them, adapt."""
        self._ended += 1
        self._limited += failure is not None and failure.kind == RATE_LIMITED
        if self._ended >= self.in_flight:
            share = self._limited / self._ended
            window = self._window * (1 - share / 2) + (share < 1)
            self._window = min(max(window, 1.0), float(self.most))
            self._ended = self._limited = 0

    def wait_seconds(self, failure: EndpointError, failures: int) -> float | None:
        """Seconds until a unit that has failed so often may be asked again; None: not again."""
        if failure.is_final or failures > self._retries:
            return None
        highest = min(self._longest_wait, self._first_wait * 2.0 ** min(failures - 1, 60))
        asked_for = min(failure.retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS)
        return asked_for + self._jitter.uniform(0, highest)
