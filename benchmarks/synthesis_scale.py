"""The way from a file of prompts to exported preferences, by a model that costs nothing: seconds, memory and disk.

    python benchmarks/synthesis_scale.py --prompts 20000 100000
    python benchmarks/synthesis_scale.py --prompts 110000 --kill-after 300000

Each size is a process of its own, and each stage what `cst` itself does: plan (`cst synthesize --dry-run`), prompts,
gates (alone, and once more within the next), synthesize (one call a request, 64 in flight, each in the journal before
and after it is answered), condition, `cst export` to JSONL, a JSON list and parquet, and opening the journal again.
Prompts have 8 to 30 words of a made-up language, every fiftieth is nearly the one before; answers are short, about 25
tokens, so that it is the client's own work that is measured.

With `--kill-after`, synthesis alone is killed once the model has answered so many calls, and then given again.

Prints a line of JSON a size; stages are told on standard error as they end. `grown_mib` is the peak of a stage beyond
what the process held before the first one: imports on first use are counted, files in the system's cache are not
(VmHWM and VmRSS of /proc, so on Linux alone). `cpu_seconds` hang less than `seconds` on what else the machine does.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cst.chat.base import ChatReply, ChatRequest, Pace
from cst.chat.journal import Journal
from cst.commands.rows import export
from cst.commands.synthesis import plan_synthesis
from cst.doors import open_workshop
from cst.miniature import WORLD
from cst.recipe import Recipe
from cst.recipe.reading import parse_recipe
from cst.records import Prompt, Sampling
from cst.runs.folder import RunFolder
from cst.runs.own import OwnParts
from cst.runs.pipeline import steps
from cst.runs.workshop import JOURNAL, Workshop
from cst.store import RecordFile, read_json, read_records, write_records
from cst.synthesis.gates import faults_of_set
from provenance import provenance

RECIPE = """
name: scale
model: {path: miniature}
chat_models: {parrot: {kind: endpoint, base_urls: ["http://127.0.0.1:9/v1"], model: parrot}}
prompts:
  training: [{kind: file, path: training.jsonl}]
  held_out: [{kind: file, path: held_out.jsonl}]
configurations:
  - {name: plain, prefers: original, tasks: [harmless], wordings: ["Answer as you are asked."]}
  - {name: careful, prefers: revised, tasks: [harmless], wordings: ["Answer with care.", "Take care in what you say."]}
models: {cst: []}
synthesis:
  sampling: {temperature: 0.8, max_new_tokens: 40}
  methods:
    - kind: self_critique
      tasks: [harmless]
      author: parrot
      critique_request: What could be better in your answer?
      revision_request: Write the better answer.
"""
ANSWERS = {
    "original": "First gather dry wood, then whittle it with a short knife, and at last sand all edges of it.",
    "critique": "It names no kind of wood, and a child would not know how to hold the knife.",
    "revised": "Ask somebody who knows knives to sit beside you. Take a piece of lime wood and cut away from you.",
}
HELD_OUT = 500
IN_FLIGHT = 64
NEARLY_TWICE = 50
"""One prompt of so many is nearly the one before it."""


class Parrot:
    """A chat model that gives every request an answer of its own, and may kill its process after so many."""

    name = fingerprint = "parrot"

    def __init__(self, kill_after: int = 0) -> None:
        self.pace = Pace(IN_FLIGHT)
        self.asked = 0
        self.first_asked = 0.0
        self._kill_after = kill_after

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Each request a call of its own, as behind an endpoint."""
        return [[index] for index in range(len(requests))]

    def answer(self, unit: Sequence[ChatRequest], _: Sampling) -> list[ChatReply]:
        """The words of a step, and the request's id."""
        self.first_asked = self.first_asked or time.monotonic()
        self.asked += 1
        if self.asked == self._kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        text = f"{ANSWERS[unit[0].id.split('/')[0]]} ({unit[0].id})"
        return [ChatReply(text=text, finish_reason="stop", prompt_tokens=50, completion_tokens=25)]


def prompts(n: int, seed: int) -> Iterator[Prompt]:
    """So many prompts."""
    text = ""
    for number in range(n):
        text = (
            f"{text} please"
            if number % NEARLY_TWICE == 1
            else f"How do I {sentence(random.Random(f'{seed}/{number}'))}?"
        )
        yield Prompt(id=f"p{seed}-{number:08d}", text=text, task="harmless")


def sentence(draw: random.Random) -> str:
    """8 to 30 words of a vocabulary of 20,000 in which few are frequent, as in any language."""
    return " ".join(f"w{int(20_000 ** draw.random())}" for _ in range(draw.randint(8, 30)))


def write_prompts(folder: Path, n: int) -> None:
    """The files that the recipe names."""
    write_records(folder / "training.jsonl", prompts(n, 0))
    write_records(folder / "held_out.jsonl", prompts(HELD_OUT, 1))


def recipe_in(folder: Path) -> Recipe:
    """The recipe, with the files of a folder."""
    return parse_recipe(RECIPE, where="scale.yaml", folder=folder)


def stages(recipe: Recipe, folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is measured, by name and in order."""
    workshop = Workshop(recipe, folder, own=OwnParts(WORLD, chats={"parrot": Parrot()}))
    rows = str(folder / "preferences" / "cst.jsonl")

    def gates() -> None:
        assert recipe.synthesis is not None
        with RecordFile(folder / "prompts.jsonl", Prompt) as training:
            faults_of_set(training, read_records(folder / "held_out_prompts.jsonl", Prompt), recipe.synthesis.gates)

    yield "plan", lambda: plan_synthesis(open_workshop(recipe, folder / "planned"))
    for step in steps(workshop, "condition"):
        if step.stage.name == "synthesize":
            yield "gates", gates
        yield step.stage.name, lambda stage=step.stage: RunFolder(folder).perform(stage)
    workshop.close()
    for suffix in ("jsonl", "json", "parquet"):
        out = folder / f"exported.{suffix}"
        yield f"export {suffix}", lambda out=out: export(rows, out, format="paper")
    yield "open journal", lambda: Journal(folder / JOURNAL).close()


def measure(n: int, folder: Path) -> dict[str, object]:
    """One size, in this process."""
    write_prompts(folder, n)
    recipe, run = recipe_in(folder), folder / "run"
    before, found = held_kib("VmRSS"), dict[str, dict[str, float]]()
    for name, work in stages(recipe, run):
        forget_peak()
        begun, busy = time.monotonic(), time.process_time()
        work()
        found[name] = {
            "seconds": round(time.monotonic() - begun, 2),
            "cpu_seconds": round(time.process_time() - busy, 2),
            "grown_mib": round((held_kib("VmHWM") - before) / 1024, 1),
        }
        print(f"{n} prompts, {name}: {found[name]}", file=sys.stderr, flush=True)
    (summary,) = read_json(run / "synthesis.json")
    files = [file for file in sorted(run.rglob("*")) if file.is_file()]
    return {
        "prompts": n,
        "pairs": summary["pairs"],
        "drops": summary["drops"],
        "calls": read_json(run / "spending.json")["calls"],
        "seconds": round(sum(each["seconds"] for each in found.values()), 1),
        "cpu_seconds": round(sum(each["cpu_seconds"] for each in found.values()), 1),
        "grown_mib": max(each["grown_mib"] for each in found.values()),
        "stages": found,
        "bytes": {file.name: file.stat().st_size for file in files if file.stat().st_size > 2**16},
    }


def held_kib(what: str) -> int:
    """Memory of this process as the system counts it: VmRSS now, VmHWM at its peak."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1])


def forget_peak() -> None:
    """Let the peak be counted anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def synthesize(folder: Path, parrot: Parrot) -> None:
    """Prompts and pairs, as `cst synthesize` makes them."""
    workshop = Workshop(recipe_in(folder), folder / "run", own=OwnParts(WORLD, chats={"parrot": parrot}))
    for step in steps(workshop, "synthesize"):
        RunFolder(workshop.folder).perform(step.stage)
    workshop.close()


KILLED = """
import sys
from pathlib import Path
sys.path.append(sys.argv[1])
from synthesis_scale import Parrot, synthesize
synthesize(Path(sys.argv[2]), Parrot(kill_after=int(sys.argv[3])))
"""


def resume(n: int, kill_after: int, folder: Path) -> dict[str, object]:
    """What is answered again, and how long it takes to come back to where a killed run was."""
    write_prompts(folder, n)
    words = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(folder), str(kill_after)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    started, parrot = time.monotonic(), Parrot()
    Journal(folder / "run" / JOURNAL).close()
    opened = time.monotonic()
    synthesize(folder, parrot)
    back = parrot.first_asked - opened
    spent = read_json(folder / "run" / "spending.json")
    kept = spent["answered"] - parrot.asked
    return {
        "prompts": n,
        "killed_after_calls": kill_after,
        "answers_kept": kept,
        "asked_twice": spent["calls"] - spent["answered"],
        "open_seconds": round(opened - started, 2),
        "seconds_until_the_first_new_call": round(back, 2),
        "kept_answers_a_second": round(kept / back),
        "seconds": round(time.monotonic() - opened, 1),
    }


def main() -> None:
    """Measure the sizes asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, nargs="+", default=[20_000])
    parser.add_argument("--kill-after", type=int, default=0, help="calls; 0 measures the whole way instead")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    asked = parser.parse_args()
    for n in asked.prompts:
        if not asked.here:
            more = ["--prompts", str(n), "--kill-after", str(asked.kill_after)]
            subprocess.run([sys.executable, __file__, "--here", *more], check=True)
            continue
        with tempfile.TemporaryDirectory() as scratch:
            found = resume(n, asked.kill_after, Path(scratch)) if asked.kill_after else measure(n, Path(scratch))
        print(json.dumps({"benchmark": "synthesis_scale", **found, **provenance("cpu", 1)}), flush=True)


if __name__ == "__main__":
    main()
