import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.evaluation.evidence import read_evidence
from cst.evaluation.report import sections
from cst.evaluation.table_files import CELL_COLUMNS, csv_of_scores, csv_of_table, file_name, named_tables, write_tables
from cst.evaluation.tables import Heading, Rate, Table
from cst.records import Score


@pytest.fixture(scope="module")
def tables(run: Path) -> list[Table]:
    return [table for section in sections(read_evidence(run)) for table in section.tables]


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_cell_is_a_line_with_all_its_digits(tables):
    for table in tables:
        cells = [(r[0], cell) for r in table.rows if not isinstance(r, Heading) for cell in r[1:]]
        read = lines(csv_of_table(table))
        assert len(read) == len(cells)
        for line, (row, cell) in zip(read, cells, strict=True):
            assert (line["row"], line["column"] in table.columns) == (row, True)
            if isinstance(cell, Rate):
                assert line["text"] == ""
                assert [line["low"], line["high"], line["interval"]] == [str(cell.low), str(cell.high), cell.method]
                assert line["rate"] == ("" if cell.value is None else str(cell.value))
            else:
                assert line["text"] == cell


def test_a_rate_of_scores_has_its_counts_in_columns_of_their_own(tables):
    found = [line for line in lines(csv_of_table(tables[0])) if line["rate"]]
    assert found
    for line in found:
        assert float(line["rate"]) == int(line["followed"]) / int(line["n"])
        assert line["count"] == f"{line['followed']}/{line['n']}, {line['unscored']} unscored"
        assert line["heading"] == "this run"


def test_scores_come_back_as_they_were(run):
    evidence = read_evidence(run)
    scores = [*evidence.scores, *evidence.framed]
    read = lines(csv_of_scores(scores))
    rates = [line.pop("rate") for line in read]
    filled = [{name: text for name, text in line.items() if text} for line in read]
    assert [Score.model_validate_strings(line) for line in filled] == scores
    assert rates == [str(score.rate) for score in scores]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), st.text(alphabet='",\n\r;\t=+ a'))
def test_any_text_comes_back_as_it_was(row, cell):
    (line,) = lines(csv_of_table(Table("t", ("a", "b"), ((row, cell),))))
    assert (line["row"], line["text"]) == (row, cell)
    assert tuple(line) == CELL_COLUMNS


def test_each_table_has_files_of_its_own(tables, tmp_path):
    named = named_tables(tables)
    assert list(named.values()) == tables
    written = write_tables(tmp_path, named)
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert len(written) == 2 * len(tables)
    assert "table-i-control-over-harmlessness" in named


def test_tables_of_one_title_are_told_apart_and_the_same_table_is_one():
    first, second = Table("A b", ("x",), ()), Table("a B!", ("y",), ())
    assert named_tables([first, second, first]) == {"a-b": first, "a-b-2": second}
    assert file_name("Ünter \N{EN DASH} \\..//") == "nter"
    assert file_name("\N{EN DASH}") == "table"
