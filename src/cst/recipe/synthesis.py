"""The recipe section on synthesis: how prompts become pairs, and which pairs are dropped."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from cst.recipe.data import FileName
from cst.recipe.models import BatchSize
from cst.records import NOT_WRITTEN_IF_EMPTY, Record, Sampling, Text
from cst.texts import placeholders

Tasks: TypeAlias = Annotated[tuple[Text, ...], Field(min_length=1, description="Tasks of the prompts it applies to.")]
Author: TypeAlias = Annotated[
    FileName | None,
    Field(description="Who writes the original answer, by name in chat_models; by default the start model."),
]
OriginalSystemPrompt: TypeAlias = Annotated[
    str | None, Field(description="System prompt for the original answer; by default the prompt's own, if any.")
]


class SelfCritiqueSettings(Record):
    """The paper's method: answer, critique the answer, rewrite it."""

    kind: Literal["self_critique"] = Field(description="Answer, critique, rewrite.")
    tasks: Tasks
    author: Author = None
    critic: FileName | None = Field(default=None, description="Who writes the critique; by default the author.")
    reviser: FileName | None = Field(default=None, description="Who rewrites the answer; by default the author.")
    original_system_prompt: OriginalSystemPrompt = None
    original_request: Text = Field(default="{prompt}", description="Template of the first question, with {prompt}.")
    critique_request: Text = Field(description="Template, with {prompt}, {original} or {principle}.")
    revision_request: Text = Field(description="Template, with {prompt}, {original}, {critique} or {principle}.")
    rounds: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Rounds of critique and rewriting; a rewrite is the next {original}.",
    )
    principles: dict[Text, Text] = Field(
        default={}, description="Principles by name. Each round draws one as its {principle}."
    )

    @model_validator(mode="after")
    def _templates_ask_for_what_is_known(self) -> "SelfCritiqueSettings":
        known = {"prompt", "original"} | ({"principle"} if self.principles else set())
        fields = {"original_request": {"prompt"}, "critique_request": known, "revision_request": known | {"critique"}}
        for field, names in fields.items():
            for name in sorted(placeholders(getattr(self, field)) - names):
                raise ValueError(f"{field} uses {{{name}}}, but only {sorted(names)} can be filled in there")
        if "prompt" not in placeholders(self.original_request):
            raise ValueError("original_request doesn't use {prompt}, so all prompts would be the same question; add it")
        if self.principles and "principle" not in placeholders(self.critique_request + self.revision_request):
            raise ValueError("there are principles, but no {principle} in critique_request or revision_request; add it")
        return self


class ContrastSettings(Record):
    """Two answers to the same question under two system prompts, without a critique."""

    kind: Literal["contrast"] = Field(description="Two answers under two system prompts.")
    tasks: Tasks
    author: Author = None
    reviser: FileName | None = Field(default=None, description="Who writes the revised answer; by default the author.")
    original_system_prompt: OriginalSystemPrompt = None
    revised_system_prompt: str | None = Field(
        default=None, description="System prompt for the revised answer; by default the prompt's own, if any."
    )
    revised_prefix: str = Field(default="", description="Words that the revised answer must begin with (prefill).")


SynthesisMethod: TypeAlias = Annotated[SelfCritiqueSettings | ContrastSettings, Field(discriminator="kind")]


class GateSettings(Record):
    """Further reasons to drop pairs and prompts. Each reason is counted (docs/data.md)."""

    refused_originals: bool = Field(default=True, description="Drop pairs whose original answer is a refusal.")
    leaking_revisions: bool = Field(
        default=True, description="Drop pairs whose revised answer mentions the critique or a previous answer."
    )
    persona_artefacts: bool = Field(
        default=True, description="Drop pairs in which an answer has traces of a persona, such as the banner of a mode."
    )
    cut_answers: bool = Field(
        default=True,
        description="Drop pairs with a data answer that ends mid-sentence. Cut model answers are always dropped.",
    )
    nearly_equal: float | None = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Drop pairs whose answers are this similar (Jaccard of word triples).",
    )
    near_duplicates: float | None = Field(
        default=0.9,
        ge=0.5,
        le=1,
        description="Drop prompts this similar to an earlier one (Jaccard of words).",
    )
    own: Annotated[tuple[Text, ...], NOT_WRITTEN_IF_EMPTY] = Field(
        default=(), description="Your own gates, by their names in `cst.run(..., gates={NAME: ...})`; applied last."
    )
    close_to_held_out: float | None = Field(
        default=0.7, gt=0, le=1, description="Drop prompts this similar to a held-out one (Jaccard of words)."
    )


class SynthesisSettings(Record):
    """How prompts become pairs, and which pairs are dropped."""

    methods: Annotated[tuple[SynthesisMethod, ...], Field(min_length=1)] = Field(
        description="How pairs are made; each task needs one method."
    )
    sampling: Sampling = Field(
        default=Sampling(temperature=0.8, max_new_tokens=512),
        description="Sampling of answers, critiques and rewrites.",
    )
    judge_gate: bool = Field(
        default=True, description="Drop pairs in which the judge does not see the original and the revised side."
    )
    gates: GateSettings = Field(default=GateSettings(), description="Further gates; `false` or null turns one off.")
    batch_size: BatchSize = 32
