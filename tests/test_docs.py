"""What README and docs say can be typed: commands parse, names exist, links lead somewhere, made pages are fresh."""

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer

from cst.recipe.reading import parse_recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")] if path.name != "LOG.md")
SHELL = ("", "bash", "sh", "console", "shell")


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = generator()
COMMANDS = GENERATE.commands()


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page: language and content."""
    for match in re.finditer(r"^ *```([\w-]*)[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield match.group(1), match.group(2)


def blocks_of(language: str) -> list:
    """All blocks of a language, with the page they stand on."""
    return [
        pytest.param(block, id=f"{page.name}-{number}")
        for page in PAGES
        for number, (named, block) in enumerate(blocks(page.read_text(encoding="utf-8")))
        if named == language
    ]


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each shell line: comments gone, continued lines joined, `$ ` and the path to cst taken off."""
    for language, block in blocks(text):
        if language not in SHELL:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip().removeprefix("$ "), comments=True)
            yield [words[0].removeprefix(".venv/bin/"), *words[1:]] if words else []


def inline_commands(text: str) -> Iterator[list[str]]:
    """Commands within a sentence: `cst run RECIPE`."""
    for code in re.findall(r"(?<!`)`(cst [^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        yield shlex.split(code)


def said(program: str) -> list:
    """Every command line of all pages that begins with this program, with the page it stands on."""
    return [
        pytest.param(words[1:], id=f"{page.name}: {' '.join(words)}")
        for page in [*PAGES, *sorted((ROOT / "recipes").glob("*.yaml"))]
        for words in (command_lines(text_of(page)))
        if words[:1] == [program]
    ]


def text_of(page: Path) -> str:
    """A page; of a recipe, its comment as a block of commands."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    lines = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#   ")]
    return "```bash\n" + "\n".join(lines) + "\n```\n"


def resolve(words: list[str]) -> tuple[str, list[str]]:
    """The command that words begin with, and the words after it."""
    name = max((name for name in COMMANDS if words[: len(name.split())] == name.split()), key=len, default="")
    return name, words[len(name.split()) :]


def complaint_about(words: list[str]) -> str | None:
    """What the command line says to these words, without running anything; None where it takes them."""
    name, rest = resolve(words)
    if not name:
        return None if words in (["--help"], ["-h"]) else f"cst has no command {words[:1]}"
    try:
        COMMANDS[name].make_context(name, rest)
    except typer.Exit:
        return None
    except Exception as error:
        return str(error) or type(error).__name__
    return None


@pytest.mark.parametrize("name", GENERATE.PAGES)
def test_a_generated_page_is_up_to_date(name):
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")

    assert written == GENERATE.PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("words", said("cst"))
def test_a_cst_command_in_a_block_can_be_typed(words):
    assert complaint_about(list(words)) is None


@pytest.mark.parametrize(
    "words",
    sorted({tuple(words[1:]) for page in PAGES for words in inline_commands(page.read_text(encoding="utf-8"))}),
    ids=" ".join,
)
def test_a_cst_command_in_a_sentence_exists(words):
    assert words[0].startswith("-") or resolve(list(words))[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rum", "recipe.yaml"], "no command"),
        (["run"], "RECIPE"),
        (["run", "recipe.yaml", "--sett", "a=1"], "--sett"),
        (["demo", "--seeds", "many"], "integer"),
    ],
)
def test_a_wrong_command_would_be_noticed(words, says):
    assert says.lower() in (complaint_about(words) or "").lower()


@pytest.mark.parametrize("words", said("make"))
def test_a_make_target_exists(words):
    targets = [word for word in words if "=" not in word and not word.startswith("-")]

    subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("words", said("python"))
def test_a_python_program_that_is_named_is_there(words):
    if words[0].endswith(".py"):
        assert (ROOT / words[0]).is_file()
    elif words[0] == "-m":
        assert importlib.util.find_spec(words[1]) or (ROOT / words[1].replace(".", "/")).exists()


@pytest.mark.parametrize("source", blocks_of("python"))
def test_python_in_a_page_runs(source, tmp_path):
    """As a reader would run it: in a process and a folder of its own."""
    done = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("source", blocks_of("yaml"))
def test_yaml_in_a_page_is_a_recipe_or_a_part_of_one(source):
    """A part is read with a name and a model added, where it has none."""
    parts = {"name": "name: x\n", "model": "model: {path: miniature}\n"}
    added = "".join(part for key, part in parts.items() if not re.search(rf"^{key}:", source, re.MULTILINE))

    assert parse_recipe(added + source, where="block")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]

    assert [target for target in local if not (page.parent / target).exists()] == []
