"""Prompts to pairs: a model answers, criticises its answer and rewrites it; or answers in two ways.

Self-critique is section II of Configurable Safety Tuning (Gallego, arXiv 2404.00495): y0 is sampled, the model is asked
for a critique of it, and then for a revised y1. Several rounds, and principles of which each round draws one at random,
are Constitutional AI's (Bai et al., arXiv 2212.08073, section 3.1). A round criticises the answer as the round before
left it, and sees no earlier critique. A contrast samples both sides under two system prompts, as the persona data of
the paper's second task was made. This file knows no model and no judge: both are passed in.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeAlias

from cst.chat.base import ChatModel
from cst.errors import DataError, RecipeError
from cst.near_duplicates import Numbered
from cst.recipe.synthesis import ContrastSettings, SelfCritiqueSettings, SynthesisMethod, SynthesisSettings
from cst.records import Drop, Message, Prompt, ResponsePair, Side
from cst.store import seed_of
from cst.synthesis.drafts import Asking, Draft, DraftRequest, DraftStep, Made, make_pairs, step_name
from cst.synthesis.gates import Gate, SideJudge, SynthesisSummary, faults_of_set, sound_pairs, summarize
from cst.texts import fill

PROMPTS_AT_ONCE = 10_000
"""Prompts that are worked on together: what bounds the memory. A local model's batches are made up within them."""


Roles: TypeAlias = Mapping[str, ChatModel]
"""Who is `author`, `reviser` and, in self-critique, `critic`."""


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
    gates: Sequence[Gate] = (),
    seed: int = 0,
) -> Synthesis:
    """Make a pair from each prompt, by the method that the settings name for its task.

    `chat` has all roles that the settings leave open, and `chat_models` are those that they name. `judge` gates both
    sides of a pair (an original that refuses teaches nothing); None for no such gate. Prompts that are close to one of
    `held_out`, and pairs with faults, fall out as `settings.gates` says; then those for which one of your own `gates`
    gives a reason.

    Raises:
        DataError: A prompt's task has no method.
        RecipeError: A role has no model.
    """
    chunks = list(
        synthesize_in_chunks(
            prompts, chat, settings, chat_models=chat_models, held_out=held_out, judge=judge, gates=gates, seed=seed
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
    gates: Sequence[Gate] = (),
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
        _reject_unclaimed((prompt for _, prompt in chunk), settings)
        drops = [Drop(prompt_id=p.id, task=p.task, reason=out[number]) for number, p in chunk if number in out]
        asked = [prompt for number, prompt in chunk if number not in out]
        made = [
            _make(method, roles, [Draft(prompt) for prompt in asked if prompt.task in method.tasks], asking)
            for method, roles in zip(settings.methods, casts, strict=True)
        ]
        pairs, faulty = sound_pairs([pair for some, _ in made for pair in some], settings.gates, gates)
        yield Synthesis(tuple(pairs), (*drops, *(drop for _, some in made for drop in some), *faulty))


def _reject_unclaimed(prompts: Iterable[Prompt], settings: SynthesisSettings) -> None:
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


def cast_of(method: SynthesisMethod) -> dict[str, str | None]:
    """Each role of a method with the name of its chat model; None for the start model."""
    roles = {"author": method.author, "reviser": method.reviser or method.author}
    return roles if isinstance(method, ContrastSettings) else {**roles, "critic": method.critic or method.author}


def cast(method: SynthesisMethod, known: Mapping[str | None, ChatModel | None]) -> Roles:
    """The model of each role of a method, by its name; None names the start model.

    Raises:
        RecipeError: A role has no model.
    """
    roles: dict[str, ChatModel] = {}
    for role, name in cast_of(method).items():
        model = known.get(name)
        if model is None:
            named = f"chat_models has no {name!r}" if name else "no start model is given"
            raise RecipeError(f"{named}, and it is the {role} of {method.kind}; pass it to synthesize.")
        roles[role] = model
    return roles


def _contrast(method: ContrastSettings, roles: Roles) -> list[DraftStep]:
    first = partial(ask_for_answer, system_prompt=method.original_system_prompt)
    second = partial(ask_for_answer, system_prompt=method.revised_system_prompt, prefix=method.revised_prefix)
    return [
        DraftStep("original", roles["author"], first, Side.ORIGINAL),
        DraftStep("revised", roles["reviser"], second, Side.REVISED),
    ]


def _self_critique(method: SelfCritiqueSettings, roles: Roles, seed: int) -> list[DraftStep]:
    answer = partial(ask_for_answer, system_prompt=method.original_system_prompt, template=method.original_request)
    steps = [DraftStep("original", roles["author"], answer, Side.ORIGINAL)]
    for number in range(1, method.rounds + 1):
        critique = partial(ask_for_critique, method=method, round_number=number, seed=seed)
        rewrite = partial(ask_for_rewrite, method=method, round_number=number, seed=seed)
        wanted = Side.REVISED if number == method.rounds else None
        steps.append(DraftStep(step_name("critique", number), roles["critic"], critique))
        steps.append(DraftStep(step_name("revised", number), roles["reviser"], rewrite, wanted))
    return steps


def ask_for_answer(
    draft: Draft, *, system_prompt: str | None, template: str = "{prompt}", prefix: str = ""
) -> DraftRequest:
    """The prompt under a system prompt, by default its own; an empty one is none."""
    system = system_prompt if system_prompt is not None else draft.prompt.system_prompt
    asked = _user(fill(template, {"prompt": draft.prompt.text}))
    before = [Message(role="system", content=system)] if system else []
    return DraftRequest((*before, *draft.prompt.history, asked), prefix)


def ask_for_critique(draft: Draft, *, method: SelfCritiqueSettings, round_number: int, seed: int) -> DraftRequest:
    """The prompt, the answer as it stands, and the request for a critique of it; no system prompt binds the critic."""
    principle = drawn_principle(method.principles, draft.prompt.id, round_number, seed)
    asked = _filled(method.critique_request, draft, principle and method.principles[principle])
    answer = Message(role="assistant", content=draft.answer)
    return DraftRequest((*draft.prompt.turns, answer, asked), principle=principle)


def ask_for_rewrite(draft: Draft, *, method: SelfCritiqueSettings, round_number: int, seed: int) -> DraftRequest:
    """The conversation of the critique, the critique, and the request for a rewrite under the same principle."""
    before = ask_for_critique(draft, method=method, round_number=round_number, seed=seed)
    principle = before.principle
    critique = Message(role="assistant", content=draft.text("critique"))
    asked = _filled(method.revision_request, draft, principle and method.principles[principle])
    return DraftRequest((*before.messages, critique, asked), principle=principle)


def _filled(template: str, draft: Draft, principle: str | None) -> Message:
    values = {"prompt": draft.prompt.text, "original": draft.answer, "critique": draft.text("critique")}
    return _user(fill(template, values if principle is None else {**values, "principle": principle}))


def drawn_principle(principles: Mapping[str, str], prompt_id: str, round_number: int, seed: int) -> str | None:
    """The name of the principle of a prompt's round, each as likely as the others; None where there are none."""
    if not principles:
        return None
    drawn = seed_of(f"principle\0{seed}\0{round_number}\0{prompt_id}")
    return list(principles)[drawn % len(principles)]


def _user(text: str) -> Message:
    return Message(role="user", content=text)
