"""What callers of the evaluators give: texts and lists of texts, checked, as conversations.

A string is one text and never a row of letters. This file knows no model.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TypeAlias, cast, final

from cst.errors import DataError
from cst.recipe_harm_judges import CONVERSATION
from cst.records import Message
from cst.texts import fill

Turns: TypeAlias = str | Iterable[str]
"""What one side says in a conversation: a string is one turn."""

Exchange: TypeAlias = tuple[str, str]
"""What the user says, and what the assistant says to that."""


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
    _refuse_unequal(len(users), len(answers), where="")
    pairs = zip(cast(list[Turns], users), cast(list[Turns], answers), strict=True)
    return [_messages(_exchanges(asked, said, where=f"[{index}]")) for index, (asked, said) in enumerate(pairs)]


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
    _refuse_unequal(len(users), len(answers), where=where)
    return list(zip(users, answers, strict=True))


def _messages(talk: list[Exchange]) -> list[Message]:
    turns = [(Message(role="user", content=asked), Message(role="assistant", content=said)) for asked, said in talk]
    return [turn for exchange in turns for turn in exchange]


def _refuse_unequal(users: int, answers: int, *, where: str) -> None:
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
