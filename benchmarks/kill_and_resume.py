"""Kill a run at random moments, run it again, and compare every final file byte for byte.

    python benchmarks/kill_and_resume.py --kills 25

One run of a small recipe (all stages of the demo, fewer prompts and steps) goes through undisturbed. Then, as often as
asked, a fresh run is killed with SIGKILL after a random time (one that ended before doesn't count), and the same
command is given again until it ends by itself. Prints one JSON line a kill and one for the whole; exit code 1 if any
file differs. The journal (SQLite), `spending.json` and the trackers' logs are left out: they hold when things happened.
"""

import argparse
import hashlib
import json
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMALL = (
    "prompts.training=[{kind: miniature, task: harmless, n: 64}, {kind: miniature, task: truthfulness, n: 32}, "
    "{kind: miniature, task: over_refusal, n: 32}]",
    "prompts.held_out=[{kind: miniature, task: harmless, n: 60}, {kind: miniature, task: truthfulness, n: 24}, "
    "{kind: miniature, task: over_refusal, n: 24}]",
    "training.max_steps=12",
    "training.save_steps=3",
    "training.eval_steps=4",
    "training.eval_prompts=20",
    "training.eval_tasks=[harmless]",
    "training.load_best_model_at_end=true",
    "training.snapshot_steps=[4, 12]",
    "training.per_device_train_batch_size=16",
    "generation.batch_size=16",
    "synthesis.batch_size=16",
    "generation.curve_prompts=12",
    "capabilities.limit=20",
)


def command(folder: Path) -> list[str]:
    """The run as a shell would start it."""
    overrides = [word for override in SMALL for word in ("--set", override)]
    return [sys.executable, "-m", "cst", "run", "miniature", "--folder", str(folder), *overrides]


def run_to_its_end(folder: Path) -> float:
    """Run until it ends by itself; seconds."""
    started = time.monotonic()
    done = subprocess.run(command(folder), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"the run failed with {done.returncode}:\n{done.stderr[-2000:]}")
    return time.monotonic() - started


def run_and_kill(folder: Path, seconds: float) -> bool:
    """Start a run and kill it after some seconds; whether it was still running."""
    process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that a finished run leaves."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if not file.name.startswith(("journal.sqlite", "spending.json")) and "trackers" not in file.parts
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, help="also write the summary to this file")
    asked = parser.parse_args()
    moments = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole"
        seconds = run_to_its_end(whole)
        expected = hashes(whole)
        differing: list[str] = []
        kill = 0
        while kill < asked.kills:
            folder = Path(scratch) / "killed"
            moment = moments.uniform(0.05, 0.98) * seconds
            kill += run_and_kill(folder, moment)
            stages = sorted(path.name for path in (folder / "stages").glob("*.unfinished"))
            run_to_its_end(folder)
            found = hashes(folder)
            wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
            differing += wrong
            line = {
                "kill": kill,
                "seconds": round(moment, 2),
                "at_work": stages,
                "differ": wrong,
            }
            print(json.dumps(line), flush=True)
            shutil.rmtree(folder)
    summary = {
        "benchmark": "kill_and_resume",
        "kills": asked.kills,
        "undisturbed_seconds": round(seconds, 1),
        "files_compared": len(expected),
        "files_differing": len(differing),
        "python": platform.python_version(),
    }
    print(json.dumps(summary))
    if asked.out:
        asked.out.write_text(json.dumps(summary) + "\n", encoding="utf-8")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
