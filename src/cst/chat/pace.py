"""How fast a chat model is asked: calls in flight, and waits before one is made again.

This file knows no model and no clock: it is told how each call ended, and answers with numbers.
"""

import random
from typing import final

from cst.errors import EndpointError

RATE_LIMITED = "rate_limited"
"""The kind of an `EndpointError` that asks for fewer calls at once (HTTP 429)."""

LONGEST_RETRY_AFTER_SECONDS = 600.0
"""A server may ask for this long a wait; what it asks beyond is cut."""


@final
class Pace:
    """The calls that may be in flight, between 1 and `most`, and the patience with those that failed.

    After each round of as many calls, the number in flight falls by half the share of rate-limited ones and rises by
    one: additive increase, and multiplicative decrease by the extent of congestion as in DCTCP (RFC 8257, section 3.3,
    with g = 1). A 429 among a hundred calls costs next to nothing, a round of nothing else halves the number.

    Waits are drawn uniformly from 0 to `first_wait_seconds` x 2^failures, at most `longest_wait_seconds`: "full
    jitter" of Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).

    It holds no lock: whoever makes the calls notes them one at a time.
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
        self._ended = self._limited = self._broken = self._dead_rounds = 0
        self._jitter = random.Random()  # clients that failed together must not come back together: no seed

    @property
    def in_flight(self) -> int:
        """Calls that may be in flight now."""
        return int(self._window)

    def note(self, failure: EndpointError | None) -> None:
        """Count a call that ended; after a round of them, adapt."""
        is_limited = failure is not None and failure.kind == RATE_LIMITED
        self._ended += 1
        self._limited += is_limited
        self._broken += failure is not None and not is_limited
        if self._ended >= self.in_flight:
            self._end_round()

    def _end_round(self) -> None:
        share = self._limited / self._ended
        window = self._window * (1 - share / 2) + (share < 1)
        self._window = min(max(window, 1.0), float(self.most))
        self._dead_rounds = self._dead_rounds + 1 if self._broken == self._ended else 0
        self._ended = self._limited = self._broken = 0

    def wait_seconds(self, failure: EndpointError, failures: int) -> float | None:
        """Seconds until a unit that has failed so often may be asked again; None: not again."""
        if failure.is_final or failures > self._retries:
            return None
        return _asked_for(failure) + self._drawn(failures)

    def pause_seconds(self, failure: EndpointError) -> float:
        """Seconds for which nothing at all is to be asked, now that a call has failed so.

        A server that limits some calls answers others: what it asks for holds for all once calls are made one at a
        time. Whole rounds without an answer say that the servers are down: a long work list mustn't run through them.
        """
        asked_for = _asked_for(failure) if self.in_flight == 1 else 0.0
        return max(asked_for, self._drawn(self._dead_rounds))

    def _drawn(self, failures: int) -> float:
        highest = min(self._longest_wait, self._first_wait * 2.0 ** min(failures - 1, 60))
        return self._jitter.uniform(0, highest) if failures else 0.0


def _asked_for(failure: EndpointError) -> float:
    return min(failure.retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS)
