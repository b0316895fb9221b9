"""From recipe words to the judge that they name, and to what its verdicts hang on besides them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from cst.chat.base import ChatModel
from cst.errors import RecipeError
from cst.judges import Judge
from cst.judges.chat import ChatJudge
from cst.judges.plain import CallableJudge, RefusalPhrases
from cst.judges.rubric import Rubric, rubrics_of
from cst.recipe import Recipe
from cst.recipe.judges import (
    ChatJudgeSettings,
    ClassifierSettings,
    GuardSettings,
    JudgeSettings,
    ModerationSettings,
    SingleJudgeSettings,
    single_judges,
)
from cst.records import Sampling
from cst.runs.own import OwnParts, identities
from cst.store import fingerprint, read_text

if TYPE_CHECKING:
    from cst.chat.journalled import Journalled
    from cst.judges.guard import GuardStyle
    from cst.models.loading import LoadedModel


class JudgeModels(Protocol):
    """What a judge may need of a run: its recipe, the caller's own parts, and models whose calls are journalled."""

    @property
    def recipe(self) -> Recipe:
        """The recipe that names the judge."""
        ...

    @property
    def own(self) -> OwnParts:
        """The caller's own parts."""
        ...

    def journalled(self, chat: ChatModel) -> "Journalled":
        """See Workshop."""
        ...

    def chat_model(self, name: str) -> "Journalled":
        """See Workshop."""
        ...

    def chat_model_sources(self, name: str) -> list[object]:
        """See Workshop."""
        ...

    def loaded_chat_model(self, name: str) -> "tuple[LoadedModel, int]":
        """See Workshop."""
        ...

    def moderation(self, settings: ModerationSettings) -> "Journalled":
        """See Workshop."""
        ...


def judge_of(settings: JudgeSettings, models: JudgeModels) -> Judge:
    """The judge that a recipe names; models and connections that it needs are the models's.

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
            return _classifier(settings)
        case "guard":
            return _guard(settings, models)
        case "moderation":
            from cst.judges.harm import ModerationJudge

            return ModerationJudge(models.moderation(settings), thresholds=settings.thresholds, tasks=settings.tasks)
        case "panel":
            from cst.judges.plain import Panel

            return Panel([judge_of(member, models) for member in settings.members], rule=settings.rule)


def reject_unusable(settings: JudgeSettings) -> None:
    """Read the files that a judge needs.

    Raises:
        RecipeError: One can't be used.
        DataError: One can't be read.
    """
    for single in single_judges(settings):
        if single.kind == "chat":
            rubrics_of(single)


def _chat_judge(settings: ChatJudgeSettings, models: JudgeModels) -> Judge:
    return ChatJudge(
        settings.model,
        rubrics_of(settings),
        _reading_logits(settings, models) if settings.read == "logits" else _writing(settings, models),
        sampling=Sampling(
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
            seed=settings.seed + models.recipe.seed,
        ),
        read=settings.read,
        margin=settings.margin,
    )


def _writing(settings: ChatJudgeSettings, models: JudgeModels) -> Callable[[Rubric], ChatModel]:
    chat = models.chat_model(settings.model)
    return lambda _rubric: chat


def _reading_logits(settings: ChatJudgeSettings, models: JudgeModels) -> Callable[[Rubric], ChatModel]:
    from cst.chat.local import LabelChat

    loaded, batch_size = models.loaded_chat_model(settings.model)

    def chat_of(rubric: Rubric) -> ChatModel:
        chat = LabelChat(loaded, name=settings.model, labels=list(rubric.labels), batch_size=batch_size)
        return models.journalled(chat)

    return chat_of


def judge_sources(settings: JudgeSettings, models: JudgeModels) -> list[object]:
    """What decides a judge's verdicts besides its settings: fingerprints of models, and texts of files, that they name.

    Raises:
        ModelError: A model can't be found.
        DataError: A file can't be read.
    """
    return [source for single in single_judges(settings) for source in _sources(single, models)]


def _sources(settings: SingleJudgeSettings, models: JudgeModels) -> list[object]:
    if settings.kind == "python":
        return identities(models.own.judges, (settings.name,))
    if settings.kind == "chat":
        return [models.recipe.seed, rubrics_of(settings), *models.chat_model_sources(settings.model)]
    if settings.kind == "guard":
        texts = [read_text(file) for file in (settings.policy, settings.system_prompt) if file]
        return [*models.chat_model_sources(settings.model), *texts]
    if settings.kind != "classifier":
        return []
    from cst.models.folders import model_fingerprint

    return [model_fingerprint(settings.path)]


def _classifier(settings: ClassifierSettings) -> Judge:
    from cst.judges.harm import ClassifierJudge
    from cst.models.loading import load_classifier

    return ClassifierJudge(load_classifier(settings.path, dtype=settings.dtype, device=settings.device), settings)


def _guard(settings: GuardSettings, models: JudgeModels) -> Judge:
    from cst.judges.guard import GuardJudge

    policy = read_text(settings.policy) if settings.policy else None
    system_prompt = read_text(settings.system_prompt) if settings.system_prompt else None
    style = _style(settings, policy, system_prompt, is_local=models.recipe.chat_models[settings.model].kind == "local")
    chat = models.chat_model(settings.model)
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
