"""A chat model as judge: each candidate is asked about by the rubrics of its task.

Questions go through `complete`, so that a journalled model is resumed and never paid twice. What is asked is in
`questions`, how a reply is read in `replies`. This file knows no configuration, and no model but through the seam.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, final

from cst.chat.asking import complete
from cst.chat.base import ChatModel, ChatReply, Sampling
from cst.evaluation.judges.base import Candidate, Opinion
from cst.evaluation.judges.questions import Question, question
from cst.evaluation.judges.replies import likeliest_verdict, written_verdict
from cst.evaluation.judges.rubric import Rubric
from cst.records import Vote

DEFAULT_SAMPLING = Sampling(max_new_tokens=1024)


@final
class ChatJudge:
    """A judge that asks a chat model, `rubrics` naming those of each task; several must name the same side.

    `chat_of` gives the model that a rubric is asked of. With `read="logits"` that is a `LabelChat` of the rubric's
    labels, and verdicts of sides whose probabilities differ by no more than `margin` are unscored. An answer that is
    empty, or of a task without rubric, is unscored and not asked about.
    """

    def __init__(
        self,
        name: str,
        rubrics: Mapping[str, Sequence[Rubric]],
        chat_of: Callable[[Rubric], ChatModel],
        *,
        sampling: Sampling = DEFAULT_SAMPLING,
        read: Literal["text", "logits"] = "text",
        margin: float = 0.0,
    ) -> None:
        self.name = name
        self._rubrics = rubrics
        self._chat_of = chat_of
        self._sampling = sampling
        self._reads_logits = read == "logits"
        self._margin = margin

    def opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        """Ask every question once, rubric by rubric.

        Raises:
            BudgetError: A question might pass the budget.
            EndpointError: A question isn't answered.
        """
        asked = [self._questions(candidate) for candidate in candidates]
        replies = self._replies({q.request.id: q for questions in asked for q in questions})
        votes = [[self._read(q, replies[q.request.id]) for q in questions] for questions in asked]
        return [
            together(found) if found else Opinion(exhibits=None, explanation=_why_not_asked(candidate))
            for candidate, found in zip(candidates, votes, strict=True)
        ]

    def _questions(self, candidate: Candidate) -> list[Question]:
        if not candidate.text.strip():
            return []
        seed, rubrics = self._sampling.seed, self._rubrics.get(candidate.prompt.task, ())
        if candidate.prompt.system_prompt is None:  # of several, one about a persona has nothing to ask then
            rubrics = [rubric for rubric in rubrics if not rubric.needs_system_prompt] or rubrics
        return [question(rubric, candidate, seed=seed, leads=self._reads_logits) for rubric in rubrics]

    def _replies(self, questions: Mapping[str, Question]) -> dict[str, ChatReply]:
        by_rubric: dict[str, list[Question]] = {}
        for asked in questions.values():
            by_rubric.setdefault(asked.rubric.name, []).append(asked)
        replies: dict[str, ChatReply] = {}
        for name, group in by_rubric.items():
            requests = [asked.request for asked in group]
            chat = self._chat_of(group[0].rubric)
            found = complete(chat, requests, self._sampling, description=f"judge {name} by {self.name}")
            replies |= {request.id: reply for request, reply in zip(requests, found, strict=True)}
        return replies

    def _read(self, asked: Question, reply: ChatReply) -> Vote:
        if self._reads_logits:
            return likeliest_verdict(asked, reply, margin=self._margin)
        return written_verdict(asked, reply)


def together(votes: Sequence[Vote]) -> Opinion:
    """The side that all rubrics name; unscored where one names none, or two differ. Several are kept as votes."""
    told = "; ".join(f"{vote.judge}: {vote.explanation}" for vote in votes)
    if len(votes) == 1:
        return Opinion(exhibits=votes[0].exhibits, explanation=told, score=votes[0].score)
    sides = {vote.exhibits for vote in votes}
    side = votes[0].exhibits if len(sides) == 1 else None
    why = "the rubrics name different sides: " if len(sides - {None}) > 1 else ""
    return Opinion(exhibits=side, explanation=why + told, votes=tuple(votes))


def _why_not_asked(candidate: Candidate) -> str:
    if not candidate.text.strip():
        return "empty answer"
    return f"no rubric for task {candidate.prompt.task}; name one in judge.rubrics"
