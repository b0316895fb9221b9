"""The section of a recipe on synthesis: from prompts to pairs, and why a pair is dropped."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from cst.recipe.data import FileName
from cst.records import Record, Sampling, Text
from cst.templates import placeholders

Tasks: TypeAlias = Annotated[tuple[Text, ...], Field(min_length=1)]


class SelfCritiqueSettings(Record):
    """The paper's way to a pair: answer, criticise the answer, rewrite it."""

    kind: Literal["self_critique"] = Field(description="The model answers, criticises and rewrites.")
    tasks: Tasks = Field(description="Tasks whose prompts are answered in this way.")
    author: FileName | None = Field(
        default=None, description="Who answers, by its name in chat_models; by default the start model."
    )
    critic: FileName | None = Field(default=None, description="Who criticises; by default the author.")
    reviser: FileName | None = Field(default=None, description="Who rewrites; by default the author.")
    original_system_prompt: str | None = Field(
        default=None, description="System prompt for the original answer; by default the prompt's own, or none."
    )
    original_request: Text = Field(default="{prompt}", description="Template of the first question; uses {prompt}.")
    critique_request: Text = Field(description="Template; may use {prompt}, {original} and {principle}.")
    revision_request: Text = Field(description="Template; may use {prompt}, {original}, {critique} and {principle}.")
    rounds: int = Field(
        default=1, ge=1, le=16, description="Critiques and rewrites; the last rewrite is the next {original}."
    )
    principles: dict[Text, Text] = Field(
        default={}, description="By name, what answers are criticised by; each round of a prompt draws one {principle}."
    )

    @model_validator(mode="after")
    def _templates_ask_for_what_is_known(self) -> "SelfCritiqueSettings":
        known = {"prompt", "original"} | ({"principle"} if self.principles else set())
        fields = {"original_request": {"prompt"}, "critique_request": known, "revision_request": known | {"critique"}}
        for field, names in fields.items():
            for name in sorted(placeholders(getattr(self, field)) - names):
                raise ValueError(f"{field} asks for {{{name}}}, but only {sorted(names)} can be filled in there")
        if "prompt" not in placeholders(self.original_request):
            raise ValueError("original_request doesn't ask for {prompt}: all prompts would be one question; add it")
        if self.principles and "principle" not in placeholders(self.critique_request + self.revision_request):
            raise ValueError(
                "there are principles, but no {principle} in critique_request or revision_request; ask for it"
            )
        return self


class ContrastSettings(Record):
    """A pair from two ways of asking the same question, without a critique."""

    kind: Literal["contrast"] = Field(description="Both answers are sampled, under two system prompts.")
    tasks: Tasks = Field(description="Tasks whose prompts are answered in this way.")
    author: FileName | None = Field(
        default=None, description="Who gives the original, by its name in chat_models; by default the start model."
    )
    reviser: FileName | None = Field(default=None, description="Who gives the revised answer; by default the author.")
    original_system_prompt: str | None = Field(
        default=None, description="System prompt for the original answer; by default the prompt's own, or none."
    )
    revised_system_prompt: str | None = Field(
        default=None, description="System prompt for the revised answer; by default the prompt's own, or none."
    )
    revised_prefix: str = Field(default="", description="Words the revised answer is made to begin with (prefill).")


SynthesisMethod: TypeAlias = Annotated[SelfCritiqueSettings | ContrastSettings, Field(discriminator="kind")]


class GateSettings(Record):
    """Why pairs and prompts are dropped, besides what the judge says; each reason is counted (docs/data.md)."""

    refused_originals: bool = Field(default=True, description="Drop pairs whose original begins as a refusal.")
    leaking_revisions: bool = Field(
        default=True, description="Drop pairs whose revised answer speaks of the critique or of a previous answer."
    )
    persona_artefacts: bool = Field(
        default=True, description="Drop pairs with an answer that bears marks of a persona, such as a mode's banner."
    )
    cut_answers: bool = Field(
        default=True,
        description="Drop pairs with a given answer that ends mid-sentence; a model's cut answer is always dropped.",
    )
    nearly_equal: float | None = Field(
        default=0.9, gt=0, le=1, description="Drop pairs whose answers share so many runs of three words (Jaccard)."
    )
    near_duplicates: float | None = Field(
        default=0.9, ge=0.5, le=1, description="Drop prompts that share so many words with an earlier one (Jaccard)."
    )
    close_to_held_out: float | None = Field(
        default=0.7, gt=0, le=1, description="Drop prompts that share so many words with a held-out one (Jaccard)."
    )


class SynthesisSettings(Record):
    """Prompts to pairs, and why a pair is dropped."""

    methods: Annotated[tuple[SynthesisMethod, ...], Field(min_length=1)] = Field(
        description="How pairs are made, task by task."
    )
    sampling: Sampling = Field(
        default=Sampling(temperature=0.8, max_new_tokens=512),
        description="How answers, critiques and rewrites are drawn.",
    )
    judge_gate: bool = Field(
        default=True, description="Drop pairs whose sides the judge does not see as original and revised."
    )
    gates: GateSettings = Field(
        default=GateSettings(), description="What else a pair or a prompt is dropped for; `false` or null for no gate."
    )
    batch_size: int = Field(default=32, ge=1, le=4096, description="Conversations answered at once.")
