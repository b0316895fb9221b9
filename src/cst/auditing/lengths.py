"""How long texts are, and how far their lengths alone give away which answer is preferred."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import quantiles

from cst.auditing.facts import RowFacts
from cst.auditing.record import Lengths, LengthShortcut, beginning, share

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
