"""One work list dealt out to several processes, each with a run folder of its own.

A prompt's shard is decided by its id alone, so that no process needs to know of the others.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cst.errors import RecipeError
from cst.records import Prompt
from cst.store import seed_of


@dataclass(frozen=True)
class Shard:
    """Number `index` of `of`, counted from 1."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def share(self, prompts: Iterable[Prompt]) -> Iterator[Prompt]:
        """The prompts that are this shard's, in their order."""
        return (prompt for prompt in prompts if self._number(prompt) == self.index)

    def _number(self, prompt: Prompt) -> int:
        return seed_of(f"shard\0{prompt.id}") % self.of + 1


def shard_of(text: str) -> Shard:
    """A shard as it is written: `2/4` is the second of four.

    Raises:
        RecipeError: It isn't, or there is no such shard.
    """
    written = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    index, of = (int(number) for number in written.groups()) if written else (0, 0)
    if not 1 <= index <= of:
        raise RecipeError(f"--shard {text} names no shard; write 1/4 to 4/4 for the four of four.")
    return Shard(index, of)
