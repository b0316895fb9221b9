"""The audit as it is shown: all faults, escaped, and no text in full."""

import json

import pytest

from cst.auditing.audit import audit
from cst.auditing.show import audit_page, audit_tables, verdict

SECRET = "<b>bold</b> " + "and so on " * 20


@pytest.fixture
def found(tmp_path):
    row = {"system": SECRET, "prompt": SECRET, "chosen": f"[Pirate Mode] {SECRET}", "rejected": "Boil it. Then add"}
    path = tmp_path / "rows<i>.jsonl"
    path.write_text(json.dumps(row) + "\nno row\n")
    return audit(path)


def test_tables_and_page_hold_every_fault_with_its_count_and_places(found):
    *_, faults = audit_tables(found)
    page = audit_page(found)

    assert [row[0] for row in faults.text_rows()] == [each.fault for each in found.findings]
    assert ["chosen bears marks of a persona", "1.000 [.207, 1.000] 1/1", "1"] in faults.text_rows()
    assert "chosen bears marks of a persona" in page
    assert "rows&lt;i&gt;.jsonl" in page


def test_no_text_is_shown_in_full_and_none_becomes_markup(found):
    page = audit_page(found)

    assert SECRET not in page
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page
    assert not any(SECRET in cell for table in audit_tables(found) for row in table.text_rows() for cell in row)
    assert SECRET not in found.model_dump_json()


def test_the_verdict_counts_bad_rows_and_kinds_of_fault(found):
    assert verdict(found).endswith("rows<i>.jsonl: 1 preferences, 1 bad rows, 2 kinds of fault: not clean")
