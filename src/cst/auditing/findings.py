"""What is wrong with rows, alone and among one another: pure functions over the facts that were kept of them."""

from collections.abc import Iterable, Sequence

from cst.auditing.facts import BOTH_REFUSE, DEFAULTS, PAIR_FAULTS, RowFacts
from cst.auditing.record import EXAMPLES, Finding, Kind, share
from cst.near_duplicates import near_duplicate_groups, nearest_known


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
