"""Trainings that take turns: each in a process of its own, one optimizer step at a time, while the others wait.

Only ratios of neighbouring steps mean anything on a machine that does other work too. A process of its own keeps one
training's settings, caches and patches from the next one's. This file knows no trainer.
"""

import ctypes
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Generic, TypeVar, final

import torch

S = TypeVar("S")
M = TypeVar("M")


@dataclass(frozen=True)
class Report:
    """One optimizer step. `loss` is of before the update, the mean over the step's rows.

    `reference_seconds` is what the reference's forward took where it isn't part of `seconds`. `peak_bytes`, where
    memory is weighed, is how far it rose above what was held before the step: resident on a CPU, allocated on a GPU.
    """

    loss: float
    seconds: float
    reference_seconds: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True)
class Ready:
    """A training that waits for its first turn: a digest of the tokens that it will train on."""

    tokens: str


@final
class Turns:
    """The end of the wire in the process that trains."""

    def __init__(self, wire: Connection, device: str, *, weighs: bool) -> None:
        """`weighs`: measure memory as well, which costs time in the step."""
        self._wire = wire
        self._device = device
        self._weighs = weighs
        self._held = self._peak = 0
        self._started = self._seconds = 0.0

    def ready(self, tokens: str) -> None:
        """Say that all is loaded."""
        self._wire.send(Ready(tokens))

    def wait(self) -> None:
        """Sleep until it is this training's turn. Raises SystemExit when there will be none."""
        try:
            self._wire.recv()
        except EOFError:
            raise SystemExit from None

    def start(self) -> None:
        """Begin to measure a step."""
        self._held = _held_bytes(self._device) if self._weighs else 0
        self._started = _now(self._device)

    def stop(self) -> None:
        """End to measure."""
        self._seconds = _now(self._device) - self._started
        self._peak = _peak_bytes(self._device) if self._weighs else 0

    def tell(self, loss: float, reference_seconds: float = 0.0) -> None:
        """Hand the turn back with what was measured."""
        self._wire.send(Report(loss, self._seconds, reference_seconds, self._peak - self._held))


@final
class Training(Generic[S]):
    """The other end: a training in a child process, which ends with this one."""

    def __init__(
        self, target: Callable[[S, Turns], None], setup: S, *, device: str, threads: int, weighs: bool = False
    ) -> None:
        """Start the child; `target` and `setup` must be picklable."""
        context = get_context("spawn")
        self._wire, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(target, setup, theirs, device, threads, weighs), daemon=True
        )
        self._process.start()
        theirs.close()

    def wait_until_ready(self) -> str:
        """Wait for the child to have loaded all; the digest of its tokens."""
        return self._received(Ready).tokens

    def step(self) -> Report:
        """Let the child take one optimizer step."""
        self._wire.send("step")
        return self._received(Report)

    def _received(self, kind: type[M]) -> M:
        try:
            message = self._wire.recv()
        except EOFError:
            raise SystemExit("a training ended before its time; its error is above") from None
        assert isinstance(message, kind), message
        return message

    def close(self) -> None:
        """End the child."""
        self._wire.close()
        self._process.join(timeout=30)
        self._process.kill()


def _serve(
    target: Callable[[S, Turns], None], setup: S, wire: Connection, device: str, threads: int, weighs: bool
) -> None:
    torch.set_num_threads(threads)
    with suppress(BrokenPipeError):
        target(setup, Turns(wire, device, weighs=weighs))


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _held_bytes(device: str) -> int:
    """What is held now; the peak counts from here on. What malloc keeps of freed memory is given back first."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM (man 5 proc)
    return _status_bytes("VmRSS")


def _peak_bytes(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else _status_bytes("VmHWM")


def _status_bytes(name: str) -> int:
    """A line of /proc/self/status, which counts in KiB."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])
