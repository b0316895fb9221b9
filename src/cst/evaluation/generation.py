"""Held-out prompts to completions, in a paired design: every prompt under every configuration of its task.

Beside the configurations stand rows that name none: no system prompt (`none`), a neutral one (`neutral`), and one of
another kind (`unknown`). This file doesn't know how a model answers, nor what an answer is worth.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import cycle

from cst.chat.asking import complete
from cst.chat.base import ChatModel, ChatRequest
from cst.errors import DataError
from cst.records import Completion, Framing, Message, Prompt, Record, SafetyConfiguration, Sampling, Text, WordingKind

DEFAULT_WORDINGS: tuple[WordingKind, ...] = ("canonical",)


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
    each prompt once more without any configuration; the configuration of these rows is that word.

    Raises:
        DataError: the same id twice, wordings that nobody has, or a prompt without the system prompt it needs.
    """
    others: dict[WordingKind, Sequence[str | None]] = {
        "none": (None,),
        "neutral": neutral_system_prompts,
        "unknown": unknown_system_prompts,
    }
    tasks = {task for configuration in configurations for task in configuration.tasks}
    planned: list[PlannedCompletion] = []
    for kind in dict.fromkeys(wordings):
        if kind in others:
            rows = _in_turn([prompt for prompt in prompts if prompt.task in tasks], kind, kind, others[kind])
            wanted = f"name some in generation.{kind}_system_prompts"
        else:
            rows = [row for each in configurations for row in _under(each, kind, prompts, own_or_none)]
            wanted = f"but no configuration has {kind}_wordings; add some"
        if (kind in others and not others[kind]) or (kind in ("held_out", "unseen") and not rows):
            raise DataError(f"generation.wordings asks for {kind!r}; {wanted}")
        planned += rows
    for id, times in Counter(row.request.id for row in planned).items():
        if times > 1:
            raise DataError(
                f"{times} completions would be called {id!r}; give prompts and configurations ids of their own"
            )
    return planned


def _under(
    configuration: SafetyConfiguration, kind: WordingKind, prompts: Sequence[Prompt], own_or_none: bool
) -> list[PlannedCompletion]:
    asked = [prompt for prompt in prompts if prompt.task in configuration.tasks]
    if kind != "canonical" or configuration.wordings:
        c = configuration
        texts = {"canonical": c.wordings[:1], "held_out": c.held_out_wordings, "unseen": c.unseen_wordings}[kind]
        return _in_turn(asked, configuration.name, kind, texts)
    # Prompts that bring a system prompt, as personas do: in some data not all of a task's prompts do.
    own = [prompt for prompt in asked if own_or_none or prompt.system_prompt is not None]
    if asked and not own:
        raise DataError(
            f"none of {len(asked)} prompts, such as {asked[0].id!r}, has a system prompt of its own, and "
            f"configuration {configuration.name!r} has no wordings: give one of them a system prompt"
        )
    return [_planned(prompt, configuration.name, kind, prompt.system_prompt) for prompt in own]


def _in_turn(
    prompts: Sequence[Prompt], configuration: str, kind: WordingKind, texts: Sequence[str | None]
) -> list[PlannedCompletion]:
    """Each prompt under the next of the texts; none where there is no text."""
    return [_planned(prompt, configuration, kind, text) for prompt, text in zip(prompts, cycle(texts), strict=False)]


def _planned(prompt: Prompt, configuration: str, kind: WordingKind, system_prompt: str | None) -> PlannedCompletion:
    system = () if system_prompt is None else (Message(role="system", content=system_prompt),)
    return PlannedCompletion(
        request=ChatRequest(id=f"{prompt.id}/{configuration}/{kind}", messages=(*system, *prompt.turns)),
        prompt=prompt,
        configuration=configuration,
        system_prompt=system_prompt,
        wordings=kind,
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
    `model_name` replaces the chat's name.
    """
    sampling = sampling or Sampling()
    name = model_name or chat.name
    prefix = f"{name}/T={sampling.temperature:g}"
    description = f"generate {name}, T = {sampling.temperature:g}"
    replies = complete(chat, [row.request for row in planned], sampling, description=description)
    return [
        Completion(
            id=f"{prefix}/{row.request.id}",
            model=name,
            temperature=sampling.temperature,
            text=reply.text,
            finish_reason=reply.finish_reason,
            **{field: value for field, value in row if field != "request"},
        )
        for row, reply in zip(planned, replies, strict=True)
    ]
