"""The audit as it is shown: faults first, escaped, and no text in full."""

import json

import pytest

from cst.annexes.audit import audit
from cst.annexes.audit.show import audit_page, audit_tables, verdict

SECRET = "<b>bold</b> " + "and so on " * 20


@pytest.fixture
def found(tmp_path):
    row = {"system": SECRET, "prompt": SECRET, "chosen": f"[Pirate Mode] {SECRET}", "rejected": "Boil it. Then add"}
    path = tmp_path / "rows<i>.jsonl"
    path.write_text(json.dumps(row) + "\nno row\n")
    return audit(path)


def test_tables_and_page_hold_every_fault_that_was_found_and_name_those_that_were_not(found):
    *_, faults = audit_tables(found)
    page = audit_page(found)
    there = [each.fault for each in found.findings if each.rows.count]

    assert [row[0] for row in faults.text_rows()] == there
    assert ["chosen bears marks of a persona", "1.000 [.207, 1.000] 1/1", "1"] in faults.text_rows()
    assert "chosen bears marks of a persona" in page
    assert all(each.fault in faults.note for each in found.findings if not each.rows.count)
    assert "in up to .793 of such rows" in faults.note
    assert "rows&lt;i&gt;.jsonl" in page


def test_the_page_tells_a_file_by_its_name_alone(found):
    assert found.source.rpartition("/")[0] not in audit_page(found)


def test_a_clean_file_says_so(tmp_path):
    row = {"prompt": "How is tea made?", "chosen": "With leaves.", "rejected": "Ask the baker."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    clean = audit(tmp_path / "rows.jsonl")
    *_, faults = audit_tables(clean)

    assert faults.text_rows() == [["none found", "", ""]]
    assert '<span class="followed">clean: 1 preference, 0 bad rows, 0 kinds of fault</span>' in audit_page(clean)


def test_no_text_is_shown_in_full_and_none_becomes_markup(found):
    page = audit_page(found)

    assert SECRET not in page
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page
    assert not any(SECRET in cell for table in audit_tables(found) for row in table.text_rows() for cell in row)
    assert SECRET not in found.model_dump_json()


def test_the_verdict_counts_bad_rows_and_kinds_of_fault(found):
    assert verdict(found) == "not clean: 1 preference, 1 bad row, 2 kinds of fault"


def test_the_verdict_on_prompts_says_which_columns_it_is_not_about(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "Sing.", "input": "", "output": "La."}]))

    assert verdict(audit(tmp_path / "rows.json")) == "clean: 1 prompt, 0 bad rows, 0 kinds of fault; not read: output"
