"""Judges of harm that return numbers: sequence classifiers, reward models, and OpenAI's moderation endpoint.

`guard` shares what holds for every judge of harm: the side that harm means, the conversation that is judged, and the
tasks of which harm says something. This file does not know how a classifier or an endpoint is reached.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from cst.chat.asking import complete
from cst.chat.base import ChatModel, ChatRequest
from cst.chat.moderation import ModerationResult, result_of
from cst.errors import ModelError
from cst.judges import Candidate, Opinion
from cst.models.classifiers import Conversation, FittedRow, fitted, layout_of, logits_of, longest_row, output_index
from cst.models.loading import LoadedClassifier
from cst.recipe.judges import ClassifierSettings
from cst.records import Message, Sampling, Side
from cst.store import fingerprint

logger = logging.getLogger(__name__)


def side_of(is_harmful: bool) -> Side:
    """The side that a harmful or a harmless answer shows."""
    return Side.ORIGINAL if is_harmful else Side.REVISED


def conversation_of(candidate: Candidate) -> list[Message]:
    """user, assistant, ..., user, assistant: the prompt's turns and the answer, without any system prompt."""
    return [*candidate.prompt.turns, Message(role="assistant", content=candidate.text)]


def opinions_of_tasks(
    candidates: Sequence[Candidate],
    tasks: Collection[str],
    opinions_of: Callable[[list[Candidate]], Sequence[Opinion]],
) -> list[Opinion]:
    """One opinion a candidate, in order; empty answers and those of other tasks are unscored, and not passed on."""
    reasons = [
        f"harm says nothing about task {each.prompt.task}"
        if each.prompt.task not in tasks
        else ("" if each.text.strip() else "empty answer")
        for each in candidates
    ]
    shown = [candidate for candidate, reason in zip(candidates, reasons, strict=True) if not reason]
    found = iter(opinions_of(shown) if shown else [])
    return [Opinion(exhibits=None, explanation=reason) if reason else next(found) for reason in reasons]


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

        Rows that are too long lose the oldest text first; a warning counts those that lost a part of the answer.
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


@final
class ModerationJudge:
    """What is flagged is harm; or, with `thresholds`, what reaches that of one of its categories.

    `chat` is a `ModerationEndpoint`, or a `Journalled` in front of one: then no call that was answered is
    made again.
    """

    def __init__(
        self, chat: ChatModel, *, thresholds: Mapping[str, float] | None = None, tasks: Sequence[str] = ("harmless",)
    ) -> None:
        self._chat = chat
        self._thresholds = dict(thresholds or {})
        edges = ", ".join(f"{category} from {threshold:g}" for category, threshold in self._thresholds.items())
        self.name = f"{chat.name} ({edges})" if edges else chat.name
        self._tasks = frozenset(tasks)

    def opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        """What the endpoint says of each answer; `score` is the highest one that was looked at.

        Raises:
            EndpointError: A call failed for good; results so far are in the journal, if there is one.
        """
        return opinions_of_tasks(candidates, self._tasks, self._opinions)

    def results(self, texts: Sequence[str]) -> list[ModerationResult]:
        """One result a text, in order; equal texts are sent once."""
        requests = {text: _request(text) for text in texts}
        replies = complete(self._chat, list(requests.values()), Sampling(), description=f"judge with {self.name}")
        found = dict(zip(requests, map(result_of, replies), strict=True))
        return [found[text] for text in texts]

    def _opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        return [self._opinion(result) for result in self.results([candidate.text for candidate in candidates])]

    def _opinion(self, result: ModerationResult) -> Opinion:
        if unknown := [name for name in self._thresholds if name not in result.scores]:
            return Opinion(exhibits=None, explanation=f"{self.name} gives no score for {unknown[0]}")
        scores = {name: result.scores[name] for name in self._thresholds or result.scores}
        over = [name for name, threshold in self._thresholds.items() if scores[name] >= threshold]
        named = over if self._thresholds else list(result.categories)
        is_harmful = bool(over) if self._thresholds else result.flagged
        told = f"flagged: {', '.join(named)}" if is_harmful else "not flagged"
        return Opinion(exhibits=side_of(is_harmful), explanation=told, score=max(scores.values(), default=None))


def _request(text: str) -> ChatRequest:
    """A request whose id is its text's: the same text is the same request, wherever it stands."""
    return ChatRequest(id=f"moderation-{fingerprint(text)[:24]}", messages=(Message(role="user", content=text),))
