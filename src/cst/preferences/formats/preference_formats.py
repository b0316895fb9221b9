"""Preference data as the field keeps it: the paper's columns, and those of trl, axolotl, LLaMA-Factory and HH.

Every format keeps system prompt, history, prompt, chosen and rejected, or refuses a row that it can't say. Columns are
those of trl 1.16 (`trl/data_utils.py`), axolotl (`prompt_strategies/dpo`) and LLaMA-Factory (`data/README.md`).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

from cst.preferences.formats.conversations import (
    Said,
    answer_in,
    as_dialogue,
    as_messages,
    as_pairs,
    as_turns,
    columns_of,
    common_part,
    dialogue_in,
    messages_in,
    pairs_in,
    said_in,
    said_of,
)
from cst.preferences.formats.recognition import TEXT, Format, Kind
from cst.preferences.json_rows import RowFault, shown
from cst.preferences.rows import Row, optional_text_of, text_of
from cst.records import Message, Preference

MESSAGES: tuple[Kind, ...] = ("messages",)
TURN: tuple[Kind, ...] = ("turn",)
ANSWER: tuple[Kind, ...] = (*TEXT, "message", "messages")


def _fields(said: Said, chosen: str, rejected: str) -> Row:
    asked = {"system_prompt": said.system_prompt, "history": said.history, "prompt": said.prompt}
    return {**asked, "chosen": chosen, "rejected": rejected}


def _reader(prompt: str, chosen: str = "chosen", rejected: str = "rejected") -> Callable[[Row], Row]:
    """One turn in columns of text, the system prompt in `system`."""

    def read(row: Row) -> Row:
        said = Said(optional_text_of(row, "system"), (), text_of(row, prompt))
        return _fields(said, text_of(row, chosen), text_of(row, rejected))

    return read


def _flat(name: str, prompt: str, chosen: str = "chosen", rejected: str = "rejected") -> Format[Preference]:
    def write(preference: Preference) -> Row:
        answers = {chosen: preference.chosen, rejected: preference.rejected}
        return columns_of(said_of(preference), **{prompt: preference.prompt, **answers})

    columns = dict.fromkeys((prompt, chosen, rejected), TEXT)
    return Format(name, columns, _reader(prompt, chosen, rejected), write, may=("system",))


def _write_paper(preference: Preference) -> Row:
    row = columns_of(said_of(preference), prompt=preference.prompt, chosen=preference.chosen)
    return {"system": "", **row, "rejected": preference.rejected, "task": preference.task}


def _without_system(preference: Preference) -> Said:
    """What is asked, for formats of bare text, which have no place for a system prompt.

    A column of its own would be overlooked by the tools, and the model trained without what it is to read.
    """
    if preference.system_prompt is not None:
        raise RowFault("has a system prompt, and this format has no place for one. Choose one of conversations.")
    return said_of(preference)


def _write_trl(preference: Preference) -> Row:
    asked = columns_of(_without_system(preference), prompt=preference.prompt)
    return {**asked, "chosen": preference.chosen, "rejected": preference.rejected}


def _read_trl_implicit(row: Row) -> Row:
    """The prompt is what both texts begin with, a space at its end left out, as trl's `extract_prompt` has it."""
    chosen, rejected = text_of(row, "chosen"), text_of(row, "rejected")
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))
    common = "".join(character for character, _ in alike).removesuffix(" ")
    return _fields(Said(None, (), common), chosen.removeprefix(common), rejected.removeprefix(common))


def _write_trl_implicit(preference: Preference) -> Row:
    row = _write_trl(preference)
    return {side: row["prompt"] + row[side] for side in ("chosen", "rejected")}


def _whole(chosen: Sequence[Message], rejected: Sequence[Message]) -> Row:
    """The fields of two conversations that differ in their last turn alone."""
    said = said_in(common_part(chosen, rejected))
    return _fields(said, *(answer_in(as_messages(turns[-1:])) for turns in (chosen, rejected)))


def _read_hh(row: Row) -> Row:
    return _whole(*(dialogue_in(text_of(row, side)) for side in ("chosen", "rejected")))


def _write_hh(preference: Preference) -> Row:
    asked = _without_system(preference).messages
    return {
        side: as_dialogue([*asked, Message(role="assistant", content=answer)])
        for side, answer in (("chosen", preference.chosen), ("rejected", preference.rejected))
    }


def _read_trl_conversational(row: Row) -> Row:
    return _fields(said_in(messages_in(row["prompt"])), answer_in(row["chosen"]), answer_in(row["rejected"]))


def _write_trl_conversational(preference: Preference) -> Row:
    return {"prompt": as_messages(said_of(preference).messages), **_answers(preference)}


def _answers(preference: Preference) -> Row:
    return {
        side: as_messages([Message(role="assistant", content=answer)])
        for side, answer in (("chosen", preference.chosen), ("rejected", preference.rejected))
    }


def _read_whole(row: Row) -> Row:
    return _whole(messages_in(row["chosen"]), messages_in(row["rejected"]))


def _write_whole(preference: Preference) -> Row:
    asked = as_messages(said_of(preference).messages)
    return {side: [*asked, *answer] for side, answer in _answers(preference).items()}


def _read_ultra(row: Row) -> Row:
    fields = _read_whole(row)
    if fields["prompt"] != row["prompt"] or fields["history"] or fields["system_prompt"] is not None:
        raise RowFault(f"asks {shown(row['prompt'])}, and its conversations ask something else. Correct the row.")
    return {**fields, "system_prompt": optional_text_of(row, "system")}


def _write_ultra(preference: Preference) -> Row:
    row = columns_of(said_of(preference), prompt=preference.prompt)
    return row | _write_whole(preference.model_copy(update={"system_prompt": None}))


def _read_axolotl(row: Row) -> Row:
    asked = row["messages"]
    said = Said(None, (), text_of(row, "messages")) if isinstance(asked, str) else said_in(messages_in(asked))
    return _fields(said, answer_in(row["chosen"]), answer_in(row["rejected"]))


def _write_axolotl(preference: Preference) -> Row:
    answers = {side: answer[0] for side, answer in _answers(preference).items()}
    return {"messages": as_messages(said_of(preference).messages), **answers}


def _read_alpaca(row: Row) -> Row:
    """LLaMA-Factory asks instruction and input in one text, a line each, after the pairs of the history."""
    texts = [text for column in ("instruction", "input") if (text := optional_text_of(row, column)) is not None]
    said = Said(optional_text_of(row, "system"), pairs_in(row.get("history")), "\n".join(texts))
    return _fields(said, text_of(row, "chosen"), text_of(row, "rejected"))


def _write_alpaca(preference: Preference) -> Row:
    row = columns_of(Said(preference.system_prompt, (), preference.prompt), instruction=preference.prompt, input="")
    row |= {"chosen": preference.chosen, "rejected": preference.rejected}
    return row | ({"history": as_pairs(preference.history)} if preference.history else {})


def _read_sharegpt(row: Row) -> Row:
    said = said_in(messages_in(row["conversations"]))
    system = said.system_prompt if said.system_prompt is not None else optional_text_of(row, "system")
    return _fields(Said(system, said.history, said.prompt), answer_in(row["chosen"]), answer_in(row["rejected"]))


def _write_sharegpt(preference: Preference) -> Row:
    answers = {side: as_turns([Message(role="assistant", content=getattr(preference, side))])[0] for side in _SIDES}
    return {"conversations": as_turns(said_of(preference).messages), **answers}


def _read_cst(row: Row) -> Row:
    """The row as it is, but for what columns of one type have in place of a field that isn't there."""
    return {name: value for name, value in row.items() if value is not None and (name, value) != ("history", "")}


def _write_cst(preference: Preference) -> Row:
    return preference.model_dump(mode="json")


_SIDES: tuple[str, ...] = ("chosen", "rejected")
_TEXTS: Mapping[str, tuple[Kind, ...]] = dict.fromkeys(_SIDES, TEXT)
_CONVERSATIONS: Mapping[str, tuple[Kind, ...]] = dict.fromkeys(_SIDES, MESSAGES)
_PLAIN: tuple[Kind, ...] = ("text",)
_DIALOGUE: tuple[Kind, ...] = ("dialogue",)
_ASKING = ("prompt", "question", "input", "instruction", "messages", "conversations")
"""Columns that hold what is asked, in formats that don't keep it within the answers."""

PREFERENCE_FORMATS: tuple[Format[Preference], ...] = (
    Format(
        "cst",
        dict.fromkeys(("id", "task", "configuration", "prompt", *_SIDES), TEXT),
        _read_cst,
        _write_cst,
        may=("topic", "system_prompt", "history"),
        adds_identity=False,
    ),
    Format(
        "paper",
        {"prompt": TEXT, **_TEXTS, "system": (*TEXT, "nothing")},
        _reader("prompt"),
        _write_paper,
        may=("task",),
        adds_identity=False,
    ),
    Format("trl", {"prompt": TEXT, **_TEXTS}, _reader("prompt"), _write_trl),
    Format("trl-implicit", dict.fromkeys(_SIDES, _PLAIN), _read_trl_implicit, _write_trl_implicit, lacks=_ASKING),
    Format(
        "trl-conversational",
        {"prompt": MESSAGES, **_CONVERSATIONS},
        _read_trl_conversational,
        _write_trl_conversational,
    ),
    Format("trl-conversational-implicit", _CONVERSATIONS, _read_whole, _write_whole, lacks=_ASKING),
    Format("hh", dict.fromkeys(_SIDES, _DIALOGUE), _read_hh, _write_hh, lacks=_ASKING),
    Format(
        "axolotl",
        {"messages": (*TEXT, *MESSAGES), "chosen": ANSWER, "rejected": ANSWER},
        _read_axolotl,
        _write_axolotl,
    ),
    _flat("axolotl-intel", "question"),
    _flat("axolotl-icr", "input"),
    _flat("axolotl-argilla", "instruction", "chosen_response", "rejected_response"),
    Format("axolotl-ultra", {"prompt": TEXT, **_CONVERSATIONS}, _read_ultra, _write_ultra, may=("system",)),
    Format(
        "llama-factory-alpaca",
        {"instruction": TEXT, **_TEXTS},
        _read_alpaca,
        _write_alpaca,
        may=("input", "system", "history"),
    ),
    Format(
        "llama-factory-sharegpt",
        {"conversations": ("turns",), "chosen": TURN, "rejected": TURN},
        _read_sharegpt,
        _write_sharegpt,
        may=("system",),
    ),
)
"""All of them, by the names that recipes and commands use."""
