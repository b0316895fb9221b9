"""A recipe: everything a run depends on, as frozen sections; one file a section.

Every number has bounds, and every field has a line of prose, from which docs/recipes.md is made. This package owns the
words that a user may write. It imports no room; `recipe.reading` is the only file that knows YAML.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from cst.recipe.data import FileName, MixtureSettings, PreferenceFile, PromptSettings, refuse_misfit
from cst.recipe.evaluation import CapabilitySettings, GenerationSettings
from cst.recipe.judges import JudgeSettings, SingleJudgeSettings, single_judges
from cst.recipe.models import ChatModelSettings, ModelSettings
from cst.recipe.synthesis import SynthesisSettings
from cst.recipe.training import TrainingSettings
from cst.records import NOT_WRITTEN_IF_NONE, Record, SafetyConfiguration, Text

Weight: TypeAlias = Annotated[float, Field(ge=0, le=1000)]


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
