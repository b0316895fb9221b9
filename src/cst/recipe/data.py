"""The sections of a recipe that name data: any file of rows, and the rows of supervised tuning."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from cst.recipe.training import TrainingSettings
from cst.records import Record, Text


class DataFile(Record):
    """A user's own rows; bad ones are named, and written to the run folder's `quarantine/`."""

    path: Path = Field(
        description="JSONL, JSON, CSV, TSV, text, parquet, or `.gz`; or `hub:OWNER/NAME[@REVISION][:CONFIG][:SPLIT]`."
    )
    format: Text | None = Field(
        default=None, description="Name of the rows' format (docs/data.md); told by their columns if not named."
    )
    columns: dict[Text, Text] = Field(
        default={}, description="The format's column names, each with the file's own: `prompt: my_question`."
    )
    skip_bad_rows: bool = Field(default=False, description="Go on without bad rows (counted) instead of refusing them.")


FileName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that is also that of a file: letters, digits, dot, underscore and hyphen."""


class MiniaturePrompts(Record):
    """Prompts of the embedded miniature world."""

    kind: Literal["miniature"] = Field(description="Prompts of the embedded world.")
    task: Literal["harmless", "truthfulness", "over_refusal"] = Field(description="Which of the world's tasks.")
    n: int = Field(ge=1, description="How many prompts.")
    seed: int = Field(default=0, description="Which prompts.")


class PromptFile(DataFile):
    """Prompts in a user's own file."""

    kind: Literal["file"] = Field(description="Prompts of a file.")
    task: Text = Field(default="harmless", description="The task of rows that don't name one.")
    n: int | None = Field(default=None, ge=1, description="Take the first n rows; all by default.")


PromptSource: TypeAlias = Annotated[MiniaturePrompts | PromptFile, Field(discriminator="kind")]


class PromptSettings(Record):
    """Where x comes from: prompts to tune on, and held-out prompts to be scored on."""

    training: tuple[PromptSource, ...] = Field(default=(), description="Prompts that pairs are made from.")
    held_out: tuple[PromptSource, ...] = Field(default=(), description="Prompts for evaluation alone.")
    held_out_share: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the training prompts held out too: whole near-duplicate groups."
    )


class PreferenceFile(DataFile):
    """Preference rows made elsewhere, instead of prompts, pairs and conditioning."""

    held_out_share: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the rows held out as prompts: whole near-duplicate groups."
    )


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
