"""The recipe sections that name data: prompts, preference rows, and the rows of supervised tuning."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from cst.records import Record, Text


class DataFile(Record):
    """A user's own rows. Invalid rows are reported, and written to the run folder's `quarantine/`."""

    path: Path = Field(
        description="JSONL, JSON, CSV, TSV, text, Parquet or `.gz`; or `hub:OWNER/NAME[@REVISION][:CONFIG][:SPLIT]`."
    )
    format: Text | None = Field(
        default=None, description="The rows' format (docs/data.md); by default recognised by the columns."
    )
    columns: dict[Text, Text] = Field(
        default={}, description="Maps the format's column names to the file's: `prompt: my_question`."
    )
    skip_bad_rows: bool = Field(default=False, description="Skip and count invalid rows instead of stopping.")


FileName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that is also a file name: letters, digits, dot, underscore and hyphen."""

HeldOutShare: TypeAlias = Annotated[
    float, Field(ge=0, lt=1, description="Share held out for evaluation, in whole near-duplicate groups.")
]


class MiniaturePrompts(Record):
    """Prompts of the built-in miniature world."""

    kind: Literal["miniature"] = Field(description="Prompts of the miniature world.")
    task: Literal["harmless", "truthfulness", "over_refusal"] = Field(description="The task.")
    n: int = Field(ge=1, description="How many prompts.")
    seed: int = Field(default=0, description="Selects the prompts.")


class PromptFile(DataFile):
    """Prompts in a file."""

    kind: Literal["file"] = Field(description="Prompts in a file.")
    task: Text = Field(default="harmless", description="The task of rows that name none.")
    n: int | None = Field(default=None, ge=1, description="Take the first n rows; all by default.")


PromptSource: TypeAlias = Annotated[MiniaturePrompts | PromptFile, Field(discriminator="kind")]


class PromptSettings(Record):
    """The prompts: some to train on, others held out for evaluation."""

    training: tuple[PromptSource, ...] = Field(default=(), description="Prompts for synthesis.")
    held_out: tuple[PromptSource, ...] = Field(default=(), description="Prompts for evaluation only.")
    held_out_share: HeldOutShare = 0.0


class PreferenceFile(DataFile):
    """Existing preference rows, instead of prompts, synthesis and conditioning."""

    held_out_share: HeldOutShare = 0.0


class DemonstrationFile(DataFile):
    """Demonstrations in a file."""

    kind: Literal["file"] = Field(description="Demonstrations in a file.")
    n: int | None = Field(default=None, ge=1, description="Draw n rows at random; all by default.")
    license: Text | None = Field(default=None, description="The file's licence, as the Hub writes it, for the card.")


class MiniatureDemonstrations(Record):
    """Demonstrations of the built-in miniature world."""

    kind: Literal["miniature"] = Field(description="Demonstrations of the miniature world.")
    n: int = Field(ge=1, description="How many.")
    seed: int = Field(default=0, description="Selects the rows.")


DemonstrationSource: TypeAlias = Annotated[DemonstrationFile | MiniatureDemonstrations, Field(discriminator="kind")]


class MixtureSettings(Record):
    """Rows of supervised tuning: instructions, and one model per number of safety examples among them."""

    instructions: Annotated[tuple[DemonstrationSource, ...], Field(min_length=1)] = Field(
        description="Instruction rows; the same for all models."
    )
    safety: tuple[DemonstrationSource, ...] = Field(
        default=(), description="Safety examples. A smaller number takes the first examples of a larger one."
    )
    safety_counts: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0, 100, 300, 500, 1000, 1500, 2000),
        description="Numbers of safety examples; 100 trains the model `safety-100`. Without `safety` there is one "
        "model, `sft`.",
    )
    validation_rows: int = Field(default=0, ge=0, description="Rows of each mixture kept for the validation loss.")
    close_to_held_out: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Drop rows whose prompt has at least this Jaccard similarity of words to a held-out prompt; by "
        "default only rows with the same prompt.",
    )
    seed: int = Field(default=0, ge=0, description="Selects the rows and their order.")

    @property
    def models(self) -> dict[str, int]:
        """The models to train, by name, with their number of safety examples."""
        return {f"safety-{n}": n for n in self.safety_counts} if self.safety else {"sft": 0}

    @model_validator(mode="after")
    def _counts_differ(self) -> "MixtureSettings":
        if self.safety and (not self.safety_counts or len(set(self.safety_counts)) < len(self.safety_counts)):
            raise ValueError(f"safety_counts={list(self.safety_counts)} is empty or repeats a number; name each once")
        return self
