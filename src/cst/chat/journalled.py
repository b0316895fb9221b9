"""Never asking twice: `Journalled` stands in front of any chat model and writes down every call.

A call is in the journal before it is sent, and a unit's replies before anyone sees them; a unit that is in the journal
is not asked again. This file knows no model and no stage.
"""

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import final

from cst.chat.base import ChatModel, ChatReply, ChatRequest
from cst.chat.costs import FREE, cost_of, highest_cost
from cst.chat.pace import Pace
from cst.errors import EndpointError
from cst.journal import Call, Journal
from cst.recipe.models import Prices
from cst.records import Sampling
from cst.store import fingerprint


@final
class Journalled:
    """A chat model whose calls and answers are written down.

    The key of a unit holds the model's fingerprint, the sampling and all requests of the unit: a unit's replies are a
    function of exactly these, so an answer found is the answer that would be made.
    """

    def __init__(self, chat: ChatModel, journal: Journal, *, prices: Prices = FREE) -> None:
        self._chat = chat
        self._journal = journal
        self._prices = prices
        self._turns: dict[str, threading.Lock] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self._chat.name

    @property
    def fingerprint(self) -> str:
        """The model's fingerprint."""
        return self._chat.fingerprint

    @property
    def prices(self) -> Prices:
        """What the model's tokens cost."""
        return self._prices

    @property
    def pace(self) -> Pace:
        """The model's pace."""
        return self._chat.pace

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """The model's plan."""
        return self._chat.plan(requests)

    def key(self, unit: Sequence[ChatRequest], sampling: Sampling) -> str:
        """Under which a unit's replies stand in the journal."""
        return fingerprint(self._chat.fingerprint, sampling, list(unit))

    def new_calls(self, requests: Sequence[ChatRequest], sampling: Sampling) -> list[list[ChatRequest]]:
        """The units that are not in the journal yet: what `complete` would ask, for a plan of its cost."""
        units = [[requests[index] for index in indices] for indices in self.plan(requests)]
        return [unit for unit in units if self._journal.get(self.key(unit, sampling)) is None]

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        """The replies from the journal, or the model's, committed before they are returned.

        Raises:
            BudgetError: The journal's budget might not suffice for the call, which was not made.
            EndpointError: The model's own; the failed call is in the journal.
        """
        key = self.key(unit, sampling)
        with self._turn(key):
            found = self._journal.get(key)
            if found is not None:
                return [ChatReply.model_validate(reply) for reply in found]
            return self._ask(key, unit, sampling)

    @contextmanager
    def _turn(self, key: str) -> Generator[None]:
        """One thread at a time for a key: who comes second finds the answer of who came first.

        The lock is forgotten once there is an answer: until then, whoever comes must wait for whoever waits already.
        """
        with self._turns.setdefault(key, threading.Lock()):
            yield
            self._turns.pop(key, None)

    def _ask(self, key: str, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        call = Call(
            key=key,
            what=unit[0].id if len(unit) == 1 else f"{unit[0].id} and {len(unit) - 1} more",
            model=self._chat.name,
            cost=sum(highest_cost(request, sampling, self._prices) for request in unit),
        )
        number = self._journal.begin(call)
        started = time.monotonic()
        try:
            replies = self._chat.answer(unit, sampling)
        except EndpointError as failure:
            self._journal.end(number, _failed(call, failure, time.monotonic() - started))
            raise
        self._journal.end(number, self._answered(call, replies, time.monotonic() - started), replies)
        return replies

    def _answered(self, call: Call, replies: Sequence[ChatReply], seconds: float) -> Call:
        known = [r for r in replies if r.prompt_tokens is not None and r.completion_tokens is not None]
        counted = {
            "prompt_tokens": sum(reply.prompt_tokens or 0 for reply in known),
            "completion_tokens": sum(reply.completion_tokens or 0 for reply in known),
            "cost": sum(cost_of(r.prompt_tokens or 0, r.completion_tokens or 0, self._prices) for r in known),
        }
        told = counted if len(known) == len(replies) else {}  # else the highest cost still stands
        return call.model_copy(update={"outcome": "answered", "seconds": round(seconds, 3), **told})


def _failed(call: Call, failure: EndpointError, seconds: float) -> Call:
    told = {"outcome": failure.kind, "status": failure.status, "seconds": round(seconds, 3)}
    return call.model_copy(update=told if failure.may_have_cost else {**told, "cost": 0})
