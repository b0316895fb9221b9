"""How long `import cst` and `cst --help` take, beside an empty Python, and whether they load torch.

    python benchmarks/start_up.py [--times 9]

Prints one line of JSON with medians in seconds; exits with 1 if one is over 0.35 s or torch was loaded.
"""

import argparse
import json
import subprocess
import sys
import time
from statistics import median

LIMIT_SECONDS = 0.35
HELP = "import sys; sys.argv = ['cst', '--help']\ntry:\n    from cst.cli import main; main()\nexcept SystemExit: pass\n"
PROGRAMS = {"empty": "pass", "import_cst": "import cst", "cst_help": HELP}
TELL = "\nimport sys; print('torch' in sys.modules)"


def seconds(program: str, times: int) -> float:
    """The median wall time of a fresh Python that runs the program."""
    taken: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return median(taken)


def loads_torch(program: str) -> bool:
    """Whether torch is in memory after the program."""
    done = subprocess.run([sys.executable, "-c", program + TELL], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1] == "True"


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=9)
    times = parser.parse_args().times
    medians = {name: round(seconds(program, times), 3) for name, program in PROGRAMS.items()}
    torch_loaded = any(loads_torch(program) for program in PROGRAMS.values())
    print(json.dumps({"benchmark": "start_up", "seconds": medians, "torch_loaded": torch_loaded, "times": times}))
    return 1 if torch_loaded or max(medians.values()) > LIMIT_SECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
