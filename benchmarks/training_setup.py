"""What a training that is compared with another does: the same start model, rows, adapter and learning rate for all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cst.models.loading import Quantization
from cst.records import Preference

LEARNING_RATE = 1e-3
"""Large enough that a few steps move the loss away from ln 2, so that equal losses say something."""

LORA_RANK = 24

SEED = 0


@dataclass(frozen=True)
class Setup:
    """One training. Rows are taken in order, `rows_per_step` a step; `batch_size` of them share a forward pass.

    `weights` is the type of the start model's weights, `quantization` what its linear layers are kept in, as in a
    recipe; `bf16` is the autocast. The last two are trl's alone: `precomputed`
    reference log-probs, or a forward in the step; `compacted`: the head scores responses only, which trl does by itself
    on GPUs alone.
    """

    trainer: Literal["cst", "trl"]
    folder: Path
    rows: tuple[Preference, ...]
    rows_per_step: int
    device: str
    bf16: bool = True
    weights: Literal["float32", "bfloat16"] = "float32"
    quantization: Quantization = "none"
    batch_size: int = 2
    gradient_checkpointing: bool = False
    precomputed: bool = False
    compacted: bool = False

    @property
    def steps(self) -> int:
        """How many whole steps the rows make."""
        return len(self.rows) // self.rows_per_step
