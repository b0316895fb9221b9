"""The section of a recipe that names who judges.

This file owns the words that a user may write of it; the rest is in `recipe`. It knows no room.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from cst.recipe_harm_judges import ClassifierSettings, GuardSettings, ModerationSettings
from cst.records import Record, Side, Text


class MiniatureJudgeSettings(Record):
    """The exact judge of the embedded world."""

    kind: Literal["miniature"] = Field(description="Exact, for the embedded world alone.")


class RefusalPhrasesSettings(Record):
    """A weak but free judge of refusals."""

    kind: Literal["refusal_phrases"] = Field(description="Looks for the phrases that refusals begin with: weak, free.")


class RubricFile(Record):
    """A judge prompt of a user's own, in a file (docs/judges.md)."""

    path: Path = Field(description="A text file with placeholders; or JSON, JSONL in the form of FastChat's prompts.")
    entry: Text | None = Field(default=None, description="Which of FastChat's prompts, where the file has several.")
    labels: dict[Text, Side | None] = Field(
        default={}, description="What the judge may answer, with its side (null: neither); else as the file says."
    )


class ChatJudgeSettings(Record):
    """A chat model that judges by rubrics (docs/judges.md)."""

    kind: Literal["chat"] = Field(description="A chat model judges by rubrics.")
    model: Text = Field(description="Its name in chat_models.")
    rubrics: dict[Text, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        default={
            "harmless": ("harmlessness",),
            "over_refusal": ("over_refusal",),
            "truthfulness": ("honesty", "persona"),
        },
        description="The rubrics of each task, ours or of rubric_files; several must name the same side.",
    )
    rubric_files: dict[Text, RubricFile] = Field(default={}, description="Rubrics of one's own, by name.")
    read: Literal["text", "logits"] = Field(
        default="text", description="The verdict that it writes; or, in this process, how likely each label is."
    )
    margin: float = Field(
        default=0.0, ge=0, lt=1, description="With `logits`: unscored if the sides' probabilities differ by no more."
    )
    temperature: float = Field(default=0.0, ge=0, le=5, description="0 is greedy.")
    max_new_tokens: int = Field(default=1024, ge=1, description="Longest reply in tokens; one that is cut is unscored.")
    seed: int = Field(default=0, ge=0, description="Nonces, and random numbers of sampled replies.")


SingleJudgeSettings: TypeAlias = (
    MiniatureJudgeSettings
    | RefusalPhrasesSettings
    | ChatJudgeSettings
    | ClassifierSettings
    | GuardSettings
    | ModerationSettings
)


class PanelSettings(Record):
    """Several judges that vote."""

    kind: Literal["panel"] = Field(description="Several judges that vote; their agreement is reported.")
    members: Annotated[tuple[Annotated[SingleJudgeSettings, Field(discriminator="kind")], ...], Field(min_length=2)] = (
        Field(description="Who votes: two judges or more, each a section like this one.")
    )
    rule: Literal["majority", "unanimous"] = Field(
        default="majority",
        description="`majority` of those with an opinion; `unanimous` needs the same one of all. Else unscored.",
    )


JudgeSettings: TypeAlias = Annotated[SingleJudgeSettings | PanelSettings, Field(discriminator="kind")]


def single_judges(settings: JudgeSettings) -> tuple[SingleJudgeSettings, ...]:
    """The members of a panel, or the one judge that it is."""
    return settings.members if isinstance(settings, PanelSettings) else (settings,)
