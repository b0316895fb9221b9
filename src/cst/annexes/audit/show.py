"""An audit as tables for the terminal and as one page: places, counts and lengths, never a text in full."""

from collections.abc import Sequence
from pathlib import Path

from cst.annexes.audit.record import Audit, LengthShortcut, Share
from cst.reporting.tables import Rate, Row, Table, number

NOTE = (
    "A rate: its 95 % Wilson interval, rows / all. The checks are English-only pattern matches: they miss some faults."
)


def verdict(audit: Audit) -> str:
    """The audit in one line, without the file's name."""
    kinds = sum(each.rows.count > 0 for each in audit.all_findings)
    said = f"{_n(audit.rows, audit.kind[:-1])}, {_n(audit.bad.rows.count, 'bad row')}, {_n(kinds, 'kind')} of fault"
    skipped = f"; not read: {', '.join(audit.unread)}" if audit.kind == "prompts" and audit.unread else ""
    return f"{'clean' if audit.is_clean else 'not clean'}: {said}{skipped}"


def _n(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def audit_tables(audit: Audit) -> list[Table]:
    """Everything that an audit found, the faults last, where a reader at a terminal sees them."""
    return [*_contents_tables(audit), *_bad_rows(audit), _faults(audit)]


def _contents_tables(audit: Audit) -> list[Table]:
    system_prompts = [_system_prompts(audit)] if audit.system_prompts.different else []
    by_length = [_shortcuts(audit.shortcuts)] if audit.shortcuts else []
    return [_contents(audit), *system_prompts, _lengths(audit), *by_length]


def audit_page(audit: Audit) -> str:
    """The audit as one HTML file without external resources, the faults first."""
    from cst.reporting.report import page_environment

    page = page_environment(escaped=True, package="cst.annexes.audit").get_template("audit.html.j2")
    tables = [_faults(audit), *_bad_rows(audit), *_contents_tables(audit)]
    return page.render(name=_name(audit), verdict=verdict(audit), is_clean=audit.is_clean, tables=tables)


def _name(audit: Audit) -> str:
    """The file without its folder, which a shared page shouldn't show."""
    return Path(audit.source).name


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
    return Table(f"{audit.kind} in {_name(audit)}", ("", "found"), tuple(rows))


_BOUNDARIES = {
    "strong": "control tokens (a strong boundary)",
    "weak": "text that a user can write too (a weak boundary)",
}


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _system_prompts(audit: Audit) -> Table:
    prompts = audit.system_prompts
    rows = [(f"{text!r}", str(count)) for text, count in prompts.most_frequent]
    note = f"{_n(prompts.different, 'different one')}; {_n(prompts.rows_without, 'row')} without any."
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
    limit = f" if they differ by over {shortcut.threshold} characters, else the {second}"
    return f"the {first}{limit if shortcut.threshold else ''}"


def _bad_rows(audit: Audit) -> list[Table]:
    if not audit.bad.rows.count:
        return []
    rows = [(text.replace(audit.source, _name(audit)),) for text in audit.bad.examples]
    note = f"{audit.bad.rows.count} of {audit.bad.rows.n} rows can't be used."
    return [Table("Bad rows, the first of them", ("place and reason",), tuple(rows), note)]


def _faults(audit: Audit) -> Table:
    """The faults that were found, and in a note those that were not, with the upper bound of their intervals."""
    found = [each for each in audit.all_findings if each.rows.count]
    # `line` or `row n` alone: the title names the file.
    places = [", ".join(place.rpartition(":")[2].strip() for place in each.places) for each in found]
    rows = [(each.fault, _rate(each.rows), where) for each, where in zip(found, places, strict=True)]
    absent = [each for each in audit.all_findings if not each.rows.count]
    bound = number(max((each.rows.high for each in absent), default=0.0))
    names = ", ".join(each.fault for each in absent) or "nothing"
    note = f"Looked for and not found: {names}. At 95 %, each may still be in up to {bound} of such rows. {NOTE}"
    return Table("Faults", ("", "rows", "first places"), tuple(rows or [("none found", "", "")]), note)
