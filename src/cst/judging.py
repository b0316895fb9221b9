"""From a recipe's words to the judge that they name."""

from cst.evaluation.judges.base import Judge
from cst.evaluation.judges.plain import CallableJudge, RefusalPhrases
from cst.recipe_judges import JudgeSettings


def judge_of(settings: JudgeSettings) -> Judge:
    """The judge that a recipe names."""
    match settings.kind:
        case "miniature":
            from cst.miniature.judge import exact_judge

            return CallableJudge("miniature", exact_judge)
        case "refusal_phrases":
            return RefusalPhrases()
