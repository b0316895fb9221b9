"""The records that are written to disk: frozen, closed to unknown fields, one line of JSON each.

Every step of the method reads and writes files of one kind of record: prompts, pairs, preferences, completions,
verdicts, scores. This file owns their fields. It does not know how they are made or stored, or what a tensor is.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

Text = Annotated[str, Field(min_length=1)]
"""A non-empty string."""

Temperature = Annotated[float, Field(ge=0, le=5, description="0 is greedy.")]

FinishReason = Literal["stop", "length", "content_filter"]
"""Why a response ended: end-of-turn token, token limit, or a server's content filter."""

WordingKind = Literal["canonical", "held_out", "unseen", "none", "neutral", "unknown"]
"""Which system prompt was used. `canonical`: the configuration's first wording, or the prompt's own if it has none;
`held_out`: a wording not trained on; `unseen`: a wording that also the start model never saw; `none`: no system prompt;
`neutral`: a generic one; `unknown`: an unrelated one (an output form, a role, another task's configuration)."""

OverrideFamily = Literal[
    "plain",
    "prefix",
    "suffix",
    "quoted",
    "in_german",
    "in_french",
    "in_spanish",
    "ignore_system",
    "claimed_authority",
    "fake_role_header",
    "fake_chatml",
    "fake_llama",
    "fake_phi",
    "role_play",
    "second_turn",
    "many_shot",
    "base64",
    "rot13",
]
"""How user turns try to override the configuration (texts: `cst.evaluation.framings`); `plain` does not try."""

ExchangesBefore = Literal["after_0_exchanges", "after_1_exchange", "after_2_exchanges", "after_4_exchanges"]
"""How many benign exchanges precede a prompt."""

Framing = OverrideFamily | ExchangesBefore
"""How an arm framed a prompt. Each kind includes its control: the plain prompt, or 0 exchanges."""


NO_CONFIGURATION = "none"
"""The configuration's name where there is no system prompt."""


class Record(BaseModel):
    """The base of all records: frozen; unknown fields and non-finite numbers are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


NOT_WRITTEN_IF_NONE = Field(exclude_if=lambda value: value is None)
"""For optional fields that are not written when None, so that older files keep their bytes."""

NOT_WRITTEN_IF_EMPTY = Field(exclude_if=lambda value: not value)
"""The same for empty strings and tuples."""


def _ends_the_text(given: str, info: ValidationInfo) -> str:
    text = next((info.data[name] for name in ("content", "text", "prompt") if name in info.data), None)
    if given and text is not None and not text.endswith(f"\n{given}"):
        raise ValueError(f"the input {given[:40]!r} isn't the last lines of the text; add it there")
    return given


Input = Annotated[str, AfterValidator(_ends_the_text), NOT_WRITTEN_IF_EMPTY]
"""The last lines of a record's text, if they are the input of an instruction. Only a given input is checked: checking
every record would add seconds per million records."""


class Message(Record):
    """One turn of a conversation.

    `input` holds the last lines of `content` if they are the input of an instruction (as in Alpaca). Some templates
    render it separately; for all others `content` is complete.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    input: Input = ""

    @property
    def instruction(self) -> str:
        """`content` without `input`."""
        return self.content.removesuffix(f"\n{self.input}") if self.input else self.content


def _check_history(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    roles = [turn.role for turn in turns]
    if len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
        raise ValueError(f"a history must be user, assistant, ..., and end with an assistant turn, but has {roles}")
    return turns


History = Annotated[tuple[Message, ...], AfterValidator(_check_history), Field(exclude_if=lambda turns: not turns)]
"""The turns before a prompt: user, assistant, ..., assistant. An empty history is not written."""


class Sampling(Record):
    """How a response is sampled; temperature 0 is greedy."""

    temperature: Temperature = 0.0
    top_p: Annotated[float, Field(gt=0, le=1, description="Nucleus sampling; 1: all tokens.")] = 1.0
    top_k: Annotated[
        int,
        Field(ge=0, exclude_if=lambda k: not k, description="Sample from the k most probable tokens; 0: all."),
    ] = 0
    num_beams: Annotated[
        int,
        Field(
            ge=1, le=64, exclude_if=lambda n: n == 1, description="Beams of beam search; 1: none. Local models only."
        ),
    ] = 1
    max_new_tokens: Annotated[int, Field(ge=1, description="Token limit of an answer.")] = 512
    seed: Annotated[int, Field(description="Seed; with the request's id it decides the random numbers.")] = 0

    @property
    def local_only(self) -> str:
        """Settings that OpenAI's API does not have, such as `top_k=40`; empty if there are none.

        A server would ignore them and sample differently.
        """
        top_k = [f"top_k={self.top_k}"] if self.top_k else []
        return " and ".join(top_k + ([f"num_beams={self.num_beams}"] if self.num_beams > 1 else []))


class Side(StrEnum):
    """The two sides of a pair: the paper's y0 (`original`) and y1 (`revised`)."""

    ORIGINAL = "original"
    REVISED = "revised"

    @property
    def other(self) -> "Side":
        """The opposite side."""
        return Side.REVISED if self is Side.ORIGINAL else Side.ORIGINAL


class Prompt(Record):
    """x: what a user asks, with the data's own system prompt, if any.

    `history` holds the turns before `text` in a conversation of several turns.
    `groups` names what prompts have in common (`{"frame": "3", "item": "fireball"}`). Prompts that share a group are
    not independent, so intervals are wider.
    `original` is an answer from the data; synthesis then samples none.
    `input` is as in Message.
    """

    id: Text
    text: Text
    task: Text
    topic: Text | None = None
    system_prompt: Text | None = None
    groups: dict[str, str] = {}
    history: History = ()
    original: Annotated[Text | None, NOT_WRITTEN_IF_NONE] = None
    input: Input = ""

    @property
    def turns(self) -> tuple[Message, ...]:
        """The conversation to answer, without a system prompt; the last turn is `text`."""
        return (*self.history, Message(role="user", content=self.text, input=self.input))


class SidePerTopic(Record):
    """A preferred side per topic, and one for all other topics."""

    default: Side = Field(description="The side for all other topics.")
    topics: dict[str, Side] = Field(default={}, description="The side of each named topic.")


class SafetyConfiguration(Record):
    """The side that should win, and the system prompts under which it should.

    `wordings` are trained on; the first is the canonical one. Without wordings, each prompt's own system prompt is
    used. `held_out_wordings` and `unseen_wordings` are for evaluation only. The configuration applies to `tasks`.
    """

    name: Text = Field(description="Its name in files, reports and commands.")
    prefers: Side | SidePerTopic = Field(description="The side that wins, for all prompts or per topic.")
    tasks: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(description="The tasks it applies to.")
    wordings: tuple[Text, ...] = Field(
        default=(), description="System prompts to train on, canonical first; empty: each prompt's own."
    )
    held_out_wordings: tuple[Text, ...] = Field(default=(), description="System prompts for evaluation only.")
    unseen_wordings: tuple[Text, ...] = Field(
        default=(), description="For evaluation only, and not in the start model's training texts."
    )

    def preferred_side(self, prompt: Prompt) -> Side:
        """The side that should win for this prompt under this configuration."""
        if isinstance(self.prefers, Side):
            return self.prefers
        if prompt.topic is None:
            return self.prefers.default
        return self.prefers.topics.get(prompt.topic, self.prefers.default)


class TranscriptStep(Record):
    """One step of synthesis: the request and the model's reply.

    `step` is `original`, `critique` or `revised`; from the second round on it has a number (`critique_2`). `model` and
    `request` are None if the answer came from the data. `request` is the last user turn; the turns before it are the
    prompt's and the earlier steps'.
    """

    step: Text
    model: Annotated[Text | None, NOT_WRITTEN_IF_NONE] = None
    principle: Annotated[Text | None, NOT_WRITTEN_IF_NONE] = None
    system_prompt: Annotated[Text | None, NOT_WRITTEN_IF_NONE] = None
    request: Annotated[str | None, NOT_WRITTEN_IF_NONE] = None
    text: str
    finish_reason: FinishReason


class ResponsePair(Record):
    """(x, y0, y1) with its audit trail.

    `critique` is the last critique, or None if the method has none; `author` names who wrote the answers and how.
    `transcript` has every step; an empty one is not written.
    """

    prompt: Prompt
    original: Text
    critique: Text | None = None
    revised: Text
    author: Text
    original_finish_reason: FinishReason = "stop"
    revised_finish_reason: FinishReason = "stop"
    transcript: Annotated[tuple[TranscriptStep, ...], Field(exclude_if=lambda steps: not steps)] = ()

    def response(self, side: Side) -> str:
        """The text of one side."""
        return self.original if side is Side.ORIGINAL else self.revised


class Drop(Record):
    """A prompt that gave no pair: the reason, and the texts up to that point."""

    prompt_id: Text
    task: Text
    reason: Text
    original: str = ""
    critique: str = ""
    revised: str = ""


class Preference(Record):
    """One row to train on: under this system prompt, `chosen` is preferred to `rejected`.

    `history` holds the turns before `prompt` in a conversation of several turns.
    """

    id: Text
    task: Text
    topic: Text | None = None
    configuration: Text
    system_prompt: str | None = None
    prompt: Text
    chosen: Text
    rejected: Text
    history: History = ()

    @property
    def turns(self) -> tuple[Message, ...]:
        """The conversation to answer, without the system prompt; the last turn is `prompt`."""
        return (*self.history, Message(role="user", content=self.prompt))

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same text: the row prefers nothing; drop it")
        return self


class Demonstration(Record):
    """One row of supervised tuning: `response` is the answer to learn.

    `task` names the kind of row in metrics and mixtures, such as `instructions` or `safety`; `source` names the row's
    file or data set. `input` is as in Message.
    """

    id: Text
    task: Text
    topic: Text | None = None
    source: Annotated[Text | None, NOT_WRITTEN_IF_NONE] = None
    system_prompt: str | None = None
    prompt: Text
    input: Input = ""
    response: Text
    history: History = ()

    @property
    def turns(self) -> tuple[Message, ...]:
        """The conversation to answer, without the system prompt; the last turn is `prompt`."""
        return (*self.history, Message(role="user", content=self.prompt, input=self.input))


class Completion(Record):
    """A model's answer to a prompt under a configuration.

    If the arm had a `framing`, `asked` holds the framed turns; `prompt` is always the plain prompt.
    """

    id: Text
    prompt: Prompt
    configuration: Text
    system_prompt: str | None
    wordings: WordingKind
    model: Text
    temperature: Annotated[float, Field(ge=0)]
    text: str
    finish_reason: FinishReason
    framing: Annotated[Framing | None, NOT_WRITTEN_IF_NONE] = None
    asked: Annotated[tuple[Message, ...], Field(exclude_if=lambda turns: not turns)] = ()


class Vote(Record):
    """The verdict of one judge of a panel; `score` is the number behind it, if any."""

    judge: Text
    exhibits: Side | None
    score: Annotated[float | None, NOT_WRITTEN_IF_NONE] = None
    explanation: str = ""


class Verdict(Record):
    """Which side a judge saw in a completion; `exhibits` is None if it could not tell (unscored).

    `score` is the number behind the verdict, if the judge gives one; `votes` are the votes of a panel's members. A
    missing score and missing votes are not written.
    """

    completion_id: Text
    exhibits: Side | None
    judge: Text
    explanation: str = ""
    score: Annotated[float | None, NOT_WRITTEN_IF_NONE] = None
    votes: Annotated[tuple[Vote, ...], Field(exclude_if=lambda votes: not votes)] = ()


class Score(Record):
    """A rate with its interval: of `n` scored completions, `followed` showed the side that the configuration prefers.

    `low` and `high` are the 95 % interval; `interval` names its method. `unscored` completions count in neither
    `followed` nor `n`.
    """

    model: Text
    task: Text
    configuration: Text
    wordings: WordingKind
    temperature: Annotated[float, Field(ge=0)]
    followed: Annotated[int, Field(ge=0)]
    n: Annotated[int, Field(ge=0)]
    unscored: Annotated[int, Field(ge=0)]
    low: Annotated[float, Field(ge=0, le=1)]
    high: Annotated[float, Field(ge=0, le=1)]
    interval: Literal["wilson", "grouped_wilson", "cluster_bootstrap"]
    framing: Annotated[Framing | None, NOT_WRITTEN_IF_NONE] = None

    @property
    def rate(self) -> float | None:
        """`followed / n`, or None if nothing was scored."""
        return self.followed / self.n if self.n else None


class MultipleChoiceItem(Record):
    """One question of a capability set; `answer` is the index of the correct choice."""

    id: Text
    set: Text
    question: Text
    choices: Annotated[tuple[Text, ...], Field(min_length=2)]
    answer: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Self:
        if self.answer >= len(self.choices):
            raise ValueError(f"answer={self.answer} is not the index of one of {len(self.choices)} choices")
        return self
