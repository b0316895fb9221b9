"""A recipe: everything a run depends on, as frozen sections, one file per section.

Every number has bounds, and every field has a description, from which docs/recipes.md is generated. This package
imports no room; only `recipe.reading` knows YAML.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from cst.recipe.data import FileName, MixtureSettings, PreferenceFile, PromptSettings
from cst.recipe.evaluation import CapabilitySettings, GenerationSettings
from cst.recipe.judges import JudgeSettings, SingleJudgeSettings, chat_model_of, single_judges
from cst.recipe.models import ChatModelSettings, ModelSettings
from cst.recipe.synthesis import SynthesisSettings
from cst.recipe.training import TrainingSettings
from cst.records import NOT_WRITTEN_IF_NONE, Record, SafetyConfiguration, Text

Weight: TypeAlias = Annotated[float, Field(ge=0, le=1000)]


def _models_of_mixture(read: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The default of `models`."""
    mixture: MixtureSettings | None = read.get("mixture")
    return {"cst": ()} if mixture is None else dict.fromkeys(mixture.models, ())


class Recipe(Record):
    """The whole recipe. Leave out the sections that your command does not need."""

    name: FileName = Field(description="Name of the run. Its folder is runs/NAME unless --folder says otherwise.")
    note: str = Field(default="", description="A sentence under the report's title.")
    license: Text | None = Field(
        default=None, description="Licence of the results, as the Hub writes it (`cc-by-4.0`), for the cards."
    )
    seed: int = Field(default=0, ge=0, description="Added to every other seed: one number to vary a whole run.")
    model: ModelSettings = Field(description="The start model.")
    chat_models: dict[FileName, ChatModelSettings] = Field(
        default={}, description="Further chat models by name: behind servers, or in this process."
    )
    prompts: PromptSettings = Field(default=PromptSettings(), description="Where prompts come from.")
    synthesis: SynthesisSettings | None = Field(default=None, description="How prompts become pairs.")
    preferences: PreferenceFile | None = Field(default=None, description="Existing rows, instead of synthesis.")
    configurations: Literal["miniature"] | tuple[SafetyConfiguration, ...] = Field(
        default=(), description="The safety configurations; `miniature` for those of the miniature world."
    )
    mixing: dict[Text, Weight] = Field(
        default={}, description="Relative weight of each task's rows (docs/data.md); all rows by default."
    )
    mixture: Annotated[MixtureSettings | None, NOT_WRITTEN_IF_NONE] = Field(
        default=None, description="Rows of supervised tuning (`training.method: sft`)."
    )
    models: dict[FileName, tuple[Text, ...]] = Field(
        default_factory=_models_of_mixture,
        description="Models to train, by name, each with its configurations; an empty list means all. By default "
        "`cst`, or the mixture's models.",
    )
    training: TrainingSettings = Field(default=TrainingSettings(), description="How the adapter is trained.")
    generation: GenerationSettings = Field(default=GenerationSettings(), description="How held-out prompts are asked.")
    judge: JudgeSettings | None = Field(default=None, description="What judges the answers.")
    judge_card: Path | None = Field(
        default=None, description="The judge's card (`cst judge-card`), to correct scores for its errors."
    )
    capabilities: CapabilitySettings | None = Field(default=None, description="Which capabilities are measured.")

    @model_validator(mode="after")
    def _names_fit(self) -> "Recipe":
        if "base" in self.models:
            raise ValueError("models.base is the start model's own name; choose another")
        if self.training.full and self.model.quantization != "none":
            raise ValueError(
                f"training.full trains all weights, and model.quantization={self.model.quantization} makes them "
                "untrainable; leave one of them out"
            )
        self._reject_rows_of_another_method()
        self._reject_unknown_cast()
        self._reject_impossible_split_or_mix()
        self._reject_evaluation_of_nothing()
        for judge in single_judges(self.judge) if self.judge else ():
            self._reject_unknown_judge(judge)
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

    def _reject_rows_of_another_method(self) -> None:
        mixture, method = self.mixture, self.training.method
        if (method == "sft") != (mixture is not None):
            there = "there is no section mixture" if mixture is None else "there is a section mixture"
            raise ValueError(f"training.method is {method}, and {there}; sft needs one, dpo takes none")
        if mixture is None:
            return
        names = list(self.models)
        if set(names) != mixture.models.keys():
            raise ValueError(f"models names {names}, and the mixture makes {list(mixture.models)}; leave models out")
        for section in ("synthesis", "preferences"):
            if getattr(self, section) is not None:
                raise ValueError(f"{section} makes preferences, but training.method=sft takes a mixture; leave it out")

    def _reject_unknown_cast(self) -> None:
        for number, method in enumerate(self.synthesis.methods if self.synthesis else ()):
            for role in ("author", "critic", "reviser"):
                name = getattr(method, role, None)
                if name is None:
                    continue
                if name not in self.chat_models:
                    raise ValueError(
                        f"synthesis.methods.{number} has the {role} {name!r}, but chat_models has only "
                        f"{list(self.chat_models)}; add it there"
                    )
                unsent = self.synthesis.sampling.local_only if self.synthesis else ""
                if unsent and self.chat_models[name].kind == "endpoint":
                    raise ValueError(
                        f"synthesis.sampling has {unsent}, which chat_models.{name}, an endpoint, does not support; "
                        "leave it out, or name a model of kind: local"
                    )

    def _reject_impossible_split_or_mix(self) -> None:
        if self.prompts.held_out_share and not self.prompts.training:
            raise ValueError("prompts.held_out_share splits prompts.training, which is empty; add prompts there")
        if self.mixing and not any(self.mixing.values()):
            raise ValueError(f"mixing gives no task a weight above 0, only {self.mixing}; raise one")
        if not self.mixing or self.synthesis is None or self.preferences is not None:
            return  # the tasks of existing rows are known only when they are read
        made = {task for method in self.synthesis.methods for task in method.tasks}
        if made != self.mixing.keys():
            raise ValueError(
                f"mixing has weights for {sorted(self.mixing)}, but synthesis makes pairs of {sorted(made)}; give "
                "each of these a weight (0 leaves it out), and no other task"
            )

    @property
    def holds_out_prompts(self) -> bool:
        """Whether there are prompts for evaluation only."""
        of_rows = self.preferences is not None and self.preferences.held_out_share > 0
        return of_rows or bool(self.prompts.held_out) or self.prompts.held_out_share > 0

    def _reject_unknown_judge(self, judge: SingleJudgeSettings) -> None:
        name = chat_model_of(judge)
        if name is None:
            return
        chat = self.chat_models.get(name)
        if chat is None:
            raise ValueError(
                f"a judge of kind {judge.kind} has the model {name!r}, but chat_models has only "
                f"{list(self.chat_models)}; add it there"
            )
        if getattr(judge, "read", "text") == "logits" and chat.kind != "local":
            raise ValueError(
                f"a judge reads logits, but chat_models.{name} is of kind: {chat.kind}, which gives none; read its "
                "text, or name a model of kind: local"
            )

    def _reject_evaluation_of_nothing(self) -> None:
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
