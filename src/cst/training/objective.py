"""What a training minimises, as far as its loop knows it: log-probs of rows in, losses, meters and a line out."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from cst.training.logps import ResponseLogps
from cst.training.meters import StepLine


class Objective(Protocol):
    """What is made of the log-probs of rows, which are known by their numbers."""

    @property
    def width(self) -> int:
        """How many meters a row has."""
        ...

    def units(self, rows: Sequence[int]) -> int:
        """What the sum of these rows' losses is divided by to give that of a step: how many rows, or tokens."""
        ...

    def terms(self, rows: Sequence[int], scored: ResponseLogps) -> tuple[Tensor, Tensor]:
        """Of B rows with log-probs [B, sequences of a row]: losses with their gradient [B], and meters [B, width].

        Both are float64; the first meter is the loss, and none carries a gradient.
        """
        ...

    def line(
        self, rows: Sequence[int], meters: Tensor, *, step: int, epoch: float, learning_rate: float, grad_norm: float
    ) -> StepLine:
        """What is told of a step, of the meters of all its N rows, [N, width]."""
        ...

    def check_start(self, meters: Tensor, *, is_exact: bool) -> None:
        """Make sure that the meters of the first step are those of the start model, as far as that can be told.

        Low bits may differ, and more than these where the model isn't exact, but computed in 16 bits.

        Raises:
            TrainingError: They aren't.
        """
        ...
