"""What a recipe's `miniature` stands for: an embedded world that brings its own prompts, judge and start model.

The core knows a world by this protocol alone, so that it needs no annex; `cst.miniature.WORLD` is the one that ships.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from cst.records import Demonstration, MultipleChoiceItem, Prompt, SafetyConfiguration, Side

WorldTask: TypeAlias = Literal["harmless", "truthfulness", "over_refusal"]


class World(Protocol):
    """A world whose prompts are drawn by seed and whose answers can be judged exactly.

    Training and evaluation prompts share none. `n` prompts or demonstrations are distinct, and the same for the same
    seed; DataError is raised where there are fewer.
    """

    def model_path(self) -> Path:
        """The folder of the start model, which a recipe's `path: miniature` names."""
        ...

    def configurations(self) -> Sequence[SafetyConfiguration]:
        """The safety configurations that `configurations: miniature` stands for."""
        ...

    def training_prompts(self, n: int, *, task: WorldTask, seed: int) -> Sequence[Prompt]:
        """Prompts to synthesize pairs from."""
        ...

    def evaluation_prompts(self, n: int, *, task: WorldTask, seed: int) -> Sequence[Prompt]:
        """Prompts to score models on."""
        ...

    def instruction_demonstrations(self, n: int, *, seed: int) -> Sequence[Demonstration]:
        """Instructions that are simply followed, for supervised tuning."""
        ...

    def safety_demonstrations(self, n: int, *, seed: int) -> Sequence[Demonstration]:
        """Hazardous requests that are refused, for supervised tuning."""
        ...

    def capability_items(self) -> Sequence[MultipleChoiceItem]:
        """The multiple-choice sets that `capabilities.tasks: miniature` stands for."""
        ...

    def judge(self, prompt: Prompt, text: str) -> Side | None:
        """The side that an answer shows, or None where it shows neither; the judge of `kind: miniature`."""
        ...
