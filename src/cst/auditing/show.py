"""An audit as tables for the terminal and as one page: places, counts and lengths, never a text in full."""

from collections.abc import Sequence
from pathlib import Path

from cst.auditing.record import Audit, Finding, LengthShortcut, Share
from cst.evaluation.tables import Rate, Row, Table

NOTE = "A rate: its 95 % Wilson interval, rows / all. Faults are told by form and wording, in English alone."


def verdict(audit: Audit) -> str:
    """The audit in one line."""
    found = [each for each in _findings(audit) if each.rows.count]
    said = f"{audit.source}: {audit.rows} {audit.kind}, {audit.bad.rows.count} bad rows, {len(found)} kinds of fault"
    return f"{said}: clean" if audit.is_clean else f"{said}: not clean"


def audit_tables(audit: Audit) -> list[Table]:
    """All that an audit found, the faults last: they are what a reader at a terminal is to see."""
    system_prompts = [_system_prompts(audit)] if audit.system_prompts.different else []
    tables = [_contents(audit), *system_prompts, _lengths(audit)]
    if audit.shortcuts:
        tables.append(_shortcuts(audit.shortcuts))
    return [*tables, *_bad_rows(audit), _faults(audit)]


def audit_page(audit: Audit) -> str:
    """The audit as one HTML file that asks for nothing else."""
    from jinja2 import ChoiceLoader, PackageLoader

    from cst.evaluation.report import page_environment

    environment = page_environment(escaped=True)
    pages = PackageLoader("cst.auditing")
    environment.loader = ChoiceLoader([pages, environment.loader]) if environment.loader else pages
    faults, *others = reversed(audit_tables(audit))
    page = environment.get_template("audit.html.j2")
    return page.render(
        name=Path(audit.source).name, verdict=verdict(audit), note=NOTE, tables=[faults, *reversed(others)]
    )


def _rate(share: Share) -> Rate:
    return Rate(share.count / share.n if share.n else None, share.low, share.high, f"{share.count}/{share.n}")


def _contents(audit: Audit) -> Table:
    rows: list[Row] = [
        ("rows", str(audit.rows)),
        ("formats", _counted(audit.formats)),
        ("columns", ", ".join(audit.columns)),
        ("columns not read", ", ".join(audit.unread) or "none"),
        ("tasks", _counted(audit.tasks)),
    ]
    if audit.mirrored is not None:
        rows.append(("rows whose pair also stands in the other order", _rate(audit.mirrored)))
    rows += [(f"{side} begins as a refusal", _rate(share)) for side, share in audit.refusals.items()]
    if audit.tokens is not None:
        tokens = audit.tokens
        limit = f", the model takes {tokens.max_length}" if tokens.max_length else ""
        rows += [
            (f"tokens of a row by {tokens.tokenizer}", f"median {tokens.median}, at most {tokens.longest}{limit}"),
            ("what parts its turns", _BOUNDARIES[tokens.boundary]),
            ("system prompts that it would fold into the user's turn", _rate(tokens.folded)),
        ]
    return Table(f"{audit.kind} in {Path(audit.source).name}", ("", "found"), tuple(rows), NOTE)


_BOUNDARIES = {
    "strong": "control tokens (a strong boundary)",
    "weak": "text that a user can write too (a weak boundary)",
}


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _system_prompts(audit: Audit) -> Table:
    prompts = audit.system_prompts
    rows = [(f"{text!r}", str(count)) for text, count in prompts.most_frequent]
    note = f"{prompts.different} different ones; {prompts.rows_without} rows have none."
    return Table("System prompts, by their beginnings", ("most frequent", "rows"), tuple(rows), note)


def _lengths(audit: Audit) -> Table:
    columns = ("", "shortest", "lower quartile", "median", "upper quartile", "longest")
    rows = [
        (each.column, *map(str, (each.shortest, each.lower_quartile, each.median, each.upper_quartile, each.longest)))
        for each in audit.lengths
    ]
    return Table("Lengths in characters", columns, tuple(rows))


def _shortcuts(shortcuts: Sequence[LengthShortcut]) -> Table:
    rows = [(each.group, _rule(each), _rate(each.right)) for each in shortcuts]
    note = "The best rule that sees nothing but the two answers' lengths, chosen on these very rows; .5 is chance."
    return Table(
        "Preferred answers told by their lengths alone", ("rows", "the preferred one is", "right"), tuple(rows), note
    )


def _rule(shortcut: LengthShortcut) -> str:
    first, second = ("longer", "shorter") if shortcut.prefers_longer else ("shorter", "longer")
    if not shortcut.threshold:
        return f"the {first}"
    return f"the {first} if they differ by over {shortcut.threshold} characters, else the {second}"


def _bad_rows(audit: Audit) -> list[Table]:
    if not audit.bad.rows.count:
        return []
    rows = [(text,) for text in audit.bad.examples]
    note = f"{audit.bad.rows.count} of {audit.bad.rows.n} rows can't be used."
    return [Table("Bad rows, the first of them", ("place and reason",), tuple(rows), note)]


def _findings(audit: Audit) -> list[Finding]:
    return [*audit.findings, *(audit.tokens.findings if audit.tokens else ())]


def _faults(audit: Audit) -> Table:
    rows = [
        (each.fault, _rate(each.rows), ", ".join(_short(place) for place in each.places)) for each in _findings(audit)
    ]
    return Table("Faults", ("", "rows", "first places"), tuple(rows))


def _short(place: str) -> str:
    """`line` or `row n` alone: the file stands above."""
    return place.rpartition(":")[2].strip()
