"""Progress of long work: a bar on a terminal, plain lines elsewhere, always on standard error.

This file knows nothing of what is being worked on, and is the only one that draws while work goes on.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 5.0
"""Where standard error is no terminal, at most one line in this time (and one at the end)."""


def track(
    items: Iterable[T],
    *,
    description: str,
    total: int | None = None,
    done: int = 0,
    weight: Callable[[T], int] = lambda _item: 1,
    note: Callable[[], str] = lambda: "",
) -> Iterator[T]:
    """Yield the items and show how far the work has come.

    `total` counts all the work, `done` what was finished before (a resumed run starts there). An item counts for
    `weight(item)`: a batch for its rows, 0 for a mere sign of life. Without `total`, a sequence of items is summed up.
    What `note()` says after an item stands beside the count. Of several processes under torchrun, the first one shows
    it.
    """
    if os.environ.get("RANK", "0") != "0":
        return iter(items)
    if total is None and isinstance(items, Sequence):
        total = done + sum(weight(item) for item in items)
    weighed = ((item, weight(item)) for item in items)
    draw = _bar if sys.stderr.isatty() else _lines
    return draw(weighed, description, total, done, note)


def _bar(
    items: Iterable[tuple[T, int]], description: str, total: int | None, done: int, note: Callable[[], str]
) -> Iterator[T]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=_console()) as progress:
        task = progress.add_task(description, total=total, completed=done, note="")
        for item, weight in items:
            yield item
            progress.update(task, advance=weight, note=note())


@cache
def _console() -> "Console":
    """One for all bars, so that work within other work gets its bar below the other's."""
    from rich.console import Console

    return Console(stderr=True)


def _lines(
    items: Iterable[tuple[T, int]], description: str, total: int | None, done: int, note: Callable[[], str]
) -> Iterator[T]:
    started = last = time.monotonic()
    count, told = done, None
    for item, weight in items:
        yield item
        count += weight
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            _line(description, count, total, now - started, note())
            last, told = now, count
    if told != count:
        _line(description, count, total, time.monotonic() - started, note())


def _line(description: str, count: int, total: int | None, seconds: float, note: str) -> None:
    of = f"/{total}" if total is not None else ""
    beside = f", {note}" if note else ""
    print(f"{description}: {count}{of} in {seconds:.0f} s{beside}", file=sys.stderr, flush=True)
