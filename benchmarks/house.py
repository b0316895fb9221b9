"""The shape of the package: its size, what imports what, and how much of it the smallest whole run goes through.

    python benchmarks/house.py [--no-run]

Prints three JSON lines. `size` counts files, lines, comments (without `noqa` and the like) and words. `imports` reads
every import statement with `ast`, also inside functions; a circle is a set of modules that import one another, with or
without the imports under `if TYPE_CHECKING`. `run` follows all seven verbs on the miniature (three prompts a task, one
step) with `sys.setprofile`. A file is executed if a function of it ran; class and module bodies don't count. A crossing
is a call of a function by a function of another file, with no Python code of a library in between. Generators that
resume don't count, nor do calls from or to an annex: they would be nine tenths of all. Commands may import an annex,
the core may not.
"""

import ast
import contextlib
import inspect
import json
import opcode
import runpy
import sys
import tempfile
import threading
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "cst"
ANNEXES = ("cst.annexes", "cst.miniature", "cst.evals")
DOORS = ("cst.cli", "cst.commands", "cst.doors")
GENERATOR = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
SMALLEST = (
    "prompts.training=[{kind: miniature, task: harmless, n: 3}, {kind: miniature, task: truthfulness, n: 3}, "
    "{kind: miniature, task: over_refusal, n: 3}]",
    "prompts.held_out=[{kind: miniature, task: harmless, n: 2}, {kind: miniature, task: truthfulness, n: 2}, "
    "{kind: miniature, task: over_refusal, n: 2}]",
    "training={max_steps: 1, save_steps: 1, snapshot_steps: [1], per_device_train_batch_size: 4}",
    "generation={max_new_tokens: 28, curve_prompts: 1, arms: [{wordings: canonical}]}",
    *("synthesis.sampling.max_new_tokens=28", "capabilities.limit=2"),
)


def size() -> dict[str, int]:
    """Files, lines, comments and words."""
    texts = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    tokens = (
        token for text in texts.values() for token in tokenize.generate_tokens(iter(text.splitlines(True)).__next__)
    )
    pages = {path: len(path.read_text().split()) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))}
    marks = ("# noqa", "# type:", "# pyright:")
    return {
        "source_files": len(texts),
        "source_lines": sum(len(text.splitlines()) for text in texts.values()),
        "top_entries": sum(entry.name != "__pycache__" for entry in PACKAGE.iterdir()),
        "most_files_in_a_folder": max(Counter(path.parent for path in texts).values()),
        "comments": sum(token.type == tokenize.COMMENT and not token.string.startswith(marks) for token in tokens),
        "docs_words": sum(words for path, words in pages.items() if path.parent.name == "docs"),
        "docs_and_root_pages_words": sum(pages.values()),
    }


def imported(tree: ast.AST, names: set[str], *, types: bool) -> Iterator[str]:
    """The modules of the package that a module names in its imports."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in names else node.module for name in inner)
        yield from imported(node, names, types=types)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that reach one another."""
    reached = {name: set(others) for name, others in graph.items()}
    for middle in graph:  # Warshall's transitive closure
        for name in graph:
            if middle in reached[name]:
                reached[name] |= reached[middle]
    return sorted({tuple(sorted(b for b in reached[a] if a in reached[b])) for a in graph if a in reached[a]})


def imports() -> dict[str, object]:
    """Circles, and imports of an annex by the core."""
    trees = {path.relative_to(PACKAGE.parent): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    named = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): tree for path, tree in trees.items()}
    run_time, all_of_them = (
        {a: set(imported(tree, {*named}, types=t)) - {a} for a, tree in named.items()} for t in (0, 1)
    )
    inside = {name for name in named if any(f"{name}.".startswith(f"{annex}.") for annex in ANNEXES)}
    core = [name for name in sorted(named) if name not in inside and not name.startswith(DOORS)]
    inward = [f"{a} -> {b}" for a in core for b in sorted(run_time[a] & inside)]
    return {"circles": circles(run_time), "circles_with_types": circles(all_of_them), "core_to_annex": inward}


def run() -> dict[str, int]:
    """The smallest whole run, followed call by call."""
    executed: set[str] = set()
    crossings: Counter[tuple[str, str]] = Counter()

    def is_ours(code: CodeType) -> bool:  # a function of the package, and not a body of a class or a template of Jinja
        return code.co_filename.startswith(f"{PACKAGE}/") and code.co_filename.endswith(".py") and code.co_flags & 1 > 0

    def follow(frame: FrameType, event: str, _: object) -> None:
        code, at = frame.f_code, frame.f_lasti
        if event != "call" or not is_ours(code):
            return
        executed.add(code.co_filename)
        # RESUME has 0 as its argument where a function begins, and something else after a `yield`
        begins = not code.co_flags & GENERATOR or (opcode.opname[code.co_code[at]], code.co_code[at + 1]) == (
            "RESUME",
            0,
        )
        if begins and frame.f_back and is_ours(frame.f_back.f_code):
            crossings[frame.f_back.f_code.co_filename, code.co_filename] += 1

    words = [word for override in SMALLEST for word in ("--set", override)]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        sys.argv = ["cst", "run", "miniature", "--folder", f"{folder}/run", *words]
        threading.setprofile(follow)
        sys.setprofile(follow)
        with contextlib.suppress(SystemExit):
            runpy.run_module("cst", run_name="__main__")
        sys.setprofile(None)
        if not Path(folder, "run", "report.md").exists():
            sys.exit("the run did not end in a report")
    core = {
        path
        for path in executed
        if f"cst.{Path(path).relative_to(PACKAGE).parts[0]}".removesuffix(".py") not in ANNEXES
    }
    kept = {pair: calls for pair, calls in crossings.items() if pair[0] != pair[1] and core.issuperset(pair)}
    return {"files_executed": len(executed), "crossings": sum(kept.values()), "pairs_of_files": len(kept)}


if __name__ == "__main__":
    for part in (size, imports) if "--no-run" in sys.argv else (size, imports, run):
        print(json.dumps({"benchmark": "house", "part": part.__name__, **part()}), flush=True)
