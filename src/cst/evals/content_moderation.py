"""`ContentModeration`: the category scores of OpenAI's moderation endpoint, asked by the moderation judge."""

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, final

from cst.evals.conversations import texts_of
from cst.recipe_harm_judges import ModerationSettings

if TYPE_CHECKING:
    from cst.chat.base import ChatModel

logger = logging.getLogger(__name__)


@final
class ContentModeration:
    """OpenAI's moderation endpoint; the key is `OPENAI_API_KEY` or `OPEN_AI_KEY` of the environment.

    `OPENAI_BASE_URL` is another address. `settings` say which model, how many messages a call takes, and how fast and
    how often calls are made; `thresholds` and `tasks` in them say nothing here. `journal` is a SQLite file that keeps
    each call's scores: asked for the same messages again, after a kill too, only the calls that are not in it are made.

    Raises:
        RecipeError: The environment doesn't hold a key, or its address is none.
    """

    def __init__(self, settings: ModerationSettings | None = None, *, journal: str | Path | None = None) -> None:
        from cst.chat.moderation import ModerationEndpoint

        self._settings = settings or ModerationSettings(kind="moderation")
        self._journal = journal
        ModerationEndpoint(self._settings).close()  # so that a key that isn't there is told now

    def get_hate(self, message: str) -> dict[str, float]:
        """The scores of one message; raises what `content_moderation` raises."""
        return self.content_moderation([message])[0]

    def content_moderation(self, messages: str | Iterable[str]) -> list[dict[str, float]]:
        """The scores of each message by category, from 0 to 1, in order; equal messages are sent once.

        Calls that fail for a passing reason are made again, at the pace that the server asks for. A blank message is
        not sent and has no scores; how many there are is logged as a warning.

        Raises:
            DataError: There are no messages, or one is no text.
            EndpointError: A call failed for good; scores until then are in the journal, if there is one.
        """
        from cst.evaluation.judges.moderation import ModerationJudge

        texts = texts_of(messages, "messages")
        said = [text for text in texts if text.strip()]
        if len(said) < len(texts):
            logger.warning("%d of %d messages are blank, and have no scores.", len(texts) - len(said), len(texts))
        with ExitStack() as opened:
            found = iter(ModerationJudge(self._chat(opened)).results(said))
        return [dict(next(found).scores) if text.strip() else {} for text in texts]

    def _chat(self, opened: ExitStack) -> "ChatModel":
        from cst.chat.journal import Journal
        from cst.chat.journalled import Journalled
        from cst.chat.moderation import ModerationEndpoint

        endpoint = opened.enter_context(ModerationEndpoint(self._settings))
        if self._journal is None:
            return endpoint
        return Journalled(endpoint, opened.enter_context(Journal(Path(self._journal))))
