"""Prompts to pairs: a model answers, criticises its answer and rewrites it; or answers in two ways.

Self-critique is section II of Configurable Safety Tuning (Gallego, arXiv 2404.00495): y0 is sampled, the model is asked
for a critique of it, and then for a revised y1. Several rounds, and principles of which each round draws one at random,
are Constitutional AI's (Bai et al., arXiv 2212.08073, section 3.1). A round criticises the answer as the round before
left it, and sees no earlier critique. A contrast samples both sides under two system prompts, as the persona data of
the paper's second task was made. This file knows no model and no judge: both are passed in.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from cst.chat.base import ChatModel
from cst.errors import DataError
from cst.near_duplicates import Numbered
from cst.recipe.synthesis import ContrastSettings, SelfCritiqueSettings, SynthesisMethod, SynthesisSettings
from cst.records import Drop, Message, Prompt, ResponsePair, Side
from cst.synthesis.casting import Roles, cast
from cst.synthesis.drafts import Asking, Draft, Made, Question, Step, make_pairs, step_name
from cst.synthesis.gates import SideJudge, SynthesisSummary, faults_of_set, sound_pairs, summarize
from cst.templates import fill

PROMPTS_AT_ONCE = 10_000
"""Prompts that are worked on together: what bounds the memory. A local model's batches are made up within them."""


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
    chat: ChatModel | None,
    settings: SynthesisSettings,
    *,
    chat_models: Mapping[str, ChatModel] | None = None,
    held_out: Sequence[Prompt] = (),
    judge: SideJudge | None = None,
    seed: int = 0,
) -> Synthesis:
    """Make a pair from each prompt, by the method that the settings name for its task.

    `chat` has all roles that the settings leave open, and `chat_models` are those that they name. `judge` gates both
    sides of a pair (an original that refuses teaches nothing); None for no such gate. Prompts that are close to one of
    `held_out`, and pairs with faults, fall out as `settings.gates` says.

    Raises:
        DataError: A prompt's task has no method.
        RecipeError: A role has no model.
    """
    chunks = list(
        synthesize_in_chunks(
            prompts, chat, settings, chat_models=chat_models, held_out=held_out, judge=judge, seed=seed
        )
    )
    return Synthesis(
        tuple(pair for chunk in chunks for pair in chunk.pairs), tuple(drop for chunk in chunks for drop in chunk.drops)
    )


def synthesize_in_chunks(
    prompts: Numbered[Prompt],
    chat: ChatModel | None,
    settings: SynthesisSettings,
    *,
    chat_models: Mapping[str, ChatModel] | None = None,
    held_out: Sequence[Prompt] = (),
    judge: SideJudge | None = None,
    seed: int = 0,
    description: str = "synthesize",
) -> Generator[Synthesis]:
    """As `synthesize`, giving what came of each `PROMPTS_AT_ONCE` prompts and holding no more.

    The prompts are gone through by the gates first, and then once more. Progress is told as `description`.
    """
    out = faults_of_set(prompts, held_out, settings.gates)
    sampling = settings.sampling.model_copy(update={"seed": settings.sampling.seed + seed})
    asking = Asking(sampling, judge if settings.judge_gate else None, description)
    known = {None: chat, **(chat_models or {})}
    casts = [cast(method, known) for method in settings.methods]
    remaining = enumerate(prompts)
    while chunk := list(islice(remaining, PROMPTS_AT_ONCE)):
        _refuse_unclaimed((prompt for _, prompt in chunk), settings)
        drops = [Drop(prompt_id=p.id, task=p.task, reason=out[number]) for number, p in chunk if number in out]
        asked = [prompt for number, prompt in chunk if number not in out]
        made = [
            _make(method, roles, [Draft(prompt) for prompt in asked if prompt.task in method.tasks], asking)
            for method, roles in zip(settings.methods, casts, strict=True)
        ]
        pairs, faulty = sound_pairs([pair for some, _ in made for pair in some], settings.gates)
        yield Synthesis(tuple(pairs), (*drops, *(drop for _, some in made for drop in some), *faulty))


def _refuse_unclaimed(prompts: Iterable[Prompt], settings: SynthesisSettings) -> None:
    claimed = [task for method in settings.methods for task in method.tasks]
    for prompt in prompts:
        if claimed.count(prompt.task) != 1:
            raise DataError(
                f"Prompt {prompt.id} has the task {prompt.task!r}, which {claimed.count(prompt.task)} of the recipe's "
                f"synthesis.methods claim ({sorted(set(claimed))}); name each task in just one of them."
            )


def _make(method: SynthesisMethod, roles: Roles, drafts: list[Draft], asking: Asking) -> Made:
    if isinstance(method, ContrastSettings):
        return make_pairs(drafts, _contrast(method, roles), asking, "contrast")
    return make_pairs(drafts, _self_critique(method, roles, asking.sampling.seed), asking, "self_critique")


def _contrast(method: ContrastSettings, roles: Roles) -> list[Step]:
    first = _answering(method.original_system_prompt)
    second = _answering(method.revised_system_prompt, prefix=method.revised_prefix)
    return [
        Step("original", roles["author"], first, Side.ORIGINAL),
        Step("revised", roles["reviser"], second, Side.REVISED),
    ]


def _self_critique(method: SelfCritiqueSettings, roles: Roles, seed: int) -> list[Step]:
    answer = _answering(method.original_system_prompt, request=method.original_request)
    steps = [Step("original", roles["author"], answer, Side.ORIGINAL)]
    for number in range(1, method.rounds + 1):
        criticise, revise = _round(method, number, seed)
        wanted = Side.REVISED if number == method.rounds else None
        steps.append(Step(step_name("critique", number), roles["critic"], criticise))
        steps.append(Step(step_name("revised", number), roles["reviser"], revise, wanted))
    return steps


def _round(
    method: SelfCritiqueSettings, number: int, seed: int
) -> tuple[Callable[[Draft], Question], Callable[[Draft], Question]]:
    """How a round asks for the critique, and for the rewrite; neither is bound by a system prompt."""

    def request(template: str, draft: Draft, principle: str | None) -> Message:
        values = {"prompt": draft.prompt.text, "original": draft.answer, "critique": draft.text("critique")}
        return _user(fill(template, values if principle is None else {**values, "principle": principle}))

    def criticise(draft: Draft) -> Question:
        name = drawn_principle(method.principles, draft.prompt.id, number, seed)
        asked = request(method.critique_request, draft, name and method.principles[name])
        return Question((*draft.prompt.turns, Message(role="assistant", content=draft.answer), asked), principle=name)

    def revise(draft: Draft) -> Question:
        before = criticise(draft)
        name = before.principle
        asked = request(method.revision_request, draft, name and method.principles[name])
        critique = Message(role="assistant", content=draft.text("critique"))
        return Question((*before.messages, critique, asked), principle=name)

    return criticise, revise


def drawn_principle(principles: Mapping[str, str], prompt_id: str, round_number: int, seed: int) -> str | None:
    """The name of the principle of a prompt's round, each as likely as the others; None where there are none."""
    if not principles:
        return None
    digest = hashlib.sha256(f"principle\0{seed}\0{round_number}\0{prompt_id}".encode()).digest()
    return list(principles)[int.from_bytes(digest[:8], "big") % len(principles)]


def _answering(
    system_prompt: str | None, *, request: str = "{prompt}", prefix: str = ""
) -> Callable[[Draft], Question]:
    def question(draft: Draft) -> Question:
        prompt = draft.prompt
        system = system_prompt if system_prompt is not None else prompt.system_prompt
        turns = (*prompt.history, _user(fill(request, {"prompt": prompt.text})))
        return Question(turns if not system else (Message(role="system", content=system), *turns), prefix)

    return question


def _user(text: str) -> Message:
    return Message(role="user", content=text)
