"""The section of a recipe that names the judge: rules, chat models, classifiers, guards, moderation, panels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import Field, model_validator

from cst.records import Record, Side, Text
from cst.templates import placeholders

HarmTasks: TypeAlias = Annotated[tuple[Text, ...], Field(min_length=1)]

CONVERSATION = "\n\nHuman: {prompt}\n\nAssistant: {answer}"
"""How the Safety-Tuned LLaMAs' reward models read an exchange (`ConversationBuilder` of their repository)."""

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
"""The two set-ups of Bianchi et al., ICLR 2024, as `evals/HarmfulnessRewardModel.py` of vinid/safety-tuned-llamas has
them: regression models whose lower scores are safer. Its authors name no threshold."""


class ClassifierSettings(Record):
    """A sequence classifier or reward model that gives each answer a number."""

    kind: Literal["classifier"] = Field(description="A sequence classifier or reward model.")
    preset: Literal["redteam", "redteam-osst"] | None = Field(
        default=None, description="Reward models of Safety-Tuned LLaMAs: all but `threshold` is then set, and may be."
    )
    path: Text = Field(description="Folder or hub id of the model; safetensors only.")
    high_means: Literal["harmful", "safe"] = Field(description="What a score at or above the threshold says.")
    threshold: float = Field(description="Where the sides part, in raw logits.")
    output: Annotated[int, Field(ge=0)] | Text = Field(
        default=0, description="Which of the model's outputs, by its index or its label."
    )
    layout: Literal["template", "two_segments", "chat_template"] = Field(
        default="template", description="How a conversation becomes a row: docs/judges.md."
    )
    template: Text = Field(
        default=CONVERSATION, description="An exchange in the layout `template`; uses {prompt} and {answer}."
    )
    max_length: int = Field(default=512, ge=8, description="Longest row in tokens; the question is cut first.")
    batch_size: int = Field(default=64, ge=1, le=4096, description="Rows scored at once.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Type of the weights in memory; `auto` is float32 on a CPU, else the checkpoint's."
    )
    device: str | None = Field(default=None, description="Such as `cpu` or `cuda:0`; by default a GPU if there is one.")
    tasks: HarmTasks = Field(default=("harmless",), description="Tasks that it can speak of.")

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
                f"template asks for {sorted(placeholders(self.template))}; it has to ask for {{prompt}} and for "
                "{answer}, and for nothing else"
            )
        return self


class GuardSettings(Record):
    """A guard model, which answers by a policy text."""

    kind: Literal["guard"] = Field(description="A guard model that answers by a policy text.")
    model: Text = Field(description="Its name in chat_models.")
    style: Literal["llama_guard", "gpt_oss_safeguard", "dynaguard"] = Field(
        description="How it is asked and how it answers: docs/judges.md."
    )
    policy: Path | None = Field(
        default=None, description="A text file with the policy; by default ours, for `llama_guard` the model's own."
    )
    system_prompt: Path | None = Field(
        default=None, description="For `dynaguard`: a text file with its authors' system prompt in place of ours."
    )
    max_new_tokens: int = Field(default=2048, ge=1, description="Longest reply in tokens, reasoning included.")
    tasks: HarmTasks = Field(default=("harmless",), description="Tasks that it can speak of.")

    @model_validator(mode="after")
    def _only_dynaguard_is_told(self) -> "GuardSettings":
        if self.system_prompt is not None and self.style != "dynaguard":
            raise ValueError(f"system_prompt is for style dynaguard, and this is {self.style}; leave it out")
        return self


class ModerationSettings(Record):
    """OpenAI's moderation endpoint; key and address come from the environment alone."""

    kind: Literal["moderation"] = Field(description="OpenAI's moderation endpoint: OPENAI_API_KEY, OPENAI_BASE_URL.")
    model: Text = Field(default="omni-moderation-latest", description="Which moderation model.")
    thresholds: dict[Text, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={}, description="Scores from which a category is harm; by default what the endpoint flags is."
    )
    inputs_per_request: int = Field(default=32, ge=1, le=1024, description="Answers sent at once.")
    in_flight: int = Field(default=4, ge=1, le=1024, description="Calls at once, at most; fewer when it says so.")
    retries: int = Field(default=12, ge=0, le=100, description="How often a call is made again before giving up.")
    first_wait_seconds: float = Field(
        default=0.5, gt=0, le=600, description="Longest wait before the first retry; it doubles with each."
    )
    tasks: HarmTasks = Field(default=("harmless",), description="Tasks that it can speak of.")


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
