"""Held-out prompts to completions, in a paired design: every prompt under every configuration that speaks of its task.

Beside the configurations stand rows that name none: no system prompt (`none`), a neutral one (`neutral`), and one of
another kind (`unknown`). This file doesn't know how a model answers, nor what an answer is worth.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cst.chat.asking import complete
from cst.chat.base import ChatModel, ChatRequest
from cst.errors import DataError
from cst.records import Completion, Framing, Message, Prompt, Record, SafetyConfiguration, Sampling, Text, WordingKind

DEFAULT_WORDINGS: tuple[WordingKind, ...] = ("canonical",)

WithoutConfiguration = Mapping[WordingKind, Sequence[str | None]]
"""System prompts that name no configuration, by the kind of wording that asks for them."""


class PlannedCompletion(Record):
    """A completion that is still to be made; `request.id` is the same for every model, so that draws are shared.

    `asked` are the turns as a `framing` puts them; see `framings`.
    """

    request: ChatRequest
    prompt: Prompt
    configuration: Text
    system_prompt: str | None
    wordings: WordingKind
    framing: Framing | None = None
    asked: tuple[Message, ...] = ()


def completion_requests(
    prompts: Sequence[Prompt],
    configurations: Sequence[SafetyConfiguration],
    *,
    wordings: Sequence[WordingKind] = DEFAULT_WORDINGS,
    neutral_system_prompts: Sequence[str] = (),
    unknown_system_prompts: Sequence[str] = (),
    own_or_none: bool = False,
) -> list[PlannedCompletion]:
    """What is to be asked, ordered by wordings, configuration and prompt.

    `canonical` asks under a configuration's first wording; one without wordings is asked of the prompts that bring a
    system prompt of their own, under that (with `own_or_none`, for supervised tuning, also of the others, under none);
    `held_out` and `unseen` go round the configuration's lists, prompt by prompt; `none`, `neutral` and `unknown` ask
    each prompt once more without any configuration, and bear these names as their configuration's.

    Raises:
        DataError: the same id twice, wordings that nobody has, or a prompt without the system prompt it needs.
    """
    planned: list[PlannedCompletion] = []
    others: WithoutConfiguration = {
        "none": (None,),
        "neutral": neutral_system_prompts,
        "unknown": unknown_system_prompts,
    }
    for kind in dict.fromkeys(wordings):
        rows = list(_rows(kind, prompts, configurations, others, own_or_none))
        if not rows and kind in ("held_out", "unseen"):
            raise DataError(
                f"generation.wordings asks for {kind!r}, but no configuration has {kind}_wordings; add some"
            )
        planned.extend(rows)
    _reject_equal_ids(planned)
    return planned


def _rows(
    kind: WordingKind,
    prompts: Sequence[Prompt],
    configurations: Sequence[SafetyConfiguration],
    others: WithoutConfiguration,
    own_or_none: bool,
) -> Iterator[PlannedCompletion]:
    if kind in others:
        tasks = {task for configuration in configurations for task in configuration.tasks}
        texts = _named(kind, others[kind])
        for index, prompt in enumerate(prompt for prompt in prompts if prompt.task in tasks):
            yield _planned(prompt, kind, kind, texts[index % len(texts)])
        return
    for configuration in configurations:
        texts = _wordings(configuration, kind)
        asked = [prompt for prompt in prompts if prompt.task in configuration.tasks]
        if not texts and kind == "canonical":
            yield from _under_their_own(asked, configuration, own_or_none)
        for index, prompt in enumerate(asked if texts else ()):
            yield _planned(prompt, configuration.name, kind, texts[index % len(texts)])


def _named(kind: WordingKind, texts: Sequence[str | None]) -> Sequence[str | None]:
    if not texts:
        raise DataError(f"generation.wordings asks for {kind!r}; name some in generation.{kind}_system_prompts")
    return texts


def _wordings(configuration: SafetyConfiguration, kind: WordingKind) -> Sequence[str]:
    match kind:
        case "canonical":
            return configuration.wordings[:1]
        case "held_out":
            return configuration.held_out_wordings
        case "unseen":
            return configuration.unseen_wordings
        case _:
            return ()


def _under_their_own(
    prompts: Sequence[Prompt], configuration: SafetyConfiguration, own_or_none: bool
) -> Iterator[PlannedCompletion]:
    """The prompts that bring a system prompt, as personas do: in some data not all of a task's prompts do."""
    own = [prompt for prompt in prompts if own_or_none or prompt.system_prompt is not None]
    if prompts and not own:
        raise DataError(
            f"none of {len(prompts)} prompts, such as {prompts[0].id!r}, has a system prompt of its own, and "
            f"configuration {configuration.name!r} has no wordings: give one of them a system prompt"
        )
    for prompt in own:
        yield _planned(prompt, configuration.name, "canonical", prompt.system_prompt)


def _planned(prompt: Prompt, configuration: str, kind: WordingKind, system_prompt: str | None) -> PlannedCompletion:
    system = () if system_prompt is None else (Message(role="system", content=system_prompt),)
    return PlannedCompletion(
        request=ChatRequest(id=f"{prompt.id}/{configuration}/{kind}", messages=(*system, *prompt.turns)),
        prompt=prompt,
        configuration=configuration,
        system_prompt=system_prompt,
        wordings=kind,
    )


def _reject_equal_ids(planned: Sequence[PlannedCompletion]) -> None:
    for id, times in Counter(row.request.id for row in planned).items():
        if times > 1:
            raise DataError(
                f"{times} completions would be called {id!r}; give prompts and configurations ids of their own"
            )


def generate(
    prompts: Sequence[Prompt],
    configurations: Sequence[SafetyConfiguration],
    chat: ChatModel,
    *,
    wordings: Sequence[WordingKind] = DEFAULT_WORDINGS,
    neutral_system_prompts: Sequence[str] = (),
    unknown_system_prompts: Sequence[str] = (),
    own_or_none: bool = False,
    sampling: Sampling | None = None,
    model_name: str | None = None,
) -> list[Completion]:
    """Ask `chat` everything that `completion_requests` plans; see there and in `ask`."""
    planned = completion_requests(
        prompts,
        configurations,
        wordings=wordings,
        neutral_system_prompts=neutral_system_prompts,
        unknown_system_prompts=unknown_system_prompts,
        own_or_none=own_or_none,
    )
    return ask(planned, chat, sampling=sampling, model_name=model_name)


def ask(
    planned: Sequence[PlannedCompletion],
    chat: ChatModel,
    *,
    sampling: Sampling | None = None,
    model_name: str | None = None,
) -> list[Completion]:
    """Everything that is planned, answered; greedily, unless `sampling` says otherwise.

    A completion's id is `MODEL/T=TEMPERATURE/PROMPT/CONFIGURATION/WORDINGS`, and the framing where it has one;
    `model_name` stands for the chat's name.
    """
    sampling = sampling or Sampling()
    name = model_name or chat.name
    prefix = f"{name}/T={sampling.temperature:g}"
    description = f"generate {name}, T = {sampling.temperature:g}"
    replies = complete(chat, [row.request for row in planned], sampling, description=description)
    return [
        Completion(
            id=f"{prefix}/{row.request.id}",
            prompt=row.prompt,
            configuration=row.configuration,
            system_prompt=row.system_prompt,
            wordings=row.wordings,
            model=name,
            temperature=sampling.temperature,
            text=reply.text,
            finish_reason=reply.finish_reason,
            framing=row.framing,
            asked=row.asked,
        )
        for row, reply in zip(planned, replies, strict=True)
    ]
