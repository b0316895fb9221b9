"""Progress of long work: a bar on a terminal, plain lines elsewhere, always on standard error.

This file knows nothing of what is being worked on, and is the only one that draws while work goes on.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

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
) -> Iterator[T]:
    """Yield the items and show how far the work has come.

    `total` counts all the work, `done` what was finished before (a resumed run starts there). An item counts for
    `weight(item)`: a batch for its rows. Without `total`, a sequence of items is summed up.
    """
    if total is None and isinstance(items, Sequence):
        total = done + sum(weight(item) for item in items)
    draw = _bar if sys.stderr.isatty() else _lines
    return draw(items, description, total, done, weight)


def _bar(items: Iterable[T], description: str, total: int | None, done: int, weight: Callable[[T], int]) -> Iterator[T]:
    from rich.console import Console
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
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task, weight(item))


def _lines(
    items: Iterable[T], description: str, total: int | None, done: int, weight: Callable[[T], int]
) -> Iterator[T]:
    started = last = time.monotonic()
    count, told = done, None
    for item in items:
        yield item
        count += weight(item)
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            _line(description, count, total, now - started)
            last, told = now, count
    if told != count:
        _line(description, count, total, time.monotonic() - started)


def _line(description: str, count: int, total: int | None, seconds: float) -> None:
    of = f"/{total}" if total is not None else ""
    print(f"{description}: {count}{of} in {seconds:.0f} s", file=sys.stderr, flush=True)
