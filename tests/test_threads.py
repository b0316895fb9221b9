"""How OpenMP's threads wait and how many there are, as the runtime says by itself when torch loads it."""

import os
import re
import subprocess
import sys

import pytest

HOWEVER_BEGUN = {
    "the command line": ["-c", "import cst.cli, torch"],
    "the library": ["-c", "import cst, torch"],
}


def settings(arguments: list[str], **environment: str) -> dict[str, str]:
    """What the OpenMP runtime prints of its settings, in a process of its own."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**mine, "OMP_DISPLAY_ENV": "verbose", **environment},
    )
    found = dict(re.findall(r"(\w+) ?= ?'(\w*)'", done.stderr))
    assert found, f"torch was not loaded, or its runtime did not speak: {done.stderr}"
    return found


@pytest.mark.parametrize("arguments", HOWEVER_BEGUN.values(), ids=HOWEVER_BEGUN)
def test_threads_wait_asleep(arguments):
    assert settings(arguments)["OMP_WAIT_POLICY"] == "PASSIVE"


def test_without_cst_they_would_not():
    assert settings(["-c", "import torch"])["GOMP_SPINCOUNT"] != "0"


@pytest.mark.parametrize("name, value", [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "4711")])
def test_what_the_user_has_set_holds(name, value):
    assert settings(HOWEVER_BEGUN["the library"], **{name: value})[name] == value


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process can be bound to cores on Linux only")
def test_the_number_of_threads_is_the_number_of_cores_the_process_may_use_whatever_the_load():
    one_core = sorted(os.sched_getaffinity(0))[:1]
    bound = settings(["-c", f"import os; os.sched_setaffinity(0, {one_core}); import cst, torch"])
    assert (bound["OMP_NUM_THREADS"], bound["OMP_DYNAMIC"]) == ("1", "FALSE")
    free = settings(HOWEVER_BEGUN["the library"])
    assert (free["OMP_NUM_THREADS"], free["OMP_DYNAMIC"]) == (str(len(os.sched_getaffinity(0))), "FALSE")
