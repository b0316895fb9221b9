"""What an audit keeps of each row, and what it finds wrong with rows, alone and among one another."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import quantiles

from cst.annexes.audit.record import EXAMPLES, Finding, Kind, Lengths, LengthShortcut, beginning, share
from cst.faults import ends_mid_sentence, has_persona_artefact, likeness, speaks_of_revision
from cst.near_duplicates import near_duplicate_groups, nearest_known
from cst.preferences.sources import Found
from cst.preferences.splits import text_of_turns
from cst.recipe.synthesis import GateSettings
from cst.records import Preference, Prompt
from cst.refusals import begins_as_refusal

DEFAULTS = GateSettings()
"""Thresholds are those of synthesis, as shipped."""


@dataclass(frozen=True, slots=True)
class RowFacts:
    """One row. `lengths` are in characters, by column; of a prompt's row, `refuses` and `answers` are empty.

    `answers` are hashes of chosen and rejected, `refuses` says of each whether it begins as a refusal.
    """

    place: str
    identity: str
    task: str
    configuration: str
    system_prompt: str | None
    asked: str
    lengths: Mapping[str, int]
    faults: tuple[str, ...] = ()
    answers: tuple[int, ...] = ()
    refuses: tuple[bool, ...] = ()


PAIR_FAULTS: Mapping[str, Callable[[Preference, str], bool]] = {
    "chosen speaks of a revision": lambda row, asked: speaks_of_revision(row.chosen, asked),
    "rejected speaks of a revision": lambda row, asked: speaks_of_revision(row.rejected, asked),
    "chosen bears marks of a persona": lambda row, _: has_persona_artefact(row.chosen),
    "rejected bears marks of a persona": lambda row, _: has_persona_artefact(row.rejected),
    "chosen ends mid-sentence": lambda row, _: ends_mid_sentence(row.chosen),
    "rejected ends mid-sentence": lambda row, _: ends_mid_sentence(row.rejected),
    "chosen and rejected nearly equal": lambda row, _: (
        likeness(row.chosen, row.rejected) >= (DEFAULTS.nearly_equal or 1)
    ),
}
"""Faults of a preference row by itself; what only several rows show is told in `findings`."""

BOTH_REFUSE = "chosen and rejected both refuse"


def facts_of_prompt(found: Found[Prompt]) -> RowFacts:
    """What is kept of a prompt."""
    prompt, asked = found.record, text_of_turns(found.record)
    return RowFacts(
        place=found.place,
        identity=prompt.id,
        task=sys.intern(prompt.task),
        configuration="",
        system_prompt=_kept_once(prompt.system_prompt),
        asked=asked,
        lengths={"system prompt": len(prompt.system_prompt or ""), "prompt": len(asked)},
    )


def facts_of_preference(found: Found[Preference]) -> RowFacts:
    """What is kept of a preference row."""
    row, asked = found.record, text_of_turns(found.record)
    refuses = (begins_as_refusal(row.chosen), begins_as_refusal(row.rejected))
    faults = [fault for fault, is_there in PAIR_FAULTS.items() if is_there(row, asked)]
    return RowFacts(
        place=found.place,
        identity=row.id,
        task=sys.intern(row.task),
        configuration=sys.intern(row.configuration),
        system_prompt=_kept_once(row.system_prompt),
        asked=asked,
        lengths={
            "system prompt": len(row.system_prompt or ""),
            "prompt": len(asked),
            "chosen": len(row.chosen),
            "rejected": len(row.rejected),
        },
        faults=(*faults, *([BOTH_REFUSE] if all(refuses) else [])),
        answers=(hash(row.chosen), hash(row.rejected)),
        refuses=refuses,
    )


def _kept_once(text: str | None) -> str | None:
    """The text, the same object for all rows: a hundred thousand rows may have one long system prompt."""
    return None if text is None else sys.intern(text)


SHORTCUT = 0.8
"""A rule by length that gets more of a group's pairs right than this, with its whole interval, is a fault. "Long if
uncensored, short if harmless" gets 94 % of the paper's released pairs right; 50 % is chance."""


def lengths(rows: Sequence[RowFacts]) -> list[Lengths]:
    """Quartiles of each column, over the rows that have it."""
    columns = rows[0].lengths if rows else {}
    return [_of_column(column, [row.lengths[column] for row in rows]) for column in columns]


def _of_column(column: str, values: Sequence[int]) -> Lengths:
    lower, median, upper = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return Lengths(
        column=column,
        shortest=min(values),
        lower_quartile=round(lower),
        median=round(median),
        upper_quartile=round(upper),
        longest=max(values),
    )


@dataclass(frozen=True)
class LengthRule:
    """The longer answer where it is longer by more than `threshold`, else the shorter; or the other way round."""

    prefers_longer: bool
    threshold: int
    right: int


def best_rule(differences: Sequence[int]) -> LengthRule:
    """The rule that gets most pairs right; a difference is the chosen answer's length less the rejected one's.

    Thresholds run over all |differences|, and one below them (always the longer, or always the shorter). Answers of
    equal length are got wrong by every rule that needs a difference: they count as half a pair, rounded down.
    """
    ties = differences.count(0)
    decided = sorted((abs(each), each > 0) for each in differences if each)
    longer = sum(is_longer for _, is_longer in decided)
    options = [LengthRule(True, 0, longer), LengthRule(False, 0, len(decided) - longer)]
    right = longer
    for size, alike in groupby(decided, key=lambda pair: pair[0]):
        right += sum(-1 if is_longer else 1 for _, is_longer in alike)
        options += [LengthRule(True, size, right), LengthRule(False, size, len(decided) - right)]
    best = max(options, key=lambda rule: rule.right)
    return LengthRule(best.prefers_longer, best.threshold, best.right + ties // 2)


def shortcuts(rows: Sequence[RowFacts], is_mirrored: Sequence[bool]) -> list[LengthShortcut]:
    """The best rule of each group: mirrored rows by system prompt, others by configuration.

    Over both orders of a mirrored pair together, lengths say nothing.
    """
    differences: dict[tuple[bool, str], list[int]] = {}
    for row, mirror in zip(rows, is_mirrored, strict=True):
        group = (mirror, (row.system_prompt or "none") if mirror else row.configuration)
        differences.setdefault(group, []).append(row.lengths["chosen"] - row.lengths["rejected"])
    return [
        _shortcut(f"system prompt {beginning(group)!r}" if mirror else group, values)
        for (mirror, group), values in differences.items()
    ]


def _shortcut(group: str, differences: Sequence[int]) -> LengthShortcut:
    rule = best_rule(differences)
    return LengthShortcut(
        group=group,
        prefers_longer=rule.prefers_longer,
        threshold=rule.threshold,
        right=share(rule.right, len(differences)),
    )


def findings(rows: Sequence[RowFacts], kind: Kind, held_out: Sequence[str] | None) -> list[Finding]:
    """Every fault that was looked for, those that were not found too; `held_out` are texts not to be trained on."""
    of_pairs = _faults_of_pairs(rows) if kind == "preferences" else []
    same = _repeats((row.system_prompt, row.asked, *row.answers) for row in rows)
    found = [
        *of_pairs,
        finding("the same as an earlier row", rows, same),
        finding("id stands twice", rows, _repeats((row.identity,) for row in rows)),
        finding("prompt near an earlier row's", rows, _near_earlier(rows)),
    ]
    if held_out is not None:
        found.append(finding("prompt near a held-out one", rows, _near_held_out(rows, held_out)))
    return found


def finding(fault: str, rows: Sequence[RowFacts], indices: Sequence[int]) -> Finding:
    """A fault of the rows with these indices."""
    places = tuple(rows[index].place for index in indices[:EXAMPLES])
    return Finding(fault=fault, rows=share(len(indices), len(rows)), places=places)


def _faults_of_pairs(rows: Sequence[RowFacts]) -> list[Finding]:
    alone = {
        fault: [index for index, row in enumerate(rows) if fault in row.faults] for fault in (*PAIR_FAULTS, BOTH_REFUSE)
    }
    among = {"reversed under the same system prompt": _contradictions(rows)}
    return [finding(fault, rows, indices) for fault, indices in (alone | among).items()]


def _repeats(keys: Iterable[tuple[object, ...]]) -> list[int]:
    """Indices of keys that stood before."""
    seen: set[tuple[object, ...]] = set()
    found: list[int] = []
    for index, key in enumerate(keys):
        if key in seen:
            found.append(index)
        seen.add(key)
    return found


def _contradictions(rows: Sequence[RowFacts]) -> list[int]:
    """Rows whose pair also stands in the other order under the same system prompt: nothing can tell the two apart."""
    orders = {(row.system_prompt, row.asked, *row.answers) for row in rows}
    return [i for i, row in enumerate(rows) if (row.system_prompt, row.asked, *reversed(row.answers)) in orders]


def mirrored(rows: Sequence[RowFacts]) -> list[bool]:
    """For each row whether its pair also stands in the other order, under whatever system prompt."""
    orders = {(row.asked, *row.answers) for row in rows if row.answers}
    return [bool(row.answers) and (row.asked, *reversed(row.answers)) in orders for row in rows]


def _near_earlier(rows: Sequence[RowFacts]) -> list[int]:
    """Rows that ask nearly what an earlier row asks, under the same system prompt.

    The very same prompt isn't meant: rows may hold several pairs of answers to it, and a row that stands twice is
    another fault.
    """
    texts = list(dict.fromkeys(row.asked for row in rows))
    groups = near_duplicate_groups(texts, threshold=DEFAULTS.near_duplicates or 1)
    group_of = dict(zip(texts, groups, strict=True))
    first: dict[tuple[int, str | None], str] = {}
    found: list[int] = []
    for index, row in enumerate(rows):
        earlier = first.setdefault((group_of[row.asked], row.system_prompt), row.asked)
        if earlier != row.asked:
            found.append(index)
    return found


def _near_held_out(rows: Sequence[RowFacts], held_out: Sequence[str]) -> list[int]:
    texts = (row.asked for row in rows)
    near = nearest_known(texts, held_out, threshold=DEFAULTS.close_to_held_out or 1)
    return [index for index, known in enumerate(near) if known is not None]
