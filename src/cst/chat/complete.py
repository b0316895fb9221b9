"""Asking a chat model for a whole work list, unit by unit, as many at once as its pace allows, with progress.

A unit whose call failed for a passing reason is asked again later, while others take its place. This file knows no
model, no journal and no stage.
"""

import heapq
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeAlias, final

from cst.chat.base import ChatModel, ChatReply, ChatRequest, Sampling
from cst.errors import EndpointError
from cst.progress import track

Answered: TypeAlias = tuple[list[int], list[ChatReply]]
"""A unit's indices and its replies."""


def complete(
    chat: ChatModel, requests: Sequence[ChatRequest], sampling: Sampling, *, description: str
) -> list[ChatReply]:
    """One reply a request, in the order of the requests, whichever came first.

    A failure that asking again can't mend, an interrupt too, stops new calls; those in hand end first, so that a
    journal in front of the model has their answers.

    Raises:
        EndpointError: A unit failed for good, or as often as the model's pace bears.
    """
    replies: dict[int, ChatReply] = {}
    with closing(_Asking(chat, requests, sampling).answers()) as answers:
        for unit, found in track(answers, description=description, total=len(requests), weight=lambda a: len(a[0])):
            replies.update(zip(unit, found, strict=True))
    return [replies[index] for index in range(len(requests))]


@dataclass(order=True)
class _Try:
    """A unit that is due from some time on, and has failed so often; `order` settles equal times."""

    due: float
    order: int
    unit: list[int] = field(compare=False)
    failures: int = field(compare=False)


@final
class _Asking:
    """A work list on its way through a model: workers take what is due, and put back what failed passingly."""

    def __init__(self, chat: ChatModel, requests: Sequence[ChatRequest], sampling: Sampling) -> None:
        self._chat, self._requests, self._sampling = chat, requests, sampling
        plan = chat.plan(requests)
        self._units = len(plan)
        self._fresh = (_Try(0.0, order, unit, 0) for order, unit in enumerate(plan))
        self._again: list[_Try] = []
        self._answered = 0
        self._is_stopped = False
        self._changed = threading.Condition()
        self._ended: SimpleQueue[Answered | BaseException] = SimpleQueue()

    def answers(self) -> Generator[Answered]:
        """Units with their replies, as they come; a model that takes one call at a time is asked in this thread."""
        workers = min(self._chat.pace.most, self._units)
        return self._from_workers(workers) if workers > 1 else self._from_here()

    def _from_here(self) -> Generator[Answered]:
        while tried := self._take():
            if answered := self._ask(tried):
                yield answered

    def _from_workers(self, workers: int) -> Generator[Answered]:
        threads = [threading.Thread(target=self._work, name=f"{self._chat.name}-{n}") for n in range(workers)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(self._units):
                ended = self._ended.get()
                if isinstance(ended, BaseException):
                    raise ended
                yield ended
        finally:
            self._stop()
            for thread in threads:
                thread.join()

    def _work(self) -> None:
        try:
            while tried := self._take():
                if answered := self._ask(tried):
                    self._ended.put(answered)
        except BaseException as error:
            self._stop()
            self._ended.put(error)

    def _stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _take(self) -> _Try | None:
        """The next unit that is due, those that failed before first; None once all are answered, or work is stopped."""
        with self._changed:
            while self._answered < self._units and not self._is_stopped:
                if self._again and self._again[0].due <= time.monotonic():
                    return heapq.heappop(self._again)
                if fresh := next(self._fresh, None):
                    return fresh
                self._changed.wait(self._again[0].due - time.monotonic() if self._again else None)
        return None

    def _ask(self, tried: _Try) -> Answered | None:
        """The answer; None where the unit is to be asked again."""
        try:
            replies = self._chat.answer([self._requests[index] for index in tried.unit], self._sampling)
        except EndpointError as failure:
            self._put_back(tried, failure)
            return None
        with self._changed:
            self._answered += 1
            if self._answered == self._units:
                self._changed.notify_all()
        return tried.unit, replies

    def _put_back(self, tried: _Try, failure: EndpointError) -> None:
        failures = tried.failures + 1
        wait = self._chat.pace.wait_seconds(failure, failures)
        if wait is None:
            raise failure
        with self._changed:
            heapq.heappush(self._again, _Try(time.monotonic() + wait, tried.order, tried.unit, failures))
            self._changed.notify()
