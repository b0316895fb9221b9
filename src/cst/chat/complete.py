"""Asking a chat model for a whole work list, unit by unit, as many at once as its pace allows, with progress.

A unit whose call failed for a passing reason is asked again later, while others take its place. This file knows no
model, no journal and no stage.
"""

import heapq
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeAlias, final

from cst.chat.base import ChatModel, ChatReply, ChatRequest
from cst.errors import EndpointError
from cst.progress import track
from cst.records import Sampling

Answered: TypeAlias = tuple[list[int], list[ChatReply]]
"""A unit's indices and its replies; both empty for a call that failed and is made again."""


def complete(
    chat: ChatModel, requests: Sequence[ChatRequest], sampling: Sampling, *, description: str
) -> list[ChatReply]:
    """One reply a request, in the order of the requests, whichever came first.

    A failure that asking again can't mend, an interrupt too, stops new calls; those in hand end first, so that a
    journal in front of the model has their answers.

    Raises:
        EndpointError: A unit failed for good, or as often as the model's pace bears; it says how often.
    """
    replies: dict[int, ChatReply] = {}
    asking = _Asking(chat, requests, sampling)
    with closing(asking.answers()) as answers:
        for unit, found in track(
            answers, description=description, total=len(requests), weight=lambda a: len(a[0]), note=asking.retried
        ):
            replies.update(zip(unit, found, strict=True))
    return [replies[index] for index in range(len(requests))]


@dataclass(order=True)
class _Try:
    """A unit that is due from some time on, and how its calls failed since `begun`; `order` settles equal times."""

    due: float
    order: int
    unit: list[int] = field(compare=False)
    begun: float = field(compare=False)
    failures: tuple[str, ...] = field(default=(), compare=False)


@final
class _Asking:
    """A work list on its way through a model: workers take what is due, and put back what failed passingly."""

    def __init__(self, chat: ChatModel, requests: Sequence[ChatRequest], sampling: Sampling) -> None:
        self._chat, self._requests, self._sampling = chat, requests, sampling
        plan = chat.plan(requests)
        self._units = len(plan)
        self._fresh = (_Try(0.0, order, unit, time.monotonic()) for order, unit in enumerate(plan))
        self._again: list[_Try] = []
        self._failed: Counter[str] = Counter()
        self._answered = self._in_hand = 0
        self._resumes = 0.0
        self._is_stopped = False
        self._changed = threading.Condition()
        self._ended: SimpleQueue[Answered | BaseException] = SimpleQueue()

    def answers(self) -> Generator[Answered]:
        """Units with their replies, as they come; a model that takes one call at a time is asked in this thread."""
        workers = min(self._chat.pace.most, self._units)
        return self._from_workers(workers) if workers > 1 else self._from_here()

    def retried(self) -> str:
        """How many calls failed and were, or will be, made again, by kind; nothing where none did."""
        with self._changed:
            failed = self._failed.copy()
        return f"{failed.total()} retried: {_by_kind(failed)}" if failed else ""

    def _from_here(self) -> Generator[Answered]:
        while tried := self._take():
            yield self._ask(tried)

    def _from_workers(self, workers: int) -> Generator[Answered]:
        threads = [threading.Thread(target=self._work, name=f"{self._chat.name}-{n}") for n in range(workers)]
        for thread in threads:
            thread.start()
        try:
            left = self._units
            while left:
                ended = self._ended.get()
                if isinstance(ended, BaseException):
                    raise ended
                left -= bool(ended[0])
                yield ended
        finally:
            self._stop()
            for thread in threads:
                thread.join()

    def _work(self) -> None:
        try:
            while tried := self._take():
                self._ended.put(self._ask(tried))
        except BaseException as error:
            self._stop()
            self._ended.put(error)

    def _stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _take(self) -> _Try | None:
        """The next unit to ask, once there is one; None once all are answered, or work is stopped."""
        with self._changed:
            while self._answered < self._units and not self._is_stopped:
                if tried := self._due():
                    self._in_hand += 1
                    self._changed.notify()  # somebody must now wait for what is due next
                    return tried
                self._changed.wait(self._seconds_until_due())
        return None

    def _due(self) -> _Try | None:
        """A unit that may be asked now, those that failed before first."""
        now = time.monotonic()
        if self._in_hand >= self._chat.pace.in_flight or now < self._resumes:
            return None
        if self._again and self._again[0].due <= now:
            return heapq.heappop(self._again)
        return next(self._fresh, None)

    def _seconds_until_due(self) -> float | None:
        """For how long nothing can be asked; None where that depends on calls in hand."""
        now = time.monotonic()
        if self._in_hand >= self._chat.pace.in_flight:
            return None
        if now < self._resumes:
            return self._resumes - now
        return self._again[0].due - now if self._again else None

    def _ask(self, tried: _Try) -> Answered:
        """The answer; an empty one where the unit is to be asked again."""
        try:
            replies = self._chat.answer([self._requests[index] for index in tried.unit], self._sampling)
        except EndpointError as failure:
            self._put_back(tried, failure)
            return [], []
        with self._changed:
            self._answered += 1
            self._end_call(None)
        return tried.unit, replies

    def _put_back(self, tried: _Try, failure: EndpointError) -> None:
        pace, failures = self._chat.pace, (*tried.failures, failure.kind)
        wait = pace.wait_seconds(failure, len(failures))
        if wait is None:
            if len(failures) == 1:
                raise failure
            raise _given_up(failure, failures, tried.begun) from failure
        with self._changed:
            self._failed[failure.kind] += 1
            self._end_call(failure)
            now = time.monotonic()
            self._resumes = max(self._resumes, now + pace.pause_seconds(failure))
            heapq.heappush(self._again, _Try(now + wait, tried.order, tried.unit, tried.begun, failures))

    def _end_call(self, failure: EndpointError | None) -> None:
        """Note how a call ended, and wake as many workers as may go on; the lock is held."""
        pace = self._chat.pace
        self._in_hand -= 1
        pace.note(failure)
        self._changed.notify(self._units if self._answered == self._units else max(1, pace.in_flight - self._in_hand))


def _given_up(failure: EndpointError, kinds: Sequence[str], begun: float) -> EndpointError:
    """The last failure of a unit, saying how often and for how long the unit was asked; `begun` is monotonic."""
    seconds, counts = time.monotonic() - begun, _by_kind(Counter(kinds))
    return failure.saying(
        f"Given up after {len(kinds)} calls in {seconds:.0f} s ({counts}); the last, {failure.kind}: {failure}"
    )


def _by_kind(failed: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in failed.most_common())
