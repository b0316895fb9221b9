"""Prompts as the field keeps them: cst's records, prompt CSVs, instructions, and conversations.

`goal` is AdvBench's (Zou et al., arXiv 2307.15043), `prompt` with `type` and `focus` XSTest's (Röttger et al., arXiv
2308.01263: columns `id,prompt,type,label,focus,note`), `instructions` Safety-Tuned LLaMAs' (Bianchi et al., arXiv
2309.07875) and `instruction` Alpaca's.
"""

from collections.abc import Callable

from cst.preferences.formats.conversations import (
    Said,
    as_messages,
    as_turns,
    columns_of,
    messages_in,
    said_in,
    said_of,
    with_input,
)
from cst.preferences.formats.recognition import TEXT, Format
from cst.preferences.json_rows import RowFault
from cst.preferences.rows import Row, optional_text_of, text_of
from cst.records import Message, Prompt


def _flat(name: str, column: str, *, may: tuple[str, ...] = ("system", "type")) -> Format[Prompt]:
    """One turn in a column of text; a `type` is read as the topic where there is no `topic`."""

    def read(row: Row) -> Row:
        topic = optional_text_of(row, "topic") or optional_text_of(row, "type")
        return {"system_prompt": optional_text_of(row, "system"), "text": text_of(row, column), "topic": topic}

    def write(prompt: Prompt) -> Row:
        return columns_of(said_of(prompt), **{column: prompt.text})

    return Format(name, {column: TEXT}, read, write, may=may)


def _instruction(name: str, instruction: str, given: str, may: tuple[str, ...]) -> Format[Prompt]:
    """An instruction and, on the lines after it, what it is about, if anything."""

    def read(row: Row) -> Row:
        about = optional_text_of(row, given) or ""
        topic = optional_text_of(row, "topic") or optional_text_of(row, "tags")
        return {"text": with_input(text_of(row, instruction), about), "input": about, "topic": topic}

    def write(prompt: Prompt) -> Row:
        if prompt.system_prompt is not None:
            raise RowFault("has a system prompt, and this format has no place for one. Choose one of conversations.")
        asked = prompt.turns[-1]
        return columns_of(said_of(prompt), **{instruction: asked.instruction, given: asked.input})

    return Format(name, {instruction: TEXT}, read, write, may=(given, *may))


SAFE_TASK, UNSAFE_TASK, SAFE_TOPIC, UNSAFE = "over_refusal", "harmless", "benign", "contrast_"


def _read_xstest(row: Row) -> Row:
    """Harmless look-alikes are topic `benign` of over-refusal, their harmful contrasts are requests of task harmless.

    A contrast is told by its `type`, as XSTest's own page has it; type and focus word become groups, because prompts
    that share one are alike.
    """
    kind = text_of(row, "type")
    is_unsafe, label = kind.startswith(UNSAFE), optional_text_of(row, "label")
    if label is not None and label != ("unsafe" if is_unsafe else "safe"):
        raise RowFault(f"has the label {label!r}, and its type {kind!r} says otherwise. Correct one of them.")
    focus = optional_text_of(row, "focus")
    return {
        "text": text_of(row, "prompt"),
        "task": UNSAFE_TASK if is_unsafe else SAFE_TASK,
        "topic": kind if is_unsafe else SAFE_TOPIC,
        "groups": {"type": kind} | ({} if focus is None else {"focus": focus}),
    }


def _write_xstest(prompt: Prompt) -> Row:
    if prompt.system_prompt is not None:
        raise RowFault("has a system prompt, and this format has no place for one. Choose one of conversations.")
    kind = prompt.groups.get("type", prompt.topic or "")
    return columns_of(said_of(prompt), prompt=prompt.text, type=kind, focus=prompt.groups.get("focus", ""))


def _asked(said: Said) -> Row:
    return {"system_prompt": said.system_prompt or None, "history": said.history, "text": said.prompt}


def _conversation(name: str, column: str, write: Callable[[list[Message]], list[Row]]) -> Format[Prompt]:
    """A whole conversation; where an assistant's answer ends it, what comes before is the prompt."""

    def read(row: Row) -> Row:
        messages = messages_in(row[column])
        return _asked(said_in(messages[:-1] if messages and messages[-1].role == "assistant" else messages))

    return Format(
        name,
        {column: ("messages", "turns")},
        read,
        lambda prompt: {column: write(list(said_of(prompt).messages))},
    )


PROMPT_FORMATS: tuple[Format[Prompt], ...] = (
    Format(
        "cst-prompts",
        dict.fromkeys(("id", "text", "task"), TEXT),
        dict,
        lambda prompt: prompt.model_dump(mode="json"),
        may=("topic", "system_prompt", "groups", "history", "original", "input"),
        adds_identity=False,
    ),
    _flat("prompts", "prompt"),
    Format(
        "xstest", dict.fromkeys(("prompt", "type", "focus"), TEXT), _read_xstest, _write_xstest, may=("label", "note")
    ),
    _flat("text", "text"),
    _flat("goals", "goal"),
    _instruction("safety-tuned-llamas", "instructions", "inputs", ("tags",)),
    _instruction("alpaca", "instruction", "input", ("tags",)),
    _conversation("messages", "messages", as_messages),
    _conversation("conversations", "conversations", as_turns),
    _conversation("prompt-messages", "prompt", as_messages),
)
"""All of them, by the names that recipes and commands use."""


def one_column(row: Row) -> Format[Prompt] | None:
    """The format of a table whose only column is the prompt, whatever its name; None where there are more."""
    names = list(row)
    return _flat("one-column", names[0], may=()) if len(names) == 1 and isinstance(row[names[0]], str) else None
