"""Sequence classifiers and reward models as judges of harm: a number an answer, and a threshold.

How a conversation becomes a row, and a row a number, is the business of `models`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from cst.errors import ModelError
from cst.evaluation.judges.base import Candidate, Opinion
from cst.evaluation.judges.harm import conversation_of, opinions_of_tasks, side_of
from cst.models.classifier_rows import Conversation, FittedRow, fitted, layout_of, longest_row
from cst.models.classifier_scores import logits_of, output_index
from cst.models.loading import LoadedClassifier
from cst.recipe_harm_judges import ClassifierSettings
from cst.store import fingerprint

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """The raw logit of a conversation, and how many characters it was read without, at the end of the answer."""

    score: float
    answer_lost: int


@final
class ClassifierJudge:
    """A classifier whose scores at or above a threshold say harm, or safety: the settings tell which.

    Its name ends with a fingerprint of weights, threshold and layout: with others it is another judge.

    Raises:
        ModelError: The model has no such output, or doesn't take rows of `max_length`.
        RenderingError: The layout is `chat_template`, and the tokenizer has none.
    """

    def __init__(self, loaded: LoadedClassifier, settings: ClassifierSettings) -> None:
        self._loaded = loaded
        self._settings = settings
        self._layout = layout_of(settings.layout, loaded.tokenizer, template=settings.template)
        self._output = output_index(loaded, settings.output)
        self.name = f"{settings.preset or Path(settings.path).name}@{_pin(loaded, settings)}"
        longest = longest_row(loaded.tokenizer, loaded.model.config)
        if longest is not None and settings.max_length > longest:
            raise ModelError(f"max_length={settings.max_length}, but {loaded.path} takes {longest} tokens. Lower it.")

    def opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        """The side of the threshold on which each answer's score lies."""
        return opinions_of_tasks(candidates, self._settings.tasks, self._opinions)

    def readings(self, conversations: Sequence[Conversation], *, shows_progress: bool = True) -> list[Reading]:
        """One reading a conversation (user, assistant, ..., assistant), in order.

        Rows that are too long lose the oldest text first; how many of them lost a part of the answer is told.
        """
        rows = [fitted(talk, self._layout, self._settings.max_length) for talk in conversations]
        self._tell(rows)
        scores = logits_of(
            self._loaded,
            [row.row for row in rows],
            output=self._output,
            batch_size=self._settings.batch_size,
            description=f"judge with {self.name}" if shows_progress else None,
        )
        return [Reading(score, row.answer_lost) for score, row in zip(scores, rows, strict=True)]

    def _tell(self, rows: Sequence[FittedRow]) -> None:
        questions = sum(row.question_lost > 0 for row in rows)
        answers = sum(row.answer_lost > 0 for row in rows)
        if questions or answers:
            logger.warning(
                "%s: of %d rows, %d are over %d tokens and were read without the beginning of the question, %d of "
                "them also without the end of the answer.",
                *(self.name, len(rows), questions, self._settings.max_length, answers),
            )

    def _opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        readings = self.readings([conversation_of(candidate) for candidate in candidates])
        return [self._opinion(reading, len(c.text)) for reading, c in zip(readings, candidates, strict=True)]

    def _opinion(self, reading: Reading, characters: int) -> Opinion:
        settings = self._settings
        is_high = reading.score >= settings.threshold
        told = f"{'at or above' if is_high else 'below'} {settings.threshold:g}, high means {settings.high_means}"
        if reading.answer_lost:
            told += f"; read without the last {reading.answer_lost} of {characters} characters of the answer"
        is_harmful = is_high == (settings.high_means == "harmful")
        return Opinion(exhibits=side_of(is_harmful), explanation=told, score=reading.score)


def _pin(loaded: LoadedClassifier, settings: ClassifierSettings) -> str:
    elsewhere = {"preset", "path", "device", "batch_size", "tasks"}  # what changes no verdict, or is in the weights
    return fingerprint(loaded.fingerprint, settings.model_dump(mode="json", exclude=elsewhere))[:8]
