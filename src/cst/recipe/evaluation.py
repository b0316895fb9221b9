"""The recipe sections on evaluation: how held-out prompts are answered, and which capabilities are measured."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cst.recipe.models import BatchSize
from cst.records import Framing, Record, Temperature, Text, WordingKind


class Arm(Record):
    """One way to ask: which system prompts, how prompts are framed, how answers are sampled, which prompts."""

    wordings: WordingKind = Field(description="Which system prompts (docs/method.md).")
    temperature: Temperature = 0.0
    tasks: tuple[Text, ...] = Field(default=(), description="Only prompts of these tasks; all by default.")
    framings: Literal["overrides", "exchanges"] | tuple[Framing, ...] = Field(
        default=(),
        description="`overrides`: all framings that try to override the configuration; `exchanges`: all numbers of "
        "benign exchanges before the prompt; or names (docs/robustness.md). By default prompts are asked as they are.",
    )
    prompts: int | None = Field(default=None, ge=1, description="The first n prompts of each task; all by default.")


class GenerationSettings(Record):
    """Answers to the held-out prompts under each configuration."""

    arms: Annotated[tuple[Arm, ...], Field(min_length=1)] = Field(
        default=(Arm(wordings="canonical"),), description="Ways to ask; every model is asked in each."
    )
    neutral_system_prompts: tuple[Text, ...] = Field(
        default=(), description="Generic system prompts, for arms with `wordings: neutral`."
    )
    unknown_system_prompts: tuple[Text, ...] = Field(
        default=(), description="Unrelated system prompts (a role, an output form), for arms with `wordings: unknown`."
    )
    max_new_tokens: int = Field(default=512, ge=1, description="Token limit of an answer.")
    batch_size: BatchSize = 32
    curve_prompts: int = Field(
        default=0, ge=0, description="Held-out prompts per task for the curve of scores during training; 0: no curve."
    )
    curve_tasks: tuple[Text, ...] = Field(default=("harmless",), description="Tasks of the curve.")
    seed: int = Field(default=0, ge=0, description="Seed of sampled answers.")


class CapabilityTask(Record):
    """A task or task group of lm-eval, and the metric to report."""

    task: Text = Field(description="Name of the task; `lm-eval ls tasks` lists them.")
    num_fewshot: int | None = Field(
        default=None, ge=0, le=1000, description="Worked examples before each question; by default the task's number."
    )
    metric: Text = Field(default="acc", description="A metric of the task that averages over items.")


class CapabilitySettings(Record):
    """Questions with known answers, asked through lm-eval before and after training."""

    tasks: Literal["miniature"] | Annotated[tuple[CapabilityTask, ...], Field(min_length=1)] = Field(
        description="The tasks, or `miniature` for the four sets of the miniature world."
    )
    include_path: Path | None = Field(
        default=None, description="Folder with lm-eval task files (YAML). Python functions in it will be run."
    )
    configurations: Literal["all"] | tuple[Text, ...] = Field(
        default="all", description="Configurations whose canonical wording is used as system prompt."
    )
    without_configuration: bool = Field(default=True, description="Also ask without a system prompt.")
    apply_chat_template: bool = Field(default=True, description="Ask through the chat template, or as plain text.")
    fewshot_as_multiturn: bool = Field(
        default=True, description="Worked examples as turns of the conversation, or all in one user turn."
    )
    limit: int | None = Field(default=None, ge=1, description="The first n items of each task; all by default.")
    batch_size: int = Field(default=8, ge=1, le=4096, description="Prompt-choice pairs scored per batch.")

    @model_validator(mode="after")
    def _asks_something(self) -> "CapabilitySettings":
        names = [] if self.tasks == "miniature" else [each.task for each in self.tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"tasks has a name twice among {names}")
        if not self.configurations and not self.without_configuration:
            raise ValueError("configurations is empty and without_configuration is false, so nothing is asked")
        return self
