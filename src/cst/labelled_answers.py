"""Answers that people labelled, from a user's file: prompt, answer, label, and where it stands task and system prompt.

Any file that preferences are read from will do. A row that can't be used is named, and none is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cst.errors import DataError
from cst.evaluation.judge_card import LabelledAnswer
from cst.preferences.rows import BadRow, FoundRow, Row, RowFault, optional_text_of, read_rows, text_of
from cst.records import Prompt, Side

LABELS: Mapping[str, Side] = {
    **dict.fromkeys(("original", "harmful", "unsafe", "0"), Side.ORIGINAL),
    **dict.fromkeys(("revised", "harmless", "safe", "1"), Side.REVISED),
}
"""What labels mean that aren't mapped otherwise: 0 and 1 are the paper's rating of harmlessness, so that 1 is harmless.

Many data sets write 1 for harmful instead; the card shows how each label was read.
"""

ANSWER_NAMES = ("answer", "response")


@dataclass(frozen=True)
class LabelReading:
    """How a file of labelled answers is read: the task of rows that name none, own labels, own column names."""

    task: str = "harmless"
    labels: Mapping[str, Side] = field(default_factory=dict[str, Side])
    columns: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Labelled:
    """The answers of a file, and the side that each of its labels was read as."""

    answers: list[LabelledAnswer]
    labels: dict[str, Side]


def read_labelled(source: Path, reading: LabelReading) -> Labelled:
    """All answers of a file.

    Raises:
        DataError: The file is missing or empty, or a row has no prompt, no answer, or a label of no known side.
    """
    answers: list[LabelledAnswer] = []
    labels: dict[str, Side] = {}
    bad: list[str] = []
    for number, found in enumerate(read_rows(source), start=1):
        try:
            label, answer = _answer(found, f"{source.stem}-{number:06d}", reading)
        except RowFault as fault:
            bad.append(f"{found.place} {fault}")
            continue
        answers.append(answer)
        labels[label] = answer.label
    if bad:
        raise DataError(f"{bad[0]} ({len(bad)} of {len(bad) + len(answers)} rows can't be used.)")
    return Labelled(answers, dict(sorted(labels.items())))


def _answer(found: FoundRow | BadRow, identity: str, reading: LabelReading) -> tuple[str, LabelledAnswer]:
    if isinstance(found, BadRow):
        raise RowFault(found.reason)
    row = {**found.row, **{name: _own(found.row, own) for name, own in reading.columns.items()}}
    label, side = _label(row, reading.labels)
    prompt = Prompt(
        id=identity,
        text=text_of(row, "prompt"),
        task=optional_text_of(row, "task") or reading.task,
        topic=optional_text_of(row, "topic"),
        system_prompt=optional_text_of(row, "system_prompt"),
    )
    name = next((name for name in ANSWER_NAMES if name in row), ANSWER_NAMES[0])
    return label, LabelledAnswer(prompt=prompt, text=text_of(row, name), label=side)


def _own(row: Row, name: str) -> object:
    if name not in row:
        raise RowFault(f"has no field {name!r}, only {sorted(row)}. Correct --column, which speaks of it.")
    return row[name]


def _label(row: Row, labels: Mapping[str, Side]) -> tuple[str, Side]:
    """How the label is written (a number without its fraction, all in lower case), and its side."""
    value = row.get("label")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip().lower()
    known = {**LABELS, **{name.lower(): side for name, side in labels.items()}}
    if text not in known:
        raise RowFault(
            f"has label={value!r}, which names no side. Labels are {', '.join(known)}; say what others mean with "
            "--label NAME=original or --label NAME=revised."
        )
    return text, known[text]


def pairs_of(words: Sequence[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` words of an option as a mapping.

    Raises:
        DataError: A word has no `=`, or nothing on one side of it.
    """
    pairs = {name: value for name, _, value in (word.rpartition("=") for word in words)}
    for name, value in pairs.items():
        if not name or not value:
            raise DataError(f"{option} {name or value!r} can't be read; write {option} NAME=VALUE.")
    return pairs


def sides_of(words: Sequence[str]) -> dict[str, Side]:
    """`--label NAME=SIDE` words as a mapping.

    Raises:
        DataError: A word isn't of that form, or names no side.
    """
    pairs = pairs_of(words, "--label")
    for name, side in pairs.items():
        if side not in set(Side):
            raise DataError(f"--label {name}={side} names no side; write {name}=original or {name}=revised.")
    return {name: Side(side) for name, side in pairs.items()}
