"""Progress passes items through untouched, in plain lines or as a bar on a terminal."""

import os
import re
import subprocess
import sys

import pytest

from cst.progress import track

DRAW_A_BAR = (
    "from cst.progress import track; print(list(track('abc', description='work', done=2, note=lambda: '1 [red]')))"
)
DRAW_BARS = (
    "from cst.progress import track\nfor _ in track('ab', description='work'): list(track('cd', description='within'))"
)


def test_items_come_through_in_order_and_the_end_is_told(capsys):
    assert list(track([3, 1, 2], description="work")) == [3, 1, 2]
    assert capsys.readouterr().err == "work: 3/3 in 0 s\n"


def test_what_was_done_before_is_counted(capsys):
    list(track("ab", description="work", done=5))

    assert "work: 7/7 in" in capsys.readouterr().err


def test_a_batch_counts_for_its_rows(capsys):
    list(track([[1, 2, 3], [4]], description="work", weight=len))

    assert capsys.readouterr().err == "work: 4/4 in 0 s\n"


def test_what_there_is_to_note_stands_beside_the_count(capsys):
    notes = iter(["", "1 retried", "2 retried"])
    list(track("ab", description="work", note=lambda: next(notes)))
    list(track("ab", description="work", note=lambda: next(notes)))

    assert capsys.readouterr().err == "work: 2/2 in 0 s\nwork: 2/2 in 0 s, 1 retried\n"


def test_a_sign_of_life_counts_for_nothing(capsys):
    assert list(track([0, 1, 0, 2], description="work", total=3, weight=int)) == [0, 1, 0, 2]

    assert capsys.readouterr().err == "work: 3/3 in 0 s\n"


def test_an_iterator_of_unknown_length_shows_no_total(capsys):
    list(track(iter("ab"), description="work"))

    assert "work: 2 in" in capsys.readouterr().err


def test_standard_output_stays_free(capsys):
    list(track("ab", description="work"))

    assert capsys.readouterr().out == ""


def test_an_item_counts_as_done_only_after_the_work_on_it(capsys):
    with pytest.raises(ZeroDivisionError):
        for item in track([0], description="work"):
            1 / item

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_of_many_processes_the_first_one_tells(rank, lines):
    done = subprocess.run(
        [sys.executable, "-c", DRAW_A_BAR], env=os.environ | {"RANK": rank}, capture_output=True, text=True, check=True
    )

    assert done.stdout == "['a', 'b', 'c']\n"
    assert len(done.stderr.splitlines()) == lines


def drawn_by(statement):
    """What a terminal is sent, and what standard output gets."""
    reader, writer = os.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", statement], stdout=subprocess.PIPE, stderr=writer, env=environment, check=True
    )
    drawn = os.read(reader, 100_000).decode()
    os.close(writer)
    os.close(reader)
    return drawn, done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_terminal_gets_a_bar():
    drawn, output = drawn_by(DRAW_A_BAR)

    assert output.split() == [b"['a',", b"'b',", b"'c']"]
    assert "work" in drawn
    assert "5/5" in drawn
    assert "1 [red]" in drawn


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_work_within_work_gets_its_bar_below():
    drawn, _ = drawn_by(DRAW_BARS)

    assert re.search(r"work [^\n]*0/2[^\n]*\n[^\n]*within", drawn)
    assert re.search(r"work [^\n]*1/2[^\n]*\n[^\n]*within", drawn)
