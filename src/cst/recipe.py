"""A recipe: everything a run depends on, as frozen sections.

A room gets its own section and nothing else; every number has bounds, and every field has a line of prose from which
docs/recipes.md is made. This file owns the words that a user may write. It knows no room, and no YAML (`recipe_file`).
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from cst.recipe_data import DataFile
from cst.recipe_judges import JudgeSettings, SingleJudgeSettings, single_judges
from cst.recipe_mixture import MixtureSettings, refuse_misfit
from cst.recipe_models import ChatModelSettings, ModelSettings
from cst.recipe_training import TrainingSettings
from cst.records import NOT_WRITTEN_IF_NONE, Framing, Record, SafetyConfiguration, Sampling, Text, WordingKind
from cst.texts import placeholders

FileName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that is also that of a file: letters, digits, dot, underscore and hyphen."""

Tasks: TypeAlias = Annotated[tuple[Text, ...], Field(min_length=1)]


Weight: TypeAlias = Annotated[float, Field(ge=0, le=1000)]


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


class PreferenceFile(DataFile):
    """Preference rows made elsewhere, instead of prompts, pairs and conditioning."""

    held_out_share: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the rows held out as prompts: whole near-duplicate groups."
    )


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


def _models_of_mixture(read: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The models of a recipe that names none."""
    mixture: MixtureSettings | None = read.get("mixture")
    return {"cst": ()} if mixture is None else dict.fromkeys(mixture.models, ())


class Recipe(Record):
    """One run: sections that a verb does not need may be left out."""

    name: FileName = Field(description="Name of the run; its folder is runs/NAME unless told otherwise.")
    note: str = Field(default="", description="A sentence that is printed under the report's title.")
    license: Text | None = Field(
        default=None,
        description="Licence of what the run makes, as the Hub calls it (`cc-by-4.0`), for its cards.",
    )
    seed: int = Field(default=0, ge=0, description="Added to every other seed: one number repeats or varies a run.")
    model: ModelSettings = Field(description="The start model.")
    chat_models: dict[FileName, ChatModelSettings] = Field(
        default={}, description="Further models to talk to, by name: behind servers, or in this process."
    )
    prompts: PromptSettings = Field(default=PromptSettings(), description="Where prompts come from.")
    synthesis: SynthesisSettings | None = Field(default=None, description="Prompts to pairs.")
    preferences: PreferenceFile | None = Field(default=None, description="Rows made elsewhere, instead of synthesis.")
    configurations: Literal["miniature"] | tuple[SafetyConfiguration, ...] = Field(
        default=(), description="The safety configurations; `miniature` for those of the embedded world."
    )
    mixing: dict[Text, Weight] = Field(
        default={}, description="Tasks with their share of the rows, as weights (docs/data.md); all rows by default."
    )
    mixture: Annotated[MixtureSettings | None, NOT_WRITTEN_IF_NONE] = Field(
        default=None, description="Rows of supervised tuning (training.method)."
    )
    models: dict[FileName, tuple[Text, ...]] = Field(
        default_factory=_models_of_mixture,
        description="Models to train, by name, with their configurations; none named means all of them. By default "
        "`cst` alone, or those of the mixture.",
    )
    training: TrainingSettings = Field(default=TrainingSettings(), description="Rows to adapters.")
    generation: GenerationSettings = Field(default=GenerationSettings(), description="Held-out prompts to answers.")
    judge: JudgeSettings | None = Field(default=None, description="Answers to verdicts.")
    judge_card: Path | None = Field(
        default=None, description="The judge's card (`cst judge-card`), by which scores are also corrected."
    )
    capabilities: CapabilitySettings | None = Field(default=None, description="What else is measured.")

    @model_validator(mode="after")
    def _names_fit(self) -> "Recipe":
        if "base" in self.models:
            raise ValueError("models.base is the start model's own name; choose another")
        if self.training.full and self.model.quantization != "none":
            raise ValueError(
                f"training.full trains all weights, and model.quantization={self.model.quantization} keeps them in too "
                "few bits to be trained; leave one of them out"
            )
        made = [name for name in ("synthesis", "preferences") if getattr(self, name) is not None]
        refuse_misfit(self.mixture, self.training, models=list(self.models), preferences=made)
        self._refuse_unknown_cast()
        self._refuse_unsent_sampling()
        self._refuse_impossible_split_or_mix()
        self._refuse_evaluation_of_nothing()
        for judge in single_judges(self.judge) if self.judge else ():
            self._refuse_unknown_judge(judge)
        if self.configurations == "miniature":
            return self
        known = [configuration.name for configuration in self.configurations]
        if len(set(known)) < len(known):
            raise ValueError(f"configurations has a name twice among {known}; give each its own")
        for model, names in self.models.items():
            for name in names:
                if name not in known:
                    raise ValueError(f"models.{model} names the configuration {name!r}, but there are only {known}")
        return self

    def _refuse_unknown_cast(self) -> None:
        for number, method in enumerate(self.synthesis.methods if self.synthesis else ()):
            for role in ("author", "critic", "reviser"):
                name = getattr(method, role, None)
                if name is not None and name not in self.chat_models:
                    raise ValueError(
                        f"synthesis.methods.{number} has the {role} {name!r}, but chat_models has only "
                        f"{list(self.chat_models)}; add it there"
                    )

    def _refuse_unsent_sampling(self) -> None:
        asked = self.synthesis.sampling.local_only if self.synthesis else ""
        for method in self.synthesis.methods if self.synthesis and asked else ():
            cast = [getattr(method, role, None) for role in ("author", "critic", "reviser")]
            for name in (name for name in cast if name and self.chat_models[name].kind == "endpoint"):
                raise ValueError(
                    f"synthesis.sampling has {asked}, which chat_models.{name}, an endpoint, can't be asked for; leave "
                    "it out, or name a model of kind: local"
                )

    def _refuse_impossible_split_or_mix(self) -> None:
        if self.prompts.held_out_share and not self.prompts.training:
            raise ValueError("prompts.held_out_share holds out of prompts.training, which names no prompts; add some")
        if self.mixing and not any(self.mixing.values()):
            raise ValueError(f"mixing gives no task a weight above 0, only {self.mixing}; raise one")
        if not self.mixing or self.synthesis is None or self.preferences is not None:
            return  # then rows alone show their tasks
        made = {task for method in self.synthesis.methods for task in method.tasks}
        if made != self.mixing.keys():
            raise ValueError(
                f"mixing has weights for {sorted(self.mixing)}, and synthesis makes pairs of {sorted(made)}; give each "
                "of these a weight, and no other task; 0 leaves one out"
            )

    @property
    def holds_out_prompts(self) -> bool:
        """Whether there are prompts for evaluation alone."""
        of_rows = self.preferences is not None and self.preferences.held_out_share > 0
        return of_rows or bool(self.prompts.held_out) or self.prompts.held_out_share > 0

    def _refuse_unknown_judge(self, judge: SingleJudgeSettings) -> None:
        if judge.kind != "chat" and judge.kind != "guard":
            return
        chat = self.chat_models.get(judge.model)
        if chat is None:
            raise ValueError(
                f"a judge of kind {judge.kind} has the model {judge.model!r}, but chat_models has only "
                f"{list(self.chat_models)}; add it there"
            )
        if judge.kind == "chat" and judge.read == "logits" and chat.kind != "local":
            raise ValueError(
                f"a judge reads logits, and chat_models.{judge.model} is an endpoint, whose logits can't be seen; "
                "read its text, or name a model of kind: local"
            )

    def _refuse_evaluation_of_nothing(self) -> None:
        prompts = {
            "prompts.held_out": self.holds_out_prompts,
            "configurations": self.configurations,
            "judge": self.judge,
        }
        rows = {"mixture.validation_rows": self.mixture is not None and self.mixture.validation_rows}
        asks = self.training.asks_prompts
        lacking = [key for key, value in (prompts if asks else rows).items() if not value]
        if self.training.eval_steps is not None and lacking:
            what = "judged answers to held-out prompts" if asks else "the loss of validation rows"
            raise ValueError(
                f"training.eval_steps={self.training.eval_steps} asks for {what}, and the "
                f"recipe has no {' and no '.join(lacking)}; add that, or leave eval_steps out"
            )
