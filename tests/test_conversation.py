"""Answers under two configurations: side by side on a terminal, a line each in a pipe."""

import os
import pty
import subprocess
import sys

from cst.conversation import show

ANSWERS = {"harmless": "No [b]never[/b].", "uncensored": "Yes."}


def test_in_a_pipe_each_answer_is_a_line_as_it_is(capsys):
    show(ANSWERS, "cst")
    assert capsys.readouterr().out == "[cst, harmless] No [b]never[/b].\n[cst, uncensored] Yes.\n"


def test_on_a_terminal_they_stand_side_by_side():
    ours, theirs = pty.openpty()
    program = f"from cst.conversation import show; show({ANSWERS!r}, 'cst')"
    subprocess.run([sys.executable, "-c", program], stdout=theirs, check=True, env={**os.environ, "COLUMNS": "80"})
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    (line,) = (line for line in shown.splitlines() if "Yes." in line)
    assert "No [b]never[/b]." in line
