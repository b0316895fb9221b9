"""Pairs and drops to their files as they come, and their counts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from cst.store import record_writer
from cst.synthesis.critique import Synthesis
from cst.synthesis.gates import SynthesisSummary


def write_chunks(chunks: Iterable[Synthesis], pairs: Path, drops: Path) -> list[SynthesisSummary]:
    """Write what comes of a synthesis, chunk by chunk, to two files that are there when it is done; counts a task.

    Raises:
        DataError: The system doesn't let a file be written.
    """
    summaries: list[SynthesisSummary] = []
    with record_writer(pairs) as write_pairs, record_writer(drops) as write_drops:
        for chunk in chunks:
            write_pairs(chunk.pairs)
            write_drops(chunk.drops)
            summaries = add_up([*summaries, *chunk.summary])
    return summaries


def add_up(summaries: Sequence[SynthesisSummary]) -> list[SynthesisSummary]:
    """One summary a task, tasks and reasons in alphabetical order."""
    tasks = sorted({summary.task for summary in summaries})
    return [_sum([summary for summary in summaries if summary.task == task]) for task in tasks]


def _sum(parts: Sequence[SynthesisSummary]) -> SynthesisSummary:
    drops: Counter[str] = Counter()
    for part in parts:
        drops.update(part.drops)
    return SynthesisSummary(
        task=parts[0].task,
        prompts=sum(part.prompts for part in parts),
        pairs=sum(part.pairs for part in parts),
        drops=dict(sorted(drops.items())),
    )
