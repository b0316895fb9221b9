"""Flip single bytes of all that cst writes down and reads again, each followed by what would use it.

    python benchmarks/damage.py [--flips 2000] [--rows 1000000]

A fifth of the flips go into each place: the journal's database and the log of a process that was killed, followed by
their opening; every file of the folder of a small run, followed by `cst run`; the same run's preferences, followed by
their being read by themselves, as `cst export` and `cst audit` do; and the files and checksums of `cst export` in every
format, followed by their being read. A file is drawn first, and then a byte of it. A flip is `refused` if it raises
before anything else is written, `harmless` if all that is read or made is as before (the byte was one that nobody
reads, or the file was made again), and else `missed`. Two places are controls, in which flips are missed: the same
exports without their checksums, and the journal's log, of which SQLite drops all from the damaged place on.
Also times the opening of a large journal. Prints one JSON line; exit code 1 if any other flip was missed.
"""

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cst.chat.journal import Call, Journal
from cst.commands.console import read_recipe
from cst.doors import run
from cst.errors import CstError, DataError
from cst.preferences.exports import export_preferences, export_prompts
from cst.preferences.formats.preference_formats import PREFERENCE_FORMATS
from cst.preferences.formats.prompt_formats import PROMPT_FORMATS
from cst.preferences.sources import read_preferences, read_prompts
from cst.recipe import Recipe
from cst.records import Preference, Prompt
from cst.runs.pipeline import Verb
from cst.store import fingerprint, read_json, read_records
from provenance import provenance

CALLS = 300
"""Calls in the journal whose bytes are flipped."""

SMALL = (
    "prompts.training=[{kind: miniature, task: harmless, n: 16}]",
    "prompts.held_out=[{kind: miniature, task: harmless, n: 4}]",
    *("training.max_steps=2", "training.snapshot_steps=[1]", "training.per_device_train_batch_size=4"),
    *("generation.curve_prompts=2", "capabilities.per_set=2"),
)
"""The miniature's recipe, cut down to seconds."""

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet")

LOG, CONTROL = "journal's log", "exports without checksums"
"""Places where damage may be missed."""

TEXT = "Knead the dough for ten minutes, let it rest, and bake it until it sounds hollow. " * 8

FILL_AND_DIE = """
import os, signal, sys
from pathlib import Path
sys.path.append(sys.argv[3])
from damage import fill
from cst.chat.journal import Journal
journal = Journal(Path(sys.argv[1]))
fill(journal, int(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(frozen=True)
class Place:
    """Files of a folder, and what uses one of them: it gives all that comes of that, or raises a CstError."""

    folder: Path
    files: Sequence[Path]
    use: Callable[[Path], object]


def flips(place: Place, n: int, seed: int) -> Iterator[str]:
    """What came of each flip; the folder is put back after each."""
    draw, whole = random.Random(seed), contents(place.folder)
    expected = {}
    for file in place.files:
        expected[file] = place.use(file)
        restore(place.folder, whole)
    for _ in range(n):
        file = draw.choice(place.files)
        data = bytearray(whole[file])
        data[draw.randrange(len(data))] ^= draw.randrange(1, 256)
        file.write_bytes(data)
        try:
            yield "harmless" if place.use(file) == expected[file] else "missed"
        except CstError:
            yield "refused"
        restore(place.folder, whole)


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder."""
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def restore(folder: Path, whole: dict[Path, bytes]) -> None:
    """Bring a folder back to what it was."""
    now = contents(folder)
    for file in now.keys() - whole.keys():
        file.unlink()
    for file, data in whole.items():
        if now.get(file) != data:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


def fill(journal: Journal, n: int) -> None:
    """Calls, of which every fifth failed."""

    def one(number: int) -> None:
        call = Call(key=fingerprint(number), what=f"r{number}", model="m", cost=10)
        row = journal.begin(call)
        if number % 5:
            journal.end(row, call.model_copy(update={"outcome": "answered"}), [{"text": f"{TEXT}{number}"}])
        else:
            journal.end(row, call.model_copy(update={"outcome": "server_error", "status": 500}))

    with ThreadPoolExecutor(256) as pool:
        for start in range(0, n, 10_000):
            list(pool.map(one, range(start, min(start + 10_000, n))))


def of_journal(folder: Path) -> dict[str, Place]:
    """A journal at rest, and the log that a killed process left beside one."""
    database, killed = folder / "database" / "journal.sqlite", folder / "log" / "journal.sqlite"
    for path in (database, killed):
        path.parent.mkdir(parents=True)
    words = [sys.executable, "-c", FILL_AND_DIE, str(killed), str(CALLS), str(Path(__file__).parent)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    with Journal(database) as made:
        fill(made, CALLS)
    log = Path(f"{killed}-wal")

    def content(path: Path) -> object:
        with Journal(path) as opened:
            return opened.calls(), [opened.get(fingerprint(number)) for number in range(CALLS)]

    return {
        "journal's database": Place(database.parent, [database], content),
        LOG: Place(killed.parent, [log], lambda _: content(killed)),
    }


def of_run(recipe: Recipe, home: Path, *, until: Verb = "report") -> Place:
    """Every file of a run's folder that isn't empty, but for the journal; it is brought up to date after each flip."""
    run(recipe, home, until=until)
    files = [file for file, data in contents(home).items() if data and not file.name.startswith("journal.sqlite")]

    def bring(_: Path) -> object:
        before = contents(home)
        try:
            run(recipe, home, until=until)
        except CstError:
            if contents(home) == before:
                raise
            return None  # it was used before it was refused
        # a marker is compared by what it says: between its words, one blank is as good as another
        return {file: read_json(file) if file.parent.name == "stages" else file.read_bytes() for file in files}

    return Place(home, files, bring)


def of_one_file(home: Path) -> Place:
    """A run's preferences and the marker of their stage, when they are read by themselves."""
    rows = home / "preferences" / "cst.jsonl"
    return Place(home, [rows, home / "stages" / "condition-cst.json"], lambda _: read_preferences(rows))


def exported(folder: Path, preferences: Sequence[Preference], prompts: Sequence[Prompt]) -> Place:
    """Rows in every format, under every suffix that can hold them, each with its checksum."""
    for suffix in SUFFIXES:
        for kind in PREFERENCE_FORMATS:
            _export(export_preferences, folder / f"preferences-{kind.name}{suffix}", preferences, kind.name)
        for kind in PROMPT_FORMATS:
            _export(export_prompts, folder / f"prompts-{kind.name}{suffix}", prompts, kind.name)

    def read(file: Path) -> object:
        rows = file.with_suffix("") if file.suffix == ".sha256" else file
        return read_preferences(rows) if file.name.startswith("preferences") else read_prompts(rows)

    def is_read(file: Path) -> bool:
        try:
            return bool(read(file))
        except DataError:  # columns that several formats have must be read by name
            return False

    return Place(folder, [file for file in contents(folder) if is_read(file)], read)


def _export(write: Callable[..., int], path: Path, rows: Sequence[object], format: str) -> None:
    try:
        write(path, rows, format=format)
    except DataError:  # the format can't hold such rows, or not in the cells of a table
        path.unlink(missing_ok=True)


def without_checksums(folder: Path, place: Place) -> Place:
    """The same files in a folder where there is no checksum."""
    folder.mkdir()
    files = [file for file in place.files if file.suffix != ".sha256"]
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    return Place(folder, [folder / file.name for file in files], place.use)


def places(scratch: Path) -> dict[str, Place]:
    """All places where a byte can be flipped, by name."""
    home = scratch / "run"
    whole = of_run(read_recipe(Path("miniature"), SMALL), home)
    preferences = read_records(home / "preferences" / "cst.jsonl", Preference)
    checked = exported(scratch / "exports", preferences, read_records(home / "prompts.jsonl", Prompt))
    return {
        **of_journal(scratch / "journals"),
        "run folder": whole,
        "one file of a run": of_one_file(home),
        "exports": checked,
        CONTROL: without_checksums(scratch / "unchecked", checked),
    }


def large(folder: Path, rows: int) -> dict[str, float]:
    """How long it takes to write and to open a journal of so many rows, and how large it is."""
    path = folder / "large.sqlite"
    started = time.perf_counter()
    with Journal(path) as journal:
        fill(journal, rows)
    written = time.perf_counter()
    Journal(path).close()
    opened = time.perf_counter()
    return {
        "rows": rows,
        "write_seconds": round(written - started, 1),
        "open_seconds": round(opened - written, 1),
        "file_mb": round(path.stat().st_size / 1e6),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        tried = places(Path(scratch))
        each = asked.flips // (len(tried) - 1)
        found = {name: Counter(flips(place, each, asked.seed)) for name, place in tried.items()}
        opening = large(Path(scratch), asked.rows) if asked.rows else {}
    results = ("refused", "harmless", "missed")
    counts = {
        name: {"files": len(tried[name].files), **{what: count[what] for what in results}}
        for name, count in found.items()
    }
    print(json.dumps({"benchmark": "damage", "flips": counts, "large": opening, **provenance("cpu", 1)}))
    return 1 if any(count["missed"] for name, count in counts.items() if name not in (LOG, CONTROL)) else 0


if __name__ == "__main__":
    sys.exit(main())
