"""Conversations as other tools keep them, to and from a system prompt, a history, a prompt and an answer.

Messages have `role` and `content` (trl, axolotl, OpenAI), turns have `from` and `value` (sharegpt), and a dialogue is
one text (Anthropic's HH). This file knows no format as a whole.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from cst.preferences.json_rows import RowFault, shown
from cst.preferences.rows import Row
from cst.records import Demonstration, Message, Preference, Prompt


@dataclass(frozen=True)
class Said:
    """A conversation that is to be answered."""

    system_prompt: str | None
    history: tuple[Message, ...]
    prompt: str

    @property
    def messages(self) -> tuple[Message, ...]:
        """All of it in order."""
        system = () if self.system_prompt is None else (Message(role="system", content=self.system_prompt),)
        return (*system, *self.history, Message(role="user", content=self.prompt))


def said_of(record: Preference | Prompt | Demonstration) -> Said:
    """What a record asks."""
    prompt = record.text if isinstance(record, Prompt) else record.prompt
    return Said(record.system_prompt, record.history, prompt)


def said_in(messages: Sequence[Message]) -> Said:
    """The parts of a conversation: system or none, user, assistant, user, ..., with a user's turn at the end.

    Raises:
        RowFault: It has other roles, or another order.
    """
    roles = [message.role for message in messages]
    has_system = roles[:1] == ["system"]
    turns = messages[has_system:]
    if len(turns) % 2 == 0 or roles[has_system:] != (["user", "assistant"] * len(turns))[: len(turns)]:
        raise RowFault(
            f"asks in a conversation with the roles {roles}. Give it as system or none, user, assistant, ..., user."
        )
    return Said(messages[0].content if has_system else None, tuple(turns[:-1]), turns[-1].content)


ROLES = {"system": "system", "user": "user", "assistant": "assistant"}
SHAREGPT_ROLES = {"system": "system", "human": "user", "gpt": "assistant"}


def messages_in(value: object) -> list[Message]:
    """A list of messages, or of sharegpt's turns.

    Raises:
        RowFault: It holds a role, content or key that is no text of a conversation.
    """
    if not isinstance(value, list):
        raise RowFault(f"has {shown(value)} for a conversation, and a list of messages is needed.")
    return [message_in(item) for item in cast(list[object], value)]


def message_in(value: object) -> Message:
    """One message, or one of sharegpt's turns; see `messages_in`."""
    if not isinstance(value, dict):
        raise RowFault(f"has {shown(value)} for a message, and an object with role and content is needed.")
    keys = cast(Row, value)
    role_key, content_key, roles = ("from", "value", SHAREGPT_ROLES) if "from" in keys else ("role", "content", ROLES)
    role, content = keys.get(role_key), keys.get(content_key)
    further = [key for key, inner in keys.items() if key not in (role_key, content_key) and inner]
    if not isinstance(role, str) or role not in roles or not isinstance(content, str) or further:
        raise RowFault(
            f"has the message {shown(keys)}, and {role_key} (one of {list(roles)}) and {content_key} (text) are all "
            "that can be read. Correct or remove the row."
        )
    return Message.model_validate({"role": roles[role], "content": content})


def as_messages(messages: Sequence[Message]) -> list[Row]:
    """Messages with `role` and `content`."""
    return [{"role": message.role, "content": message.content} for message in messages]


def as_turns(messages: Sequence[Message]) -> list[Row]:
    """Sharegpt's turns, with `from` and `value`."""
    names = {role: name for name, role in SHAREGPT_ROLES.items()}
    return [{"from": names[message.role], "value": message.content} for message in messages]


def answer_in(value: object) -> str:
    """The answer in a text, a message, or a list of one message.

    Raises:
        RowFault: It is anything else.
    """
    if isinstance(value, str):
        return value
    messages = messages_in(value if isinstance(value, list) else [value])
    if len(messages) != 1 or messages[0].role != "assistant":
        raise RowFault(f"has the roles {[m.role for m in messages]} for an answer, and one assistant's turn is needed.")
    return messages[0].content


def with_input(instruction: str, given: str) -> str:
    """What an instruction and its input ask as one text: the input on lines of its own, if there is any."""
    return f"{instruction}\n{given}" if given else instruction


def pairs_in(value: object) -> tuple[Message, ...]:
    """The turns of a history as LLaMA-Factory keeps it: a list of (asked, answered), or nothing.

    Raises:
        RowFault: It is something else, or one of them is no list of two texts.
    """
    if not isinstance(value or [], list):
        raise RowFault(f"has {shown(value)} for a history, and a list of pairs of texts is needed. Correct it.")
    return tuple(turn for pair in cast(list[object], value or []) for turn in _pair(pair))


def _pair(value: object) -> tuple[Message, Message]:
    match value:
        case [str(asked), str(answered)]:
            return Message(role="user", content=asked), Message(role="assistant", content=answered)
        case _:
            raise RowFault(f"has {shown(value)} in its history, and a list of two texts is needed. Correct it.")


def as_pairs(history: Sequence[Message]) -> list[list[str]]:
    """A history as `pairs_in` reads it."""
    turns = [turn.content for turn in history]
    return [list(pair) for pair in zip(turns[::2], turns[1::2], strict=True)]


def common_part(chosen: Sequence[Message], rejected: Sequence[Message]) -> list[Message]:
    """What two whole conversations have in common: all but the last turn of each.

    Raises:
        RowFault: They part before that, or one of them has no turns.
    """
    if not chosen or not rejected or list(chosen[:-1]) != list(rejected[:-1]):
        raise RowFault("has conversations that differ before their last turn. Only the answers may differ.")
    return list(chosen[:-1])


_SPEAKERS = {"Human": "user", "Assistant": "assistant"}
_SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")


def dialogue_in(text: str) -> list[Message]:
    r"""The turns of Anthropic's HH texts: `\n\nHuman: ...\n\nAssistant: ...` (Bai et al., arXiv 2204.05862).

    Raises:
        RowFault: Words stand before the first speaker.
    """
    before, *parts = _SPEAKER.split(text)
    if before.strip() or not parts:
        raise RowFault(f"begins with {shown(text)}, and a dialogue begins with two line ends and `Human:`.")
    speakers, contents = parts[::2], parts[1::2]
    return [
        Message.model_validate({"role": _SPEAKERS[speaker], "content": content})
        for speaker, content in zip(speakers, contents, strict=True)
    ]


def as_dialogue(messages: Sequence[Message]) -> str:
    """The text of turns without a system prompt; see `dialogue_in`."""
    names = {role: name for name, role in _SPEAKERS.items()}
    return "".join(f"\n\n{names[message.role]}: {message.content}" for message in messages)


def columns_of(said: Said, **columns: object) -> Row:
    """A row of `system` (left out where there is none) and further columns.

    Raises:
        RowFault: The conversation has several turns, and these columns hold one.
    """
    if said.history:
        raise RowFault("has a history, and this format holds one turn. Choose one of conversations.")
    return ({} if said.system_prompt is None else {"system": said.system_prompt}) | columns
