"""`cst score ANSWERS.json --recipe RECIPE`: a file of answers, as `cst generate --output_path` writes it, judged."""

import json
from collections.abc import Sequence
from pathlib import Path

from cst.answer_files import AnswerFile, read_answers, write_answers
from cst.chat.budget import Budget
from cst.commands.console import draw, folder_of, read_recipe, tell
from cst.commands.published import judged
from cst.errors import DataError
from cst.evaluation.answer_scores import AnswerTask, answer_scores, answer_table
from cst.evaluation.judges.base import Candidate, Opinion
from cst.records import Prompt, Side, Text
from cst.workshop import Workshop

SUFFIX = ".json"


class ScoredAnswerFile(AnswerFile):
    """Answers, and what a judge says of each: its own number and the side that it sees, None where it has none."""

    judge: Text
    scores: tuple[float | None, ...]
    exhibits: tuple[Side | None, ...]


def score_answers(
    file: Path,
    recipe_file: Path,
    folder: Path | None,
    overrides: Sequence[str],
    out: Path | None,
    *,
    task: AnswerTask,
    budget: Budget,
    as_json: bool,
) -> None:
    """Print the scores of a file's answers by the judge of a recipe; write them beside the answers where `out` says.

    Raises:
        DataError: The file can't be used, or `out` can't be written.
        RecipeError: The recipe can't be used, or names no judge.
    """
    answers = read_answers(file)
    recipe = read_recipe(recipe_file, overrides)
    judge, opinions = judged(Workshop(recipe, folder_of(recipe, folder), budget=budget), _candidates(answers, task))
    if out is not None:
        write_answers(out, _scored(answers, judge, opinions))
        tell(f"written: {out}")
    scores = answer_scores(opinions, answers.tags or (), task)
    if as_json:
        told = {"file": str(file), "judge": judge, "task": task}
        print(json.dumps({**told, "scores": [score.model_dump() for score in scores]}, indent=2))
        return
    draw(answer_table(file.name, judge, scores, task))


def refuse_unjudged(file: Path) -> None:
    """Refuse a file of answers that is given without a recipe.

    Raises:
        DataError: It is one.
    """
    try:
        read_answers(file)
    except DataError:
        return
    raise DataError(f"{file} is a file of answers, and no recipe says who judges them. Name one with --recipe.")


def _candidates(answers: AnswerFile, task: AnswerTask) -> list[Candidate]:
    asked = enumerate(zip(answers.messages, answers.outputs, strict=True), start=1)
    return [
        Candidate(prompt=Prompt(id=f"answer-{number:06d}", text=turn.content, input=turn.input, task=task), text=output)
        for number, (turn, output) in asked
    ]


def _scored(answers: AnswerFile, judge: str, opinions: Sequence[Opinion]) -> ScoredAnswerFile:
    return ScoredAnswerFile(
        **dict(answers),
        judge=judge,
        scores=tuple(opinion.score for opinion in opinions),
        exhibits=tuple(opinion.exhibits for opinion in opinions),
    )
