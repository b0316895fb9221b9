"""Prompts to pairs: a model answers, criticises its answer and rewrites it; or answers in two ways.

Self-critique is section II of Configurable Safety Tuning (Gallego, arXiv 2404.00495): y0 is sampled, the model is asked
for a critique of it, and then for a revised y1. A contrast samples both sides under two system prompts, as the persona
data of the paper's second task was made. This file knows no model and no judge: both are passed in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cst.chat.base import ChatModel
from cst.errors import DataError
from cst.recipe import ContrastSettings, SelfCritiqueSettings, SynthesisSettings
from cst.records import Drop, Message, Prompt, ResponsePair, Side
from cst.synthesis.drafts import Asking, Draft, ask, to_pairs
from cst.synthesis.gates import SideJudge, SynthesisSummary, summarize
from cst.templates import fill

Made: TypeAlias = tuple[list[ResponsePair], list[Drop]]


@dataclass(frozen=True)
class Synthesis:
    """What came of the prompts: pairs, and drops with their reasons. Each prompt is in one of the two."""

    pairs: tuple[ResponsePair, ...]
    drops: tuple[Drop, ...]

    @property
    def summary(self) -> list[SynthesisSummary]:
        """Counts a task."""
        return summarize(self.pairs, self.drops)


def synthesize(
    prompts: Sequence[Prompt],
    chat: ChatModel,
    settings: SynthesisSettings,
    *,
    judge: SideJudge | None = None,
    seed: int = 0,
) -> Synthesis:
    """Make a pair from each prompt, by the method that the settings name for its task.

    `judge` gates both sides of a pair (an original that refuses teaches nothing); None for no such gate.

    Raises:
        DataError: A prompt's task has no method.
    """
    _refuse_unclaimed(prompts, settings)
    sampling = settings.sampling.model_copy(update={"seed": settings.sampling.seed + seed})
    asking = Asking(chat, sampling, judge if settings.judge_gate else None)
    pairs: list[ResponsePair] = []
    drops: list[Drop] = []
    for method in settings.methods:
        drafts = [Draft(prompt) for prompt in prompts if prompt.task in method.tasks]
        make = _self_critique(method) if isinstance(method, SelfCritiqueSettings) else _contrast(method)
        made, fallen = make(drafts, asking)
        pairs.extend(made)
        drops.extend(fallen)
    return Synthesis(tuple(pairs), tuple(drops))


def _refuse_unclaimed(prompts: Sequence[Prompt], settings: SynthesisSettings) -> None:
    claimed = [task for method in settings.methods for task in method.tasks]
    for prompt in prompts:
        if claimed.count(prompt.task) != 1:
            raise DataError(
                f"Prompt {prompt.id} has the task {prompt.task!r}, which {claimed.count(prompt.task)} of the recipe's "
                f"synthesis.methods claim ({sorted(set(claimed))}); name each task in just one of them."
            )


Maker: TypeAlias = Callable[[Sequence[Draft], Asking], Made]


def _self_critique(method: SelfCritiqueSettings) -> Maker:
    def conversation(draft: Draft) -> tuple[Message, ...]:
        """The transcript so far, without the system prompt: the critic is not bound by it."""
        return (
            *draft.prompt.turns,
            Message(role="assistant", content=draft.text("original")),
            _user(method.critique_request, draft),
        )

    def criticise(draft: Draft) -> tuple[tuple[Message, ...], str]:
        return conversation(draft), ""

    def revise(draft: Draft) -> tuple[tuple[Message, ...], str]:
        critique = Message(role="assistant", content=draft.text("critique"))
        return (*conversation(draft), critique, _user(method.revision_request, draft)), ""

    def make(drafts: Sequence[Draft], asking: Asking) -> Made:
        answer = _answering(method.original_system_prompt)
        answered, unanswered = ask(drafts, "original", answer, asking, Side.ORIGINAL)
        criticised, uncriticised = ask(answered, "critique", criticise, asking)
        revised, unrevised = ask(criticised, "revised", revise, asking, Side.REVISED)
        pairs, same = to_pairs(revised, f"self_critique by {asking.chat.name}")
        return pairs, [*unanswered, *uncriticised, *unrevised, *same]

    return make


def _contrast(method: ContrastSettings) -> Maker:
    def make(drafts: Sequence[Draft], asking: Asking) -> Made:
        first = _answering(method.original_system_prompt)
        second = _answering(method.revised_system_prompt, method.revised_prefix)
        answered, unanswered = ask(drafts, "original", first, asking, Side.ORIGINAL)
        revised, unrevised = ask(answered, "revised", second, asking, Side.REVISED)
        pairs, same = to_pairs(revised, f"contrast by {asking.chat.name}")
        return pairs, [*unanswered, *unrevised, *same]

    return make


def _answering(system_prompt: str | None, prefix: str = "") -> Callable[[Draft], tuple[tuple[Message, ...], str]]:
    def to_request(draft: Draft) -> tuple[tuple[Message, ...], str]:
        system = system_prompt if system_prompt is not None else draft.prompt.system_prompt
        turns = draft.prompt.turns
        return turns if not system else (Message(role="system", content=system), *turns), prefix

    return to_request


def _user(template: str, draft: Draft) -> Message:
    names = {"prompt": draft.prompt.text, "original": draft.text("original"), "critique": draft.text("critique")}
    return Message(role="user", content=fill(template, names))
