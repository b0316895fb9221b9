"""Lets the tests of this folder import what they share, and makes one small run folder for them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """A finished run folder, reports included; not to be written to."""
    from run_for_evaluation import write_run

    from cst.reporting.report import render_report

    folder = write_run(tmp_path_factory.mktemp("run"))
    render_report(folder)
    return folder
