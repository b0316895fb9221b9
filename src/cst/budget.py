"""The most that calls may come to, and what they have come to so far.

Money is in billionths of the currency's unit (`Ledger`), and in the unit itself where a user says it (`Budget`). This
file knows neither models nor files.
"""

import threading
from typing import Annotated, final

from pydantic import Field

from cst.errors import BudgetError
from cst.records import Record


class Budget(Record):
    """Limits that are never passed, earlier runs on the same journal included; None for no limit."""

    max_calls: Annotated[int, Field(ge=0)] | None = None
    max_cost: Annotated[float, Field(ge=0)] | None = None


@final
class Ledger:
    """Calls made and money spent or reserved; may be used from several threads.

    A call counts with the most that it may cost from before it is sent until its cost is known, and for ever if that
    never comes.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self.calls = 0
        self.cost = 0

    def reserve(self, cost: int) -> None:
        """Take one more call onto the books, at the most that it may cost.

        Raises:
            BudgetError: It might pass a limit; the books are as before.
        """
        limits = self._budget
        with self._lock:
            if limits.max_calls is not None and self.calls >= limits.max_calls:
                raise BudgetError(
                    f"The next call would be number {self.calls + 1}, and the budget is {limits.max_calls} calls. What "
                    "was answered is kept; raise the limit to go on."
                )
            if limits.max_cost is not None and self.cost + cost > limits.max_cost * 1e9:
                raise BudgetError(
                    f"The next call may cost {cost / 1e9:.6f}; {self.cost / 1e9:.6f} of {limits.max_cost} are "
                    "spent, or reserved for calls that never ended. What was answered is kept; raise the limit to "
                    "go on."
                )
            self.enter(cost)

    def enter(self, cost: int) -> None:
        """Take a call onto the books that was made before."""
        self.calls += 1
        self.cost += cost

    def correct(self, reserved: int, cost: int) -> None:
        """Replace what was reserved for a call by its cost."""
        with self._lock:
            self.cost += cost - reserved
