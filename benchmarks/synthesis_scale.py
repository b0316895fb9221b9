"""Self-critique over very many prompts by a model that costs nothing: time and memory against the number of prompts.

    python benchmarks/synthesis_scale.py --prompts 20000 40000

Each size is a process of its own: prompts are read from a file, answers are journalled, pairs and drops are written to
disk, as `cst synthesize` does. Prints one line of JSON a size: seconds, peak memory beyond that of the imports (MiB,
the system's `ru_maxrss`), and bytes a prompt on disk.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cst.chat.base import ChatReply, ChatRequest
from cst.chat.journalled import Journalled
from cst.chat.pace import Pace
from cst.journal import Journal
from cst.recipe import SelfCritiqueSettings, SynthesisSettings
from cst.records import Prompt, Sampling
from cst.store import stream_records, write_records
from cst.synthesis.critique import synthesize_in_chunks
from cst.synthesis.output import write_chunks

ANSWER = "First gather the wood, then whittle it with care, and at last sand what you made. " * 10
"""About 200 tokens, as an answer may have."""

METHOD = SelfCritiqueSettings(
    kind="self_critique",
    tasks=("harmless",),
    critique_request="What could be better in your answer?",
    revision_request="Write the better answer.",
)


class Parrot:
    """A chat model that gives every request an answer of its own and remembers nothing."""

    name = fingerprint = "parrot"

    def __init__(self) -> None:
        self.pace = Pace()

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Units of 64, in order."""
        return [list(range(first, min(first + 64, len(requests)))) for first in range(0, len(requests), 64)]

    def answer(self, unit: Sequence[ChatRequest], _: Sampling) -> list[ChatReply]:
        """The same words, and the request's id."""
        said = [f"{ANSWER}({request.id})" for request in unit]
        return [ChatReply(text=text, finish_reason="stop", prompt_tokens=50, completion_tokens=200) for text in said]


def prompts(n: int) -> Iterator[Prompt]:
    """So many prompts."""
    return (Prompt(id=f"p{k:08d}", text=f"How do I whittle a spoon of kind {k}?", task="harmless") for k in range(n))


def measure(n: int) -> dict[str, float]:
    """One size, in this process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder / "prompts.jsonl", prompts(n))
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        with Journal(folder / "journal.sqlite") as journal:
            chat = Journalled(Parrot(), journal)
            rows = stream_records(folder / "prompts.jsonl", Prompt)
            made = synthesize_in_chunks(rows, chat, SynthesisSettings(methods=(METHOD,)))
            (summary,) = write_chunks(made, folder / "pairs.jsonl", folder / "drops.jsonl")
        seconds = time.monotonic() - started
        return {
            "prompts": n,
            "pairs": summary.pairs,
            "seconds": round(seconds, 2),
            "memory_mib": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
            "pair_bytes": (folder / "pairs.jsonl").stat().st_size // n,
            "journal_bytes": (folder / "journal.sqlite").stat().st_size // n,
        }


def main() -> None:
    """Measure the sizes asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, nargs="+", default=[200_000])
    parser.add_argument("--here", action="store_true", help="measure in this process")
    asked = parser.parse_args()
    for n in asked.prompts:
        if asked.here:
            print(json.dumps(measure(n)), flush=True)
        else:
            subprocess.run([sys.executable, __file__, "--here", "--prompts", str(n)], check=True)


if __name__ == "__main__":
    main()
