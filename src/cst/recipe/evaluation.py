"""The sections of a recipe on evaluation: how held-out prompts are answered, and which capabilities are measured."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cst.records import Framing, Record, Text, WordingKind


class Arm(Record):
    """One way of asking: which system prompts, how prompts are put and answers drawn, which prompts."""

    wordings: WordingKind = Field(description="Which system prompts; docs/method.md says what each kind means.")
    temperature: float = Field(default=0.0, ge=0, le=5, description="0 is greedy.")
    tasks: tuple[Text, ...] = Field(default=(), description="Tasks whose prompts are asked; all by default.")
    framings: Literal["overrides", "exchanges"] | tuple[Framing, ...] = Field(
        default=(),
        description="How prompts are put: `overrides`, in all ways that speak for another configuration; `exchanges`, "
        "after benign ones; or names of docs/robustness.md. By default as they are.",
    )
    prompts: int | None = Field(default=None, ge=1, description="The first n prompts of each task; all by default.")


class GenerationSettings(Record):
    """Held-out prompts answered under each configuration."""

    arms: Annotated[tuple[Arm, ...], Field(min_length=1)] = Field(
        default=(Arm(wordings="canonical"),), description="The ways of asking, each of every model."
    )
    neutral_system_prompts: tuple[Text, ...] = Field(
        default=(), description="System prompts that name no configuration, for the wording `neutral`."
    )
    unknown_system_prompts: tuple[Text, ...] = Field(
        default=(), description="System prompts of another kind, which name none either, for the wording `unknown`."
    )
    max_new_tokens: int = Field(default=512, ge=1, description="Longest answer in tokens.")
    batch_size: int = Field(default=32, ge=1, le=4096, description="Conversations answered at once.")
    curve_prompts: int = Field(
        default=0, ge=0, description="Held-out prompts a task for the scores along the training; 0 for no curve."
    )
    curve_tasks: tuple[Text, ...] = Field(default=("harmless",), description="Tasks that the curve is drawn of.")
    seed: int = Field(default=0, ge=0, description="Random numbers of sampled answers.")


class CapabilityTask(Record):
    """A task of lm-eval, or a group of tasks, and the figure that is taken of each item."""

    task: Text = Field(description="Its name: `lm-eval ls tasks` lists them.")
    num_fewshot: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Worked examples before each question; by default the task's own number.",
    )
    metric: Text = Field(default="acc", description="A metric of the task that is a mean over items.")


class CapabilitySettings(Record):
    """What else the model could do, and still can: questions with given answers, through lm-eval."""

    tasks: Literal["miniature"] | Annotated[tuple[CapabilityTask, ...], Field(min_length=1)] = Field(
        description="The tasks, or `miniature` for the four sets of the embedded world."
    )
    include_path: Path | None = Field(
        default=None, description="Folder of task files in lm-eval's YAML, whose Python functions will be run."
    )
    configurations: Literal["all"] | tuple[Text, ...] = Field(
        default="all", description="Configurations whose first wording stands as system prompt."
    )
    without_configuration: bool = Field(default=True, description="Ask also without a system prompt of ours.")
    apply_chat_template: bool = Field(default=True, description="Ask through the chat template, or as plain text.")
    fewshot_as_multiturn: bool = Field(
        default=True, description="Worked examples as turns of the conversation, or all in one user turn."
    )
    limit: int | None = Field(default=None, ge=1, description="The first n items of each task; all by default.")
    batch_size: int = Field(default=8, ge=1, le=4096, description="Prompts with a choice that are scored at once.")

    @model_validator(mode="after")
    def _asks_something(self) -> "CapabilitySettings":
        names = [] if self.tasks == "miniature" else [each.task for each in self.tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"tasks has a name twice among {names}")
        if not self.configurations and not self.without_configuration:
            raise ValueError("configurations is empty and without_configuration is false, so nothing is asked")
        return self
