"""The section of a recipe on supervised tuning: instruction rows with N safety examples mixed in.

This file owns the words that a user may write of it; the rest is in `recipe`. It knows no room.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from cst.recipe_data import DataFile
from cst.recipe_training import TrainingSettings
from cst.records import Record, Text


class DemonstrationFile(DataFile):
    """Demonstrations in a user's own file."""

    kind: Literal["file"] = Field(description="Demonstrations of a file.")
    n: int | None = Field(default=None, ge=1, description="So many of its rows, drawn at random; all by default.")
    license: Text | None = Field(default=None, description="Its licence, as the Hub calls it, for the card.")


class MiniatureDemonstrations(Record):
    """Demonstrations of the embedded miniature world."""

    kind: Literal["miniature"] = Field(description="Demonstrations of the embedded world.")
    n: int = Field(ge=1, description="How many.")
    seed: int = Field(default=0, description="Which ones.")


DemonstrationSource: TypeAlias = Annotated[DemonstrationFile | MiniatureDemonstrations, Field(discriminator="kind")]


class MixtureSettings(Record):
    """Rows of supervised tuning: instructions, and one model for each number of safety examples among them."""

    instructions: Annotated[tuple[DemonstrationSource, ...], Field(min_length=1)] = Field(
        description="Where instruction rows come from; all models are trained on the same ones."
    )
    safety: tuple[DemonstrationSource, ...] = Field(
        default=(), description="Where safety examples come from; fewer of them are the first of more."
    )
    safety_counts: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0, 100, 300, 500, 1000, 1500, 2000),
        description="Numbers of safety examples: `safety-100` is the model with 100. Without `safety` there is one "
        "model, `sft`.",
    )
    validation_rows: int = Field(
        default=0, ge=0, description="Rows of each mixture that are set apart for the validation loss."
    )
    close_to_held_out: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Drop rows whose prompts share so many words with a held-out one (Jaccard); by default those alone "
        "that ask the same.",
    )
    seed: int = Field(default=0, ge=0, description="Which rows, and their order.")

    @property
    def models(self) -> dict[str, int]:
        """The models to train, by name, with their number of safety examples."""
        return {f"safety-{n}": n for n in self.safety_counts} if self.safety else {"sft": 0}

    @model_validator(mode="after")
    def _counts_differ(self) -> "MixtureSettings":
        if self.safety and (not self.safety_counts or len(set(self.safety_counts)) < len(self.safety_counts)):
            raise ValueError(f"safety_counts={list(self.safety_counts)} names no number, or one twice; name each once")
        return self


def refuse_misfit(
    mixture: MixtureSettings | None, training: TrainingSettings, *, models: Sequence[str], preferences: Sequence[str]
) -> None:
    """Make sure that a recipe's method has its rows and its models.

    `preferences` are the sections that make preferences, among those that the recipe has.

    Raises:
        ValueError: It hasn't.
    """
    if (training.method == "sft") != (mixture is not None):
        there = "there is no section mixture" if mixture is None else "there is a section mixture"
        raise ValueError(f"training.method is {training.method}, and {there}; sft needs it, dpo takes none")
    if mixture is None:
        return
    if set(models) != mixture.models.keys():
        raise ValueError(f"models names {list(models)}, and the mixture makes {list(mixture.models)}; leave models out")
    for section in preferences:
        raise ValueError(f"{section} makes preferences, and training.method=sft takes the mixture; leave it out")
