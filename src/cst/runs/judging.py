"""From recipe words to the judge that they name, and to what its verdicts hang on besides them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from cst.chat.base import ChatModel
from cst.errors import RecipeError
from cst.judges import Judge
from cst.judges.chat import ChatJudge
from cst.judges.plain import CallableJudge, RefusalPhrases
from cst.judges.rubric import Rubric, rubrics_of
from cst.recipe.judges import (
    ChatJudgeSettings,
    ClassifierSettings,
    GuardSettings,
    JudgeSettings,
    SingleJudgeSettings,
    single_judges,
)
from cst.records import Sampling
from cst.store import fingerprint, read_text

if TYPE_CHECKING:
    from cst.judges.guard import GuardStyle
    from cst.runs.workshop import Workshop


def judge_of(settings: JudgeSettings, workshop: "Workshop") -> Judge:
    """The judge that a recipe names; models and connections that it needs are the workshop's.

    Raises:
        RecipeError: A name, a file, or the environment doesn't fit the judge.
        ModelError: A model of the judge's can't be loaded.
        DataError: A file of the judge's can't be read.
    """
    match settings.kind:
        case "miniature":
            from cst.miniature.judge import exact_judge

            return CallableJudge("miniature", exact_judge)
        case "refusal_phrases":
            return RefusalPhrases()
        case "chat":
            return _chat_judge(settings, workshop)
        case "classifier":
            return _classifier(settings)
        case "guard":
            return _guard(settings, workshop)
        case "moderation":
            from cst.judges.harm import ModerationJudge

            return ModerationJudge(workshop.moderation(settings), thresholds=settings.thresholds, tasks=settings.tasks)
        case "panel":
            from cst.judges.plain import Panel

            return Panel([judge_of(member, workshop) for member in settings.members], rule=settings.rule)


def reject_unusable(settings: JudgeSettings) -> None:
    """Read the files that a judge needs.

    Raises:
        RecipeError: One can't be used.
        DataError: One can't be read.
    """
    for single in single_judges(settings):
        if single.kind == "chat":
            rubrics_of(single)


def _chat_judge(settings: ChatJudgeSettings, workshop: "Workshop") -> Judge:
    return ChatJudge(
        settings.model,
        rubrics_of(settings),
        _reading_logits(settings, workshop) if settings.read == "logits" else _writing(settings, workshop),
        sampling=Sampling(
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
            seed=settings.seed + workshop.recipe.seed,
        ),
        read=settings.read,
        margin=settings.margin,
    )


def _writing(settings: ChatJudgeSettings, workshop: "Workshop") -> Callable[[Rubric], ChatModel]:
    chat = workshop.chat_model(settings.model)
    return lambda _rubric: chat


def _reading_logits(settings: ChatJudgeSettings, workshop: "Workshop") -> Callable[[Rubric], ChatModel]:
    from cst.chat.journalled import Journalled
    from cst.chat.local import LabelChat

    loaded, batch_size = workshop.loaded_chat_model(settings.model)

    def chat_of(rubric: Rubric) -> ChatModel:
        chat = LabelChat(loaded, name=settings.model, labels=list(rubric.labels), batch_size=batch_size)
        return Journalled(chat, workshop.journal)

    return chat_of


def judge_sources(settings: JudgeSettings, workshop: "Workshop") -> list[object]:
    """What decides a judge's verdicts besides its settings: fingerprints of models, and texts of files, that they name.

    Raises:
        ModelError: A model can't be found.
        DataError: A file can't be read.
    """
    return [source for single in single_judges(settings) for source in _sources(single, workshop)]


def _sources(settings: SingleJudgeSettings, workshop: "Workshop") -> list[object]:
    if settings.kind == "chat":
        return [workshop.recipe.seed, rubrics_of(settings), *workshop.chat_model_sources(settings.model)]
    if settings.kind == "guard":
        texts = [read_text(file) for file in (settings.policy, settings.system_prompt) if file]
        return [*workshop.chat_model_sources(settings.model), *texts]
    if settings.kind != "classifier":
        return []
    from cst.models.folders import model_fingerprint

    return [model_fingerprint(settings.path)]


def _classifier(settings: ClassifierSettings) -> Judge:
    from cst.judges.harm import ClassifierJudge
    from cst.models.loading import load_classifier

    return ClassifierJudge(load_classifier(settings.path, dtype=settings.dtype, device=settings.device), settings)


def _guard(settings: GuardSettings, workshop: "Workshop") -> Judge:
    from cst.judges.guard import GuardJudge

    policy = read_text(settings.policy) if settings.policy else None
    system_prompt = read_text(settings.system_prompt) if settings.system_prompt else None
    style = _style(
        settings, policy, system_prompt, is_local=workshop.recipe.chat_models[settings.model].kind == "local"
    )
    chat = workshop.chat_model(settings.model)
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
