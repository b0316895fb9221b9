"""The section of a recipe that names who judges.

This file owns the words that a user may write of it; the rest is in `recipe`. It knows no room.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from cst.records import Record


class MiniatureJudgeSettings(Record):
    """The exact judge of the embedded world."""

    kind: Literal["miniature"] = Field(description="Exact, for the embedded world alone.")


class RefusalPhrasesSettings(Record):
    """A weak but free judge of refusals."""

    kind: Literal["refusal_phrases"] = Field(description="Looks for the phrases that refusals begin with: weak, free.")


JudgeSettings: TypeAlias = Annotated[MiniatureJudgeSettings | RefusalPhrasesSettings, Field(discriminator="kind")]
