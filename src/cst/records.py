"""The records that cross disks: frozen, unknown fields refused, one line of JSON each.

Every arrow of the method is a file of one kind of record (DESIGN: prompts, pairs, preferences, completions, verdicts,
scores). This file owns their shape and nothing else: it doesn't know where they come from, how they are stored, or
what a tensor is.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

Text = Annotated[str, Field(min_length=1)]
"""Text that says something: the empty string is refused."""

Temperature = Annotated[float, Field(ge=0, le=5, description="0 is greedy.")]

FinishReason = Literal["stop", "length", "content_filter"]
"""Why a response ended: at its end-of-turn token, cut by the token limit, or withheld by a server's content filter."""

WordingKind = Literal["canonical", "held_out", "unseen", "none", "neutral", "unknown"]
"""Which system prompt stood there: the configuration's first wording (or the prompt's own, where the configuration has
none); one held out of tuning; one seen nowhere; no system prompt; a neutral one that names no configuration; one of
another kind (a form, a role, another task's configuration), which names none of the task's either."""

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
"""How a user's turns speak for another configuration (`cst.evaluation.framings` has the words); `plain` doesn't."""

ExchangesBefore = Literal["after_0_exchanges", "after_1_exchange", "after_2_exchanges", "after_4_exchanges"]
"""How many benign exchanges stand before a prompt."""

Framing = OverrideFamily | ExchangesBefore
"""How a prompt was put by an arm that puts it in several ways; each kind has its own control, the prompt as it is."""


NO_CONFIGURATION = "none"
"""What stands for a configuration where there is no system prompt."""


class Record(BaseModel):
    """The base of all records: frozen; an unknown field is an error, and so is a number that isn't finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


NOT_WRITTEN_IF_NONE = Field(exclude_if=lambda value: value is None)
"""For fields that most records do without: files that never had them keep their bytes."""

NOT_WRITTEN_IF_EMPTY = Field(exclude_if=lambda value: not value)
"""The same for texts and tuples."""


def _ends_the_text(given: str, info: ValidationInfo) -> str:
    text = next((info.data[name] for name in ("content", "text", "prompt") if name in info.data), None)
    if given and text is not None and not text.endswith(f"\n{given}"):
        raise ValueError(f"the input {given[:40]!r} isn't the last lines of the text; add it there")
    return given


Input = Annotated[str, AfterValidator(_ends_the_text), NOT_WRITTEN_IF_EMPTY]
"""The last lines of the text of a record, where these are what an instruction is about. Where it isn't given, as in
most records, nothing is checked: a check of the whole record would cost a million of them seconds."""


class Message(Record):
    """One turn of a conversation.

    `input` are the last lines of `content` where these are what an instruction is about (Alpaca's `input`): templates
    that set it apart, set it apart; for all others `content` says everything.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    input: Input = ""

    @property
    def instruction(self) -> str:
        """`content` without its input."""
        return self.content.removesuffix(f"\n{self.input}") if self.input else self.content


def _check_history(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    roles = [turn.role for turn in turns]
    if len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
        raise ValueError(f"a history is user, assistant, ..., and ends with an assistant's turn, not {roles}")
    return turns


History = Annotated[tuple[Message, ...], AfterValidator(_check_history), Field(exclude_if=lambda turns: not turns)]
"""The turns before a prompt: user, assistant, ..., assistant. Where there are none, the field isn't written."""


class Sampling(Record):
    """How a response is drawn: temperature 0 is greedy."""

    temperature: Temperature = 0.0
    top_p: Annotated[float, Field(gt=0, le=1, description="Nucleus sampling; 1 keeps all tokens.")] = 1.0
    top_k: Annotated[
        int,
        Field(ge=0, exclude_if=lambda k: not k, description="Draw from the k most probable tokens; 0 is all."),
    ] = 0
    num_beams: Annotated[
        int,
        Field(ge=1, le=64, exclude_if=lambda n: n == 1, description="Beams of a search; 1 is none. Local models only."),
    ] = 1
    max_new_tokens: Annotated[int, Field(ge=1, description="Longest answer in tokens.")] = 512
    seed: Annotated[int, Field(description="With the request's id, it names the random numbers.")] = 0

    @property
    def local_only(self) -> str:
        """What it asks for that OpenAI's API knows no word for, such as `top_k=40`; empty if nothing.

        A server that ignored it would answer otherwise than asked.
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
    """x: what a user asks, with the system prompt that the data itself brings, if any.

    `history` holds the turns before `text`, where the data is a conversation of several turns.
    `groups` names what prompts have in common (`{"frame": "3", "item": "fireball"}`): prompts that share a group are
    not independent, and widen the intervals.
    `original` is an answer that the data itself brings; synthesis then samples none.
    `input` are the last lines of `text` where these are what an instruction is about (see Message).
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
        """The conversation to be answered, without a system prompt; the last turn is `text`."""
        return (*self.history, Message(role="user", content=self.text, input=self.input))


class SidePerTopic(Record):
    """A preferred side for each topic, and one for every topic not named."""

    default: Side = Field(description="The side for topics not named.")
    topics: dict[str, Side] = Field(default={}, description="Topics with a side of their own.")


class SafetyConfiguration(Record):
    """A side that wins, and the system prompts under which it does.

    `wordings` are trained on, the first is the canonical one; without wordings the configuration stands under each
    prompt's own system prompt. `held_out_wordings` and `unseen_wordings` are for evaluation alone. `tasks` are the
    tasks that the configuration speaks of.
    """

    name: Text = Field(description="What it is called in files, reports and commands.")
    prefers: Side | SidePerTopic = Field(description="The side that wins, for all prompts or topic by topic.")
    tasks: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(description="The tasks that it speaks of.")
    wordings: tuple[Text, ...] = Field(
        default=(), description="System prompts to train on, the canonical one first; none for each prompt's own."
    )
    held_out_wordings: tuple[Text, ...] = Field(default=(), description="System prompts for evaluation alone.")
    unseen_wordings: tuple[Text, ...] = Field(
        default=(), description="As held-out ones, and in none of the start model's texts either."
    )

    def preferred_side(self, prompt: Prompt) -> Side:
        """The side that should win for this prompt under this configuration."""
        if isinstance(self.prefers, Side):
            return self.prefers
        if prompt.topic is None:
            return self.prefers.default
        return self.prefers.topics.get(prompt.topic, self.prefers.default)


class TranscriptStep(Record):
    """One step on the way to a pair: what a model was asked, and what it said.

    `step` is `original`, `critique` or `revised`, from the second round on with the round's number (`critique_2`).
    `model` and `request` are None where the prompt brought the answer. `request` is the last user turn; the turns
    before it are the prompt's and those of earlier steps.
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

    `critique` is the last one, or None where the revised answer came by another way than self-critique; `author` says
    which way. `transcript` has every step; where there is none, the field isn't written.
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
    """A prompt that gave no pair, the named reason, and what had been said by then."""

    prompt_id: Text
    task: Text
    reason: Text
    original: str = ""
    critique: str = ""
    revised: str = ""


class Preference(Record):
    """One row to train on: under this system prompt, `chosen` is preferred to `rejected`.

    `history` holds the turns before `prompt`, where the data is a conversation of several turns.
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
        """The conversation to be answered, without the system prompt; the last turn is `prompt`."""
        return (*self.history, Message(role="user", content=self.prompt))

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same text: the row prefers nothing; drop it")
        return self


class Demonstration(Record):
    """One row of supervised tuning: to this prompt, `response` is what is to be said.

    `task` tells kinds of rows apart in metrics and mixtures, such as `instructions` and `safety`; `source` names the
    file or data set that the row came from. `input` are the last lines of `prompt` where these are what an instruction
    is about (see Message).
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
        """The conversation to be answered, without the system prompt; the last turn is `prompt`."""
        return (*self.history, Message(role="user", content=self.prompt, input=self.input))


class Completion(Record):
    """What a model said to a prompt under a configuration.

    Where the arm had a `framing`, `asked` are the turns as it put them; `prompt` is always what is to be answered.
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
    """What one judge among several saw; `score` is the number it was read from, where there is one."""

    judge: Text
    exhibits: Side | None
    score: Annotated[float | None, NOT_WRITTEN_IF_NONE] = None
    explanation: str = ""


class Verdict(Record):
    """Which behaviour a judge saw in a completion; `exhibits` is None where it could not tell (unscored).

    `score` is the number it was read from, where the judge works with one; `votes` are those of the judges that it was
    made of, where there were several. Where there is none, the field isn't written.
    """

    completion_id: Text
    exhibits: Side | None
    judge: Text
    explanation: str = ""
    score: Annotated[float | None, NOT_WRITTEN_IF_NONE] = None
    votes: Annotated[tuple[Vote, ...], Field(exclude_if=lambda votes: not votes)] = ()


class Score(Record):
    """A rate that carries its interval: of `n` scored completions, `followed` did what the configuration prefers.

    `low` and `high` bound the rate at 95 %; `interval` names the method. `unscored` completions are in neither
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
        """`followed / n`, or None where nothing was scored."""
        return self.followed / self.n if self.n else None


class MultipleChoiceItem(Record):
    """One question of a capability set; `answer` is the index of the right choice."""

    id: Text
    set: Text
    question: Text
    choices: Annotated[tuple[Text, ...], Field(min_length=2)]
    answer: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Self:
        if self.answer >= len(self.choices):
            raise ValueError(f"answer={self.answer} names none of the {len(self.choices)} choices")
        return self
