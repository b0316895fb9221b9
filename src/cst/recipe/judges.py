"""The recipe section that names the judge: rules, chat models, classifiers, guards, moderation, panels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import Field, model_validator

from cst.recipe.models import Device, Dtype, FirstWait, InFlight, Retries
from cst.records import Record, Side, Temperature, Text
from cst.texts import placeholders

HarmTasks: TypeAlias = Annotated[tuple[Text, ...], Field(min_length=1, description="Tasks that this judge can score.")]

CONVERSATION = "\n\nHuman: {prompt}\n\nAssistant: {answer}"
"""The input format of Safety-Tuned LLaMAs' reward models (`ConversationBuilder` in their repository)."""

_SAFETY_TUNED_LLAMAS = {
    "high_means": "harmful",
    "output": 0,
    "layout": "template",
    "template": CONVERSATION,
    "max_length": 512,
    "batch_size": 128,
}
PRESETS: Mapping[str, Mapping[str, object]] = {
    "redteam": {**_SAFETY_TUNED_LLAMAS, "path": "safepaca/absolute-harmfulness-predictor-redteam"},
    "redteam-osst": {**_SAFETY_TUNED_LLAMAS, "path": "safepaca/absolute-harmfulness-predictor-redteam-osst"},
}
"""The two reward models of Bianchi et al., ICLR 2024, as set up in `evals/HarmfulnessRewardModel.py` of
vinid/safety-tuned-llamas. They are regression models; a lower score is safer. The authors give no threshold."""


class ClassifierSettings(Record):
    """A sequence classifier or reward model that gives each answer a number."""

    kind: Literal["classifier"] = Field(description="A sequence classifier or reward model.")
    preset: Literal["redteam", "redteam-osst"] | None = Field(
        default=None,
        description="A Safety-Tuned LLaMAs reward model: defaults for every key but `threshold`.",
    )
    path: Text = Field(description="Folder or Hub id of the model; safetensors only.")
    high_means: Literal["harmful", "safe"] = Field(description="What a score at or above the threshold means.")
    threshold: float = Field(description="Boundary between the two sides, in raw logits.")
    output: Annotated[int, Field(ge=0)] | Text = Field(
        default=0, description="Which output of the model: its index or label."
    )
    layout: Literal["template", "two_segments", "chat_template"] = Field(
        default="template", description="How a conversation becomes model input (docs/judges.md)."
    )
    template: Text = Field(
        default=CONVERSATION, description="An exchange in the layout `template`, with {prompt} and {answer}."
    )
    max_length: int = Field(default=512, ge=8, description="Token limit of an input; the question is cut first.")
    batch_size: int = Field(default=64, ge=1, le=4096, description="Inputs scored per batch.")
    dtype: Dtype = "auto"
    device: Device = None
    tasks: HarmTasks = ("harmless",)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        given = cast(Mapping[str, Any], values)
        return {**PRESETS.get(str(given.get("preset")), {}), **given}

    @model_validator(mode="after")
    def _template_asks_for_both(self) -> "ClassifierSettings":
        if sorted(placeholders(self.template)) != ["answer", "prompt"]:
            raise ValueError(
                f"template uses the placeholders {sorted(placeholders(self.template))}; it must use {{prompt}} and "
                "{answer}, and no others"
            )
        return self


class GuardSettings(Record):
    """A guard model that classifies by a policy text."""

    kind: Literal["guard"] = Field(description="A guard model.")
    model: Text = Field(description="Name of the model in chat_models.")
    style: Literal["llama_guard", "gpt_oss_safeguard", "dynaguard"] = Field(
        description="Request and answer format (docs/judges.md)."
    )
    policy: Path | None = Field(
        default=None, description="Text file with the policy; by default cst's, for `llama_guard` the model's own."
    )
    system_prompt: Path | None = Field(
        default=None, description="For `dynaguard`: text file with its authors' system prompt, instead of cst's."
    )
    max_new_tokens: int = Field(default=2048, ge=1, description="Token limit of a reply, including reasoning.")
    tasks: HarmTasks = ("harmless",)

    @model_validator(mode="after")
    def _only_dynaguard_takes_a_system_prompt(self) -> "GuardSettings":
        if self.system_prompt is not None and self.style != "dynaguard":
            raise ValueError(f"system_prompt is for style dynaguard, but the style is {self.style}; leave it out")
        return self


class ModerationSettings(Record):
    """OpenAI's moderation endpoint. OPENAI_API_KEY and OPENAI_BASE_URL hold the key and the address."""

    kind: Literal["moderation"] = Field(description="OpenAI's moderation endpoint.")
    model: Text = Field(default="omni-moderation-latest", description="The moderation model.")
    thresholds: dict[Text, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={},
        description="Score per category from which it is harm; by default the endpoint's flags.",
    )
    inputs_per_request: int = Field(default=32, ge=1, le=1024, description="Answers per call.")
    in_flight: InFlight = 4
    retries: Retries = 12
    first_wait_seconds: FirstWait = 0.5
    tasks: HarmTasks = ("harmless",)


class MiniatureJudgeSettings(Record):
    """The exact judge of the miniature world."""

    kind: Literal["miniature"] = Field(description="The exact judge; works on the miniature world only.")


class RefusalPhrasesSettings(Record):
    """A free but weak judge: it looks for phrases that begin refusals."""

    kind: Literal["refusal_phrases"] = Field(description="Looks for refusal phrases.")


class RubricFile(Record):
    """Your own judge prompt, in a file (docs/judges.md)."""

    path: Path = Field(description="Text file with placeholders, or JSON or JSONL in FastChat's format.")
    entry: Text | None = Field(default=None, description="Which prompt, if a FastChat file has several.")
    labels: dict[Text, Side | None] = Field(
        default={},
        description="Allowed labels, each with its side (null: neither); by default the file's.",
    )


class PythonJudgeSettings(Record):
    """A judge of your own, passed in from Python (docs/extending.md)."""

    kind: Literal["python"] = Field(description="A judge passed to `cst.run(..., judges={NAME: ...})`.")
    name: Text = Field(description="Its NAME there.")


class ChatJudgeSettings(Record):
    """A chat model that judges by rubrics (docs/judges.md)."""

    kind: Literal["chat"] = Field(description="A chat model with rubrics.")
    model: Text = Field(description="Name of the model in chat_models.")
    rubrics: dict[Text, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        default={
            "harmless": ("harmlessness",),
            "over_refusal": ("over_refusal",),
            "truthfulness": ("honesty", "persona"),
        },
        description="Rubrics of each task, from cst or rubric_files. Several rubrics must agree on the side.",
    )
    rubric_files: dict[Text, RubricFile] = Field(default={}, description="Your own rubrics, by name.")
    read: Literal["text", "logits"] = Field(
        default="text", description="Read the written verdict, or the probability of each label (local models only)."
    )
    margin: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="`logits`: unscored if the sides' probabilities differ by at most this.",
    )
    temperature: Temperature = 0.0
    max_new_tokens: int = Field(default=1024, ge=1, description="Token limit of a reply; at the limit it is unscored.")
    seed: int = Field(default=0, ge=0, description="Seed of nonces and of sampled replies.")


SingleJudgeSettings: TypeAlias = (
    MiniatureJudgeSettings
    | RefusalPhrasesSettings
    | PythonJudgeSettings
    | ChatJudgeSettings
    | ClassifierSettings
    | GuardSettings
    | ModerationSettings
)


class PanelSettings(Record):
    """Several judges that vote. Their agreement is reported."""

    kind: Literal["panel"] = Field(description="Several judges that vote.")
    members: Annotated[tuple[Annotated[SingleJudgeSettings, Field(discriminator="kind")], ...], Field(min_length=2)] = (
        Field(description="Two or more judges, each a `judge` section.")
    )
    rule: Literal["majority", "unanimous"] = Field(
        default="majority",
        description="`majority` of given verdicts, or the same from all (`unanimous`); else unscored.",
    )


JudgeSettings: TypeAlias = Annotated[SingleJudgeSettings | PanelSettings, Field(discriminator="kind")]


def single_judges(settings: JudgeSettings) -> tuple[SingleJudgeSettings, ...]:
    """The members of a panel, or the single judge in a tuple."""
    return settings.members if isinstance(settings, PanelSettings) else (settings,)


def chat_model_of(settings: SingleJudgeSettings) -> str | None:
    """The name in `chat_models` that a judge asks, or None."""
    return settings.model if isinstance(settings, ChatJudgeSettings | GuardSettings) else None
