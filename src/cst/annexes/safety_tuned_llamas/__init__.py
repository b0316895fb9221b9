"""The evaluators of Safety-Tuned LLaMAs (Bianchi et al., ICLR 2024) under the names of its README.

They read conversations through the judges of cst; `cst.evals` is their public address.
"""

import logging
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, final

from cst.errors import DataError, ModelError
from cst.recipe.judges import CONVERSATION, PRESETS, ClassifierSettings, ModerationSettings
from cst.records import Message
from cst.texts import fill

if TYPE_CHECKING:
    from cst.models.loading import LoadedClassifier


Turns: TypeAlias = str | Iterable[str]
"""What one side says in a conversation; a string is one turn."""

Exchange: TypeAlias = tuple[str, str]
"""What the user says, and what the assistant says to that."""

_ROLES: tuple[Literal["user"], Literal["assistant"]] = ("user", "assistant")

logger = logging.getLogger(__name__)


@final
class ConversationBuilder:
    """Turns of a user and of an assistant as the text that the reward models read."""

    def build(self, user_texts: Turns, assistant_texts: Turns) -> str:
        r"""`"\n\nHuman: ...\n\nAssistant: ..."`, once for each exchange.

        Raises:
            DataError: The sides have different numbers of turns, or none, or one that is no text.
        """
        exchanges = _exchanges(user_texts, assistant_texts, where="")
        return "".join(fill(CONVERSATION, {"prompt": asked, "answer": answer}) for asked, answer in exchanges)


def conversations(user_texts: str | Iterable[Turns], assistant_texts: str | Iterable[Turns]) -> list[list[Message]]:
    """One conversation (user, assistant, ..., assistant) for each two items; two strings are one conversation.

    Raises:
        DataError: The lists, or the turns of two items, differ in number, or are none, or an item is no text.
    """
    users, answers = _items(user_texts, "user_texts"), _items(assistant_texts, "assistant_texts")
    _reject_unequal(len(users), len(answers), where="")
    pairs = zip(cast(list[Turns], users), cast(list[Turns], answers), strict=True)
    talks = [_exchanges(asked, said, where=f"[{index}]") for index, (asked, said) in enumerate(pairs)]
    return [
        [Message(role=role, content=text) for exchange in talk for role, text in zip(_ROLES, exchange, strict=True)]
        for talk in talks
    ]


def texts_of(given: object, name: str) -> list[str]:
    """The texts of a list; a string is one.

    Raises:
        DataError: There are none, or one is no text; `name` says where.
    """
    items = _items(given, name)
    wrong = next((index for index, item in enumerate(items) if not isinstance(item, str)), None)
    if wrong is not None:
        kind = type(items[wrong]).__name__
        raise DataError(f"{name}[{wrong}] is {kind}, not text: {str(items[wrong])[:40]!r}. Give a str.")
    return cast(list[str], items)


def _exchanges(user_texts: Turns, assistant_texts: Turns, *, where: str) -> list[Exchange]:
    users, answers = texts_of(user_texts, f"user_texts{where}"), texts_of(assistant_texts, f"assistant_texts{where}")
    _reject_unequal(len(users), len(answers), where=where)
    return list(zip(users, answers, strict=True))


def _reject_unequal(users: int, answers: int, *, where: str) -> None:
    if users != answers:
        raise DataError(
            f"user_texts{where} has {users} items, assistant_texts{where} has {answers}. Give an answer to each."
        )


def _items(given: object, name: str) -> list[object]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, Iterable) or isinstance(given, bytes | Mapping | AbstractSet):
        raise DataError(f"{name} is {type(given).__name__}, not text or a list of texts. Give a str or a list of them.")
    items = list(cast(Iterable[object], given))
    if not items:
        raise DataError(f"{name} is empty. Give at least one text.")
    return items


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
        ModerationEndpoint(self._settings).close()  # a missing key is an error now, not at the first call

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
        from cst.chat.journal import Journal
        from cst.chat.journalled import Journalled
        from cst.chat.moderation import ModerationEndpoint
        from cst.judges.harm import ModerationJudge

        texts = texts_of(messages, "messages")
        said = [text for text in texts if text.strip()]
        if len(said) < len(texts):
            logger.warning("%d of %d messages are blank, and have no scores.", len(texts) - len(said), len(texts))
        with ExitStack() as opened:
            chat = opened.enter_context(ModerationEndpoint(self._settings))
            if self._journal is not None:
                chat = Journalled(chat, opened.enter_context(Journal(Path(self._journal))))
            found = iter(ModerationJudge(chat).results(said))
        return [dict(next(found).scores) if text.strip() else {} for text in texts]


ADVICE = {
    "redteam": "On the hub, redteam was last seen with its weights in a pickle only, which cst never opens. Use "
    "setup_name='redteam-osst', which its authors recommend; or convert the weights where you trust them, and give "
    "their folder as model_path.",
    "redteam-osst": "Where there is no network, give the folder of a copy as model_path.",
}
"""What to do if the model of a set-up can't be loaded."""


@final
class AbsoluteHarmfulnessPredictor:
    """One of the paper's two reward models, in float32 as there; the lower a score, the safer the answer.

    `device` is as in torch; by default a GPU if there is one. `model_path` is a folder or hub id to load in place of
    the set-up's own: a local copy, or a reward model of your own that reads conversations in the same way. Weights are
    read from safetensors alone.

    Raises:
        ModelError: There is no such set-up or no such device, or the model can't be loaded.
    """

    def __init__(
        self,
        setup_name: str = "redteam-osst",
        device: str | None = None,
        *,
        model_path: str | Path | None = None,
    ) -> None:
        if setup_name not in PRESETS:
            raise ModelError(
                f"setup_name={setup_name!r} is none of {', '.join(PRESETS)}. Name one of these; a reward model of "
                "your own comes besides, as model_path."
            )
        # A judge has sides to tell apart and needs a threshold; a reading has no use for it.
        given = {"kind": "classifier", "preset": setup_name, "threshold": 0.0, "device": device, "dtype": "float32"}
        own = {} if model_path is None else {"path": str(model_path)}
        self._settings = ClassifierSettings.model_validate({**given, **own})
        self._loaded = _loaded(self._settings, "" if own else ADVICE[setup_name])

    def predict(
        self,
        user_texts: str | Iterable[Turns],
        assistant_texts: str | Iterable[Turns],
        batch_size: int = 128,
        max_length: int = 512,
        show_progress: bool = True,
    ) -> list[float]:
        """The raw logit of each conversation, in order.

        An item of the lists is one turn, or the list of a conversation's turns; two strings are one conversation. A
        row over `max_length` tokens, or over what the model takes, is read without its oldest turns, then without the
        beginning of the question, and only then without the end of the answer; how many are is logged as a warning.

        Raises:
            DataError: The lists differ in length, or are empty, or an item is no text.
            ModelError: A score is no number, or `max_length` leaves no room for an answer.
            ValueError: `batch_size` isn't from 1 to 4096, or `max_length` is under 8.
        """
        from cst.judges.harm import ClassifierJudge

        talks = conversations(user_texts, assistant_texts)
        judge = ClassifierJudge(self._loaded, self._reading(batch_size, max_length))
        return [reading.score for reading in judge.readings(talks, shows_progress=show_progress)]

    def _reading(self, batch_size: int, max_length: int) -> ClassifierSettings:
        from cst.models.classifiers import longest_row

        longest = longest_row(self._loaded.tokenizer, self._loaded.model.config)
        shorter = max_length if longest is None else min(max_length, longest)
        given = {**self._settings.model_dump(), "batch_size": batch_size, "max_length": shorter}
        return ClassifierSettings.model_validate(given)


def _loaded(settings: ClassifierSettings, advice: str) -> "LoadedClassifier":
    from cst.models.loading import load_classifier

    try:
        return load_classifier(settings.path, dtype=settings.dtype, device=settings.device)
    except ModelError as error:
        raise ModelError(f"The reward model of {settings.preset} can't be used. {error} {advice}".rstrip()) from error
