"""Several servers of one model: the least busy one is asked, an ailing one rests and is tried again.

This file knows no network: a replica is whatever is passed in.
"""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar, final

T = TypeVar("T")

FAILURES_BEFORE_REST = 3
"""Failures in a row after which a replica rests: one failure among good answers is bad luck."""

FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 30.0
"""A rest is twice as long as the one before, up to this."""


@final
class Replica(Generic[T]):
    """One server: its calls in flight, its failures in a row, and until when it rests."""

    def __init__(self, server: T) -> None:
        self.server = server
        self.in_flight = 0
        self.asked = 0
        self.failures = 0
        self.rests_until = 0.0

    def is_open(self, now: float) -> bool:
        """Whether it may be asked: after a rest, one call at a time until one is answered.

        The "half-open" state of a circuit breaker (Nygard, Release It!, 2007).
        """
        if self.failures < FAILURES_BEFORE_REST:
            return True
        return now >= self.rests_until and self.in_flight == 0

    def ended(self, now: float, *, is_ailing: bool) -> None:
        """Take note of how a call ended."""
        self.in_flight -= 1
        self.failures = self.failures + 1 if is_ailing else 0
        beyond = self.failures - FAILURES_BEFORE_REST
        if beyond >= 0:
            self.rests_until = now + min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** min(beyond, 30))


@dataclass
class Visit(Generic[T]):
    """A call at a server; whoever calls says whether the server showed itself to be ailing."""

    server: T
    is_ailing: bool = False


@final
class Replicas(Generic[T]):
    """Servers of one model. Threads may share it."""

    def __init__(self, servers: Sequence[T], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = [Replica(server) for server in servers]
        self._clock = clock
        self._lock = threading.Lock()

    @contextmanager
    def least_busy(self) -> Generator[Visit[T]]:
        """The server with the fewest calls in flight; of equals, the one that was asked least.

        Where all rest, one is asked all the same: whoever asks decides how patient to be.
        """
        replica = self._taken()
        visit = Visit(replica.server)
        try:
            yield visit
        finally:
            with self._lock:
                replica.ended(self._clock(), is_ailing=visit.is_ailing)

    def _taken(self) -> Replica[T]:
        with self._lock:
            now = self._clock()
            willing = [replica for replica in self._replicas if replica.is_open(now)] or self._replicas
            chosen = min(willing, key=lambda replica: (replica.in_flight, replica.asked))
            chosen.in_flight += 1
            chosen.asked += 1
            return chosen
