"""Who may import whom, and who may touch the world: DESIGN's rules, read from the source with `ast`.

hall <- schema <- tools <- rooms <- run <- annexes <- doors, never upwards; rooms never import one another, but for
the few that may meet; no modules import one another in a circle. Each rule is also tried on a made-up
breach, so that a rule that can't fail is noticed.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from cst.recipe import Recipe
from cst.recipe.reading import record_types
from cst.recipe.training import TrainingSettings

SOURCE = Path(__file__).parents[1] / "src"

HALL = {"errors", "integrity", "intervals", "near_duplicates", "progress", "records", "store", "texts"}
SCHEMA = {"recipe"}
TOOLS = {"chat", "models"}
ROOMS = {"synthesis", "preferences", "training", "judges", "evaluation", "reporting"}
RUN = {"runs"}
MAY_MEET = {("reporting", "evaluation"), ("evaluation", "judges"), ("synthesis", "judges")}
"""A report reads the records of evaluation; evaluation and synthesis take a judge through its protocol."""
ANNEXES = {"annexes", "evals", "miniature"}
"""Above the core: what the core is without them is the method, and it never imports one."""
LEVELS = ("hall", "schema", "tools", "rooms", "run", "annexes", "doors")
MOST_FILES, MOST_ENTRIES = 15, 26
"""Source files in one folder, and entries at the top of the package."""

HEAVY = {"torch", "transformers", "peft", "accelerate", "datasets", "scipy", "matplotlib", "tokenizers", "openai"} | {
    "safetensors",
    "lm_eval",
}
"""What `import cst` and `cst --help` never load: it would cost seconds."""

FILES = {
    "cst.store": "the hall's files",
    "cst.chat.journal": "its SQLite file",
    "cst.runs.folder": "its lock and the clearing of a stage's folders",
    "cst.preferences.files": "a user's own file, read line by line",
    "cst.preferences.rows": "writes bad rows aside as they come",
    "cst.models.tensors": "weights",
    "cst.models.loading": "weights",
    "cst.models.folders": "looks at a model's files before they are loaded",
    "cst.training.folder": "clears checkpoints that are no longer needed",
}
"""The modules that touch files by themselves, and why; all others go through them."""

FILE_CALLS = {
    *("open", "fdopen", "read_bytes", "write_bytes", "write_text", "mkdir", "makedirs", "touch", "unlink", "rmdir"),
    *("rmtree", "copyfile", "copytree", "move", "rename", "safe_open", "save_file", "load_file", "connect"),
}
NETWORK = {
    "socket",
    "http",
    "urllib",
    "requests",
    "httpx",
    "httpx2",
    "aiohttp",
    "openai",
    "huggingface_hub",
    "uvicorn",
    "fastapi",
}
NETWORKED = ("cst.chat.endpoint", "cst.serving", "cst.models.folders", "cst.annexes.cards")
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name."""
    found: dict[str, ast.Module] = {}
    for path in sorted((SOURCE / "cst").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(encoding="utf-8"))
    return found


TREES = modules()


def imports(tree: ast.AST, known: Mapping[str, object], *, lazy: bool = True) -> set[str]:
    """The modules that a module imports, also within functions where `lazy`; a name of a package is its submodule."""
    found: set[str] = set()
    for node in ast.walk(tree) if lazy else _executed_at_import(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            home = node.module or ""
            for alias in node.names:
                submodule = f"{home}.{alias.name}"
                found.add(submodule if submodule in known else home)
    return found


def _executed_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: no function bodies, nothing under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _executed_at_import(node)


def place(module: str) -> tuple[str, str]:
    """The level of a module, and its room or file: `cst.training.loop` is in (`rooms`, `training`)."""
    _, _, rest = module.partition(".")
    top = rest.split(".")[0]
    for level, members in zip(LEVELS, (HALL, SCHEMA, TOOLS, ROOMS, RUN, ANNEXES), strict=False):
        if top in members:
            return level, top
    return "doors", top


def breach(importer: str, imported: str) -> str | None:
    """Why an import is against the rules, or None."""
    if imported == "cst" and importer != "cst":
        return "goes through the front door"
    (level, room), (other_level, other_room) = place(importer), place(imported)
    if other_level == "annexes" and LEVELS.index(level) < LEVELS.index("annexes"):
        return "is of the core, and imports an annex"
    if LEVELS.index(other_level) > LEVELS.index(level):
        return f"imports upwards, from {level} to {other_level}"
    if level == other_level == "rooms" and room != other_room and (room, other_room) not in MAY_MEET:
        return f"imports the room {other_room}"
    if room == "training" and other_room == "chat":
        return "is training, and sees chat"
    return None


def breaches(trees: Mapping[str, ast.Module]) -> list[str]:
    return [
        f"{importer} {why}: {imported}"
        for importer, tree in trees.items()
        for imported in sorted(imports(tree, trees))
        if imported.split(".")[0] == "cst" and (why := breach(importer, imported))
    ]


def circles(trees: Mapping[str, ast.Module]) -> list[set[str]]:
    """Modules that import one another, also lazily or for types alone; `__init__` files count as their package."""
    above = {
        module: {
            found
            for found in imports(tree, trees)
            if found in trees and found != module and not module.startswith(f"{found}.")
        }
        for module, tree in trees.items()
    }

    def all_above(module: str) -> set[str]:
        seen: set[str] = set()
        todo = list(above[module])
        while todo:
            if (each := todo.pop()) not in seen:
                seen.add(each)
                todo.extend(above[each])
        return seen

    reach = {module: all_above(module) for module in trees}
    found = [{a, *(b for b in reach[a] if a in reach[b])} for a in trees if a in reach[a]]
    return [group for number, group in enumerate(found) if group not in found[:number]]


def reached(start: str, trees: Mapping[str, ast.Module]) -> set[str]:
    """All that is imported, also lazily and through others; of packages' `__init__`, what runs at import."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        parents = [module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)]
        todo.extend(parent for parent in parents if parent in trees)
        if module in trees:
            is_package = any(other.startswith(f"{module}.") for other in trees)
            todo.extend(imports(trees[module], trees, lazy=not is_package))
    return seen


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Each call with the last name of what is called: `torch.load(x)` is `load`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            yield node, function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def file_calls(tree: ast.Module) -> list[str]:
    """Calls that touch files; the store's own functions of the same names, imported by name, are not meant."""
    of_the_store = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cst.")
        for alias in node.names
    }
    return [
        f"line {call.lineno}: {ast.unparse(call.func)}"
        for call, name in calls(tree)
        if (name in FILE_CALLS and not (isinstance(call.func, ast.Name) and name in of_the_store))
        or (name == "read_text" and isinstance(call.func, ast.Attribute))
    ]


def untrusting(tree: ast.Module) -> list[str]:
    """Ways to run code that came with data."""
    found = [f"imports {name}" for name in imports(tree, {}) if name.split(".")[0] in PICKLES]
    for call, name in calls(tree):
        called = ast.unparse(call.func)
        if called in ("torch.load", "torch.save", "eval", "exec") or name == "read_pickle":
            found.append(f"line {call.lineno}: {called}")
        for keyword in call.keywords:
            trusts = keyword.arg == "trust_remote_code" and ast.unparse(keyword.value) != "False"
            if trusts or (keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"):
                found.append(f"line {call.lineno}: {called}({keyword.arg}={ast.unparse(keyword.value)})")
    return found


def shared_generators(tree: ast.Module) -> list[str]:
    """Draws from generators that all code of the process shares."""
    own = {"Random", "SystemRandom", "default_rng", "Generator"}
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) in ("random", "np.random", "numpy.random")
        and node.attr not in own
    ]


def test_the_source_was_found():
    assert {"cst", "cst.store", "cst.chat.base", "cst.preferences.conditioning"} <= TREES.keys()


def test_no_module_imports_upwards_or_from_another_room():
    assert breaches(TREES) == []


@pytest.mark.parametrize(
    ("importer", "source", "why"),
    [
        ("cst.store", "from cst.chat.base import ChatModel", "imports upwards, from hall to tools"),
        ("cst.chat.local", "def f():\n    import cst.training.loss", "imports upwards, from tools to rooms"),
        ("cst.training.loss", "from cst import pipeline", "imports upwards, from rooms to doors"),
        ("cst.training.loss", "from cst.evaluation import scores", "imports the room evaluation"),
        ("cst.training.loss", "from cst.chat import base", "is training, and sees chat"),
        ("cst.runs.pipeline", "from cst import train", "goes through the front door"),
        ("cst.runs.pipeline", "def f():\n    import cst.annexes.cards", "is of the core, and imports an annex"),
        ("cst.runs.workshop", "def f():\n    from cst.miniature import WORLD", "is of the core, and imports an annex"),
        ("cst.annexes.paper", "from cst.commands.console import tell", "imports upwards, from annexes to doors"),
    ],
)
def test_a_breach_is_seen(importer, source, why):
    trees = {**TREES, "cst.pipeline": ast.Module([], []), importer: ast.parse(source)}

    assert any(found.startswith(f"{importer} {why}") for found in breaches(trees))


def test_no_modules_import_one_another_in_a_circle():
    assert circles(TREES) == []


def test_a_circle_is_seen():
    planted = {"cst.texts": ast.parse("def f():\n    from cst.near_duplicates import nearest_known")}
    back = {"cst.near_duplicates": ast.parse("from cst.texts import fill")}

    assert {"cst.texts", "cst.near_duplicates"} in circles({**TREES, **planted, **back})


def test_folders_stay_small():
    folders: dict[Path, int] = {}
    for path in (SOURCE / "cst").rglob("*.py"):
        folders[path.parent] = folders.get(path.parent, 0) + 1
    top = [path for path in (SOURCE / "cst").iterdir() if path.name != "__pycache__"]

    assert {folder.name: n for folder, n in folders.items() if n > MOST_FILES} == {}
    assert len(top) <= MOST_ENTRIES


@pytest.mark.parametrize("module", [name for name in TREES if place(name)[1] in ("synthesis", "preferences")])
def test_synthesis_and_preferences_never_reach_torch(module):
    """`datasets` loads no torch, and is imported when rows of the hub are asked for."""
    assert {name.split(".")[0] for name in reached(module, TREES)} & HEAVY <= {"datasets"}


def test_a_detour_to_torch_is_seen():
    trees = {**TREES, "cst.texts": ast.parse("def f():\n    import torch.nn")}

    assert "torch.nn" in reached("cst.synthesis.critique", trees)


@pytest.mark.parametrize(
    "statement",
    [
        "import cst",
        "import cst, cst.recipe.reading, cst.preferences.conditioning, cst.synthesis.critique",
        "import cst; cst.condition, cst.synthesize, cst.load_recipe, cst.read_prompts",
        "from cst.evals import AbsoluteHarmfulnessPredictor, ContentModeration, ConversationBuilder",
        "import sys; sys.argv = ['cst', '--help']\ntry:\n    from cst.cli import main; main()\nexcept SystemExit: pass",
        "import sys; sys.argv = ['cst', 'run', '--help']\ntry:\n    import cst.__main__\nexcept SystemExit: pass",
    ],
)
def test_a_light_import_stays_light(statement):
    tell = f"{statement}\nimport sys; print('loaded:', *({HEAVY} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=False)

    assert done.stdout.splitlines()[-1:] == ["loaded:"], done.stderr


@pytest.mark.parametrize("words", [["check", "miniature"], ["condition", "r.yaml"]], ids=" ".join)
def test_verbs_that_load_no_model_do_without_torch(tmp_path, words):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "x", "chosen": "y", "rejected": "z"}\n')
    (tmp_path / "r.yaml").write_text(
        "name: light\nmodel: {path: miniature}\npreferences: {path: rows.jsonl}\nmodels: {dpo: []}\n"
    )
    heavy = f"{HEAVY - {'safetensors'}} & sys.modules.keys()"
    tell = (
        f"import sys; sys.argv = {['cst', *words]}\nfrom cst.cli import main\n"
        f"try: main()\nexcept SystemExit as end: print('ended with', end.code, *({heavy}))"
    )
    done = subprocess.run([sys.executable, "-c", tell], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stdout.splitlines()[-1:] == ["ended with 0"], done.stderr


@pytest.mark.parametrize("module", [name for name in TREES if name not in FILES])
def test_only_a_handful_of_modules_touch_files(module):
    assert file_calls(TREES[module]) == []


@pytest.mark.parametrize("module", FILES)
def test_the_handful_does_touch_files(module):
    assert file_calls(TREES[module]) != []


@pytest.mark.parametrize("module", [name for name in TREES if name != "cst.chat.journal"])
def test_only_the_journal_knows_sqlite(module):
    assert "sqlite3" not in imports(TREES[module], TREES)


@pytest.mark.parametrize("module", [name for name in TREES if not name.startswith(NETWORKED)])
def test_only_the_endpoint_serving_and_the_hub_know_the_network(module):
    assert {name.split(".")[0] for name in imports(TREES[module], TREES)} & NETWORK == set()


@pytest.mark.parametrize("module", TREES)
def test_nothing_that_came_with_data_is_run(module):
    assert untrusting(TREES[module]) == []


@pytest.mark.parametrize("module", TREES)
def test_random_numbers_come_from_generators_of_ones_own(module):
    assert shared_generators(TREES[module]) == []


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (file_calls, "open('x')"),
        (file_calls, "path.read_text()"),
        (file_calls, "from cst.store import read_text\npath.open('rb')"),
        (file_calls, "import shutil\nshutil.rmtree(path)"),
        (untrusting, "import pickle"),
        (untrusting, "torch.load(path)"),
        (untrusting, "AutoModel.from_pretrained(path, trust_remote_code=True)"),
        (untrusting, "AutoModel.from_pretrained(path, trust_remote_code=trusted)"),
        (shared_generators, "random.shuffle(rows)"),
        (shared_generators, "np.random.rand(3)"),
    ],
)
def test_each_rule_sees_its_breach(rule, source):
    assert rule(ast.parse(source)) != []


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (file_calls, "from cst.store import read_text\nread_text(path)"),
        (untrusting, "AutoModel.from_pretrained(path, trust_remote_code=False)"),
        (shared_generators, "random.Random(3).shuffle(rows)"),
    ],
)
def test_each_rule_lets_pass_what_is_right(rule, source):
    assert rule(ast.parse(source)) == []


def recipe_fields(kind: type[BaseModel] = Recipe) -> set[str]:
    """The names of all fields that a recipe may hold."""
    inner = {found for field in kind.model_fields.values() for found in record_types(field.annotation)}
    return set(kind.model_fields).union(*(recipe_fields(each) for each in inner))


@pytest.mark.parametrize("field", sorted(recipe_fields() - {"kind"}))
def test_each_field_of_a_recipe_is_read_somewhere(field):
    """`kind` is read by pydantic, which picks the class by it."""
    read = {
        node.attr
        for name, tree in TREES.items()
        if name != "cst.recipe"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }

    assert field in read


def reads_of_settings(tree: ast.AST) -> set[str]:
    """Attributes that are read of something called `settings` or `training`."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (getattr(node.value, "id", None) or getattr(node.value, "attr", None)) in ("settings", "training")
    }


def test_each_training_setting_is_read_of_settings_and_not_of_something_else():
    """A knob isn't in use because another object has an attribute of its name."""
    read = set().union(*(reads_of_settings(tree) for tree in TREES.values()))

    assert set(TrainingSettings.model_fields) - read == set()
    assert reads_of_settings(ast.parse("interval.beta + settings.seed + recipe.training.full")) == {"seed", "full"}


@pytest.mark.parametrize("path", sorted((SOURCE / "cst").rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_holds_one_idea_and_a_function_too(path):
    text = path.read_text(encoding="utf-8")
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]

    assert text.count("\n") <= 450
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= 60] == []
