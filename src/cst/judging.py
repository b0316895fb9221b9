"""From a recipe's words to the judge that they name."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from cst.chat.base import ChatModel, Sampling
from cst.evaluation.judges.base import Judge
from cst.evaluation.judges.chat import ChatJudge
from cst.evaluation.judges.plain import CallableJudge, RefusalPhrases
from cst.evaluation.judges.rubric import Rubric, rubrics_of
from cst.recipe_judges import ChatJudgeSettings, JudgeSettings

if TYPE_CHECKING:
    from cst.workshop import Workshop


def judge_of(settings: JudgeSettings, workshop: "Workshop") -> Judge:
    """The judge that a recipe names, with the models that the workshop has for it.

    Raises:
        RecipeError: A rubric can't be used, or the environment doesn't hold a model's key.
        ModelError: A model in this process can't be loaded.
    """
    match settings.kind:
        case "miniature":
            from cst.miniature.judge import exact_judge

            return CallableJudge("miniature", exact_judge)
        case "refusal_phrases":
            return RefusalPhrases()
        case "chat":
            return _chat_judge(settings, workshop)


def deciding(settings: JudgeSettings, workshop: "Workshop") -> list[object]:
    """What decides a judge's verdicts, besides the answers: its settings, files and models."""
    if settings.kind != "chat":
        return [settings]
    return [settings, workshop.recipe.seed, rubrics_of(settings), *workshop.deciding(settings.model)]


def refuse_unusable(settings: JudgeSettings) -> None:
    """Read the files that a judge needs.

    Raises:
        RecipeError: One can't be used.
        DataError: One can't be read.
    """
    if settings.kind == "chat":
        rubrics_of(settings)


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
    from cst.chat.labels import LabelChat

    loaded, batch_size = workshop.loaded_chat_model(settings.model)

    def chat_of(rubric: Rubric) -> ChatModel:
        chat = LabelChat(loaded, name=settings.model, labels=list(rubric.labels), batch_size=batch_size)
        return Journalled(chat, workshop.journal)

    return chat_of
