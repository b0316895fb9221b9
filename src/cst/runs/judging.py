"""From a recipe's section `judge` to the judge that it names, and to what its verdicts depend on.

A new kind of judge needs its settings in `cst.recipe.judges` and a case in each function here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from cst.chat.base import ChatModel
from cst.errors import RecipeError
from cst.judges import Judge
from cst.judges.chat import ChatJudge
from cst.judges.plain import CallableJudge, RefusalPhrases
from cst.judges.rubric import Rubric, rubrics_of
from cst.recipe.judges import ChatJudgeSettings, GuardSettings, JudgeSettings, ModerationSettings, single_judges
from cst.records import Sampling
from cst.runs.own import OwnParts, given_of, identities
from cst.store import fingerprint, read_text

if TYPE_CHECKING:
    from cst.chat.journalled import Journalled
    from cst.judges.guard import GuardStyle
    from cst.models.loading import LoadedModel


class Models(Protocol):
    """What judges are made from: the models that a recipe names, and what the caller's Python brings."""

    @property
    def seed(self) -> int:
        """The recipe's seed."""
        ...

    @property
    def own(self) -> OwnParts:
        """The caller's own parts."""
        ...

    def journalled(self, chat: ChatModel) -> "Journalled":
        """A model whose calls are written down."""
        ...

    def chat_model(self, name: str) -> "Journalled":
        """A model of `chat_models`."""
        ...

    def chat_model_sources(self, name: str) -> list[object]:
        """What decides that model's answers."""
        ...

    def loaded_chat_model(self, name: str) -> "tuple[LoadedModel, int]":
        """Its weights, if it runs in this process, and its batch size; else RecipeError."""
        ...

    def is_local(self, name: str) -> bool:
        """Whether that model's chat template is filled in by this process."""
        ...

    def moderation(self, settings: ModerationSettings) -> "Journalled":
        """OpenAI's moderation endpoint."""
        ...


def judge_of(settings: JudgeSettings, models: Models) -> Judge:
    """The judge that a recipe names.

    Raises:
        RecipeError: A name, a file, or the environment doesn't fit the judge.
        ModelError: A model of the judge's can't be loaded.
        DataError: A file of the judge's can't be read.
    """
    match settings.kind:
        case "miniature":
            return CallableJudge("miniature", models.own.the_world("judge").judge)
        case "python":
            return models.own.judge(settings.name)
        case "refusal_phrases":
            return RefusalPhrases()
        case "chat":
            return _chat_judge(settings, models)
        case "classifier":
            from cst.judges.harm import ClassifierJudge
            from cst.models.loading import load_classifier

            loaded = load_classifier(settings.path, dtype=settings.dtype, device=settings.device)
            return ClassifierJudge(loaded, settings)
        case "guard":
            return _guard(settings, models)
        case "moderation":
            from cst.judges.harm import ModerationJudge

            return ModerationJudge(models.moderation(settings), thresholds=settings.thresholds, tasks=settings.tasks)
        case "panel":
            from cst.judges.plain import Panel

            return Panel([judge_of(member, models) for member in settings.members], rule=settings.rule)


def judge_sources(settings: JudgeSettings, models: Models) -> list[object]:
    """What decides a judge's verdicts besides its settings: fingerprints of models, and texts of files and functions.

    Raises:
        RecipeError: A judge of the caller's own isn't given.
        ModelError: A model can't be found.
        DataError: A file can't be read.
    """
    sources: list[object] = []
    for single in single_judges(settings):
        if single.kind == "chat":
            sources += [models.seed, rubrics_of(single), *models.chat_model_sources(single.model)]
        elif single.kind == "guard":
            texts = [read_text(file) for file in (single.policy, single.system_prompt) if file]
            sources += [*models.chat_model_sources(single.model), *texts]
        elif single.kind == "classifier":
            from cst.models.folders import model_fingerprint

            sources.append(model_fingerprint(single.path))
        elif single.kind == "python":
            given = given_of(models.own.judges, single.name, where="judge.name", argument="judges")
            sources += identities({single.name: given})
    return sources


def reject_unusable(settings: JudgeSettings | None) -> None:
    """Read the rubrics of a judge, so that errors in them are raised before anything is made.

    Raises:
        RecipeError: One can't be used.
        DataError: One can't be read.
    """
    for single in single_judges(settings) if settings else ():
        if single.kind == "chat":
            rubrics_of(single)


def _chat_judge(settings: ChatJudgeSettings, models: Models) -> Judge:
    return ChatJudge(
        settings.model,
        rubrics_of(settings),
        _reading_logits(settings, models) if settings.read == "logits" else _writing(settings, models),
        sampling=Sampling(
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
            seed=settings.seed + models.seed,
        ),
        read=settings.read,
        margin=settings.margin,
    )


def _writing(settings: ChatJudgeSettings, models: Models) -> Callable[[Rubric], ChatModel]:
    chat = models.chat_model(settings.model)
    return lambda _rubric: chat


def _reading_logits(settings: ChatJudgeSettings, models: Models) -> Callable[[Rubric], ChatModel]:
    from cst.chat.local import LabelChat

    loaded, batch_size = models.loaded_chat_model(settings.model)

    def chat_of(rubric: Rubric) -> ChatModel:
        return models.journalled(
            LabelChat(loaded, name=settings.model, labels=list(rubric.labels), batch_size=batch_size)
        )

    return chat_of


def _guard(settings: GuardSettings, models: Models) -> Judge:
    from cst.judges.guard import GuardJudge

    policy = read_text(settings.policy) if settings.policy else None
    system_prompt = read_text(settings.system_prompt) if settings.system_prompt else None
    chat = models.chat_model(settings.model)
    style = _style(settings, policy, system_prompt, is_local=models.is_local(settings.model))
    pinned = fingerprint(chat.fingerprint, settings.style, policy, system_prompt)[:8]
    return GuardJudge(
        chat,
        style,
        name=f"{settings.model}@{pinned}",
        tasks=settings.tasks,
        max_new_tokens=settings.max_new_tokens,
    )


def _style(settings: GuardSettings, policy: str | None, system_prompt: str | None, *, is_local: bool) -> "GuardStyle":
    from cst.judges.guard import dynaguard, gpt_oss_safeguard, is_llama_guard_prompt, llama_guard

    if settings.style == "gpt_oss_safeguard":
        return gpt_oss_safeguard(policy)
    if settings.style == "dynaguard":
        return dynaguard(policy, system_prompt)
    if policy is not None and not is_llama_guard_prompt(policy):
        raise RecipeError(
            f"The policy {settings.policy} of a judge of style llama_guard has to be the whole prompt of the model's "
            "card, with {conversation} where the turns go, and no other name in braces. Put it there."
        )
    if policy is None and is_local:
        raise RecipeError(
            f"A judge of style llama_guard leaves the policy to a server's chat template, and chat_models."
            f"{settings.model} is local. Serve the model (vLLM), or give `policy` the whole prompt of its card and "
            "the model a plain `chat_template`."
        )
    return llama_guard(policy)
