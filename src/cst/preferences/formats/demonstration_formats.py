"""Rows of supervised tuning as the field keeps them: instructions with outputs, prompts with responses, conversations.

`instruction, input, output` are Alpaca's columns and those of Safety-Tuned LLaMAs' training files (Bianchi et al.,
arXiv 2309.07875), `system` and `history` beside them LLaMA-Factory's (`data/README.md`); `prompt, completion` are trl's
(`docs/source/dataset_formats.md`), as text or as messages; whole conversations end with the response.
"""

from collections.abc import Callable, Sequence

from cst.preferences.formats.conversations import (
    Said,
    answer_in,
    as_messages,
    as_pairs,
    as_turns,
    columns_of,
    messages_in,
    pairs_in,
    said_in,
    said_of,
    with_input,
)
from cst.preferences.formats.recognition import TEXT, Format, Kind
from cst.preferences.json_rows import RowFault
from cst.preferences.rows import Row, optional_text_of, text_of
from cst.records import Demonstration, Message

MESSAGES: tuple[Kind, ...] = ("messages",)


def _flat(name: str, prompt: str, response: str) -> Format[Demonstration]:
    """One turn and its response in columns of text, the system prompt in `system`."""

    def read(row: Row) -> Row:
        asked = {"system_prompt": optional_text_of(row, "system"), "prompt": text_of(row, prompt)}
        return {**asked, "response": text_of(row, response)}

    def write(row: Demonstration) -> Row:
        return columns_of(said_of(row), **{prompt: row.prompt, response: row.response})

    return Format(name, dict.fromkeys((prompt, response), TEXT), read, write, may=("system",))


def _read_instruction(row: Row) -> Row:
    given = optional_text_of(row, "input") or ""
    return {
        "system_prompt": optional_text_of(row, "system"),
        "history": pairs_in(row.get("history")),
        "prompt": with_input(text_of(row, "instruction"), given),
        "input": given,
        "response": text_of(row, "output"),
    }


def _write_instruction(row: Demonstration) -> Row:
    asked = row.turns[-1]
    texts = {"instruction": asked.instruction, "input": asked.input, "output": row.response}
    history = {"history": as_pairs(row.history)} if row.history else {}
    return columns_of(Said(row.system_prompt, (), row.prompt), **texts) | history


def _asked(said: Said) -> Row:
    return {"system_prompt": said.system_prompt, "history": said.history, "prompt": said.prompt}


def _read_completion(row: Row) -> Row:
    return {**_asked(said_in(messages_in(row["prompt"]))), "response": answer_in(row["completion"])}


def _write_completion(row: Demonstration) -> Row:
    answer = Message(role="assistant", content=row.response)
    return {"prompt": as_messages(said_of(row).messages), "completion": as_messages([answer])}


def _conversation(name: str, column: str, write: Callable[[Sequence[Message]], list[Row]]) -> Format[Demonstration]:
    """A whole conversation: its last turn is the response, the turns before it are asked."""

    def read(row: Row) -> Row:
        messages = messages_in(row[column])
        if not messages or messages[-1].role != "assistant":
            raise RowFault("has a conversation without an answer at its end. Add the answer, or remove the row.")
        return {**_asked(said_in(messages[:-1])), "response": messages[-1].content}

    def written(row: Demonstration) -> Row:
        return {column: write([*said_of(row).messages, Message(role="assistant", content=row.response)])}

    return Format(name, {column: ("messages", "turns")}, read, written)


def _read_cst(row: Row) -> Row:
    """The fields of the record, but for what columns of one type have in place of a field that isn't there."""
    known = {name: row[name] for name in Demonstration.model_fields if row.get(name) is not None}
    return {name: value for name, value in known.items() if (name, value) != ("history", "")}


DEMONSTRATION_FORMATS: tuple[Format[Demonstration], ...] = (
    Format(
        "cst-demonstrations",
        dict.fromkeys(("id", "task", "prompt", "response"), TEXT),
        _read_cst,
        lambda row: row.model_dump(mode="json"),
        may=("topic", "source", "system_prompt", "input", "history"),
        adds_identity=False,
    ),
    Format(
        "instruction-output",
        dict.fromkeys(("instruction", "output"), TEXT),
        _read_instruction,
        _write_instruction,
        may=("input", "system", "history"),
    ),
    _flat("prompt-response", "prompt", "response"),
    _flat("prompt-completion", "prompt", "completion"),
    Format(
        "prompt-completion-messages",
        {"prompt": MESSAGES, "completion": (*MESSAGES, "message")},
        _read_completion,
        _write_completion,
    ),
    _conversation("messages-answered", "messages", as_messages),
    _conversation("conversations-answered", "conversations", as_turns),
)
"""All of them, by the names that recipes and commands use; none is also that of a format of prompts or preferences."""
