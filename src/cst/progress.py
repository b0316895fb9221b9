"""Progress of long work on standard error: a bar on a terminal, plain lines elsewhere."""

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
"""If standard error is not a terminal, at most one line in this time, and one at the end."""


def track(
    items: Iterable[T],
    *,
    description: str,
    total: int | None = None,
    done: int = 0,
    weight: Callable[[T], int] = lambda _item: 1,
    note: Callable[[], str] = lambda: "",
) -> Iterator[T]:
    """Yield the items and show progress.

    `total` is all the work, `done` the work finished before a resumed run. An item counts as `weight(item)`: a batch
    as its rows, or 0 to refresh only. Without `total`, the weights of a sequence are summed. `note()` is called after
    each item, and shown beside the count. Under torchrun only the first process shows progress.
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
    """One console for all bars, so that nested work gets its bar below the outer one."""
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
