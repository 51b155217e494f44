"""What the documentation tells people to type can be typed: commands, options, Python. The index leads to every page.

Nothing is run here; what a page marks to be run is run by the acceptance tests.
"""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from talo.cli.main import talo

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
#: All but the one that is rendered from the commands themselves.
PAGES = sorted(
    {ROOT / "README.md", *DOCS.rglob("*.md"), *ROOT.glob("examples/*/README.md")} - {DOCS / "reference/cli.md"}
)
_PYTHON = re.compile(r"^ *```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
#: In the middle of a sentence, and at a prompt.
_TYPED = re.compile(r"`(talo [^`\n]+)`|^ *\$ (?:\w+=\S+ )*(talo [^\n]+)$", re.MULTILINE)
#: Where the shell goes on with something else, or the reader.
_ELSEWHERE = {"|", "&&", ";", ">", ">>", "…", "..."}


def typed(page: Path) -> list[str]:
    return [inline or prompt for inline, prompt in _TYPED.findall(page.read_text(encoding="utf-8"))]


def follow(line: str) -> None:
    """Read a command line as ``talo`` would, and run nothing. Errors: click's."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((at for at, word in enumerate(words) if word in _ELSEWHERE), None)]
    command: click.Command | None = talo
    context: click.Context | None = None
    while command is not None:
        context = click.Context(command, parent=context, info_name=command.name)
        _, rest, _ = command.make_parser(context).parse_args(words)
        command = None
        if isinstance(context.command, click.Group) and rest:
            _, command, words = context.command.resolve_command(context, rest)


@pytest.mark.parametrize("page", [page for page in PAGES if typed(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_of_a_page_can_be_typed(page: Path) -> None:
    wrong = {}
    for line in typed(page):
        try:
            follow(line)
        except click.UsageError as error:
            wrong[line] = error.format_message()
    assert wrong == {}


@pytest.mark.parametrize(
    "line", ["talo find ID", "talo -A shop dead burn", "talo worker --quick", "talo --nice worker"]
)
def test_a_command_line_that_cannot_be_typed_is_told(line: str) -> None:
    with pytest.raises(click.UsageError):
        follow(line)


def python(page: Path) -> Iterator[ast.Module]:
    """The blocks of a page. Errors: ``SyntaxError``."""
    for block in _PYTHON.findall(page.read_text(encoding="utf-8")):
        yield ast.parse(textwrap.dedent(block))


def names_in(tree: ast.AST) -> Iterator[str]:
    """What a module has, by assignment, definition or import, anywhere in it."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name


def has(module: str, name: str) -> bool:
    """Whether a module of Talo has this name, told by its text: some of them want more than is installed."""
    path = ROOT / "src" / module.replace(".", "/")
    if (path / f"{name}.py").exists() or (path / name / "__init__.py").exists():
        return True
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.exists() and name in names_in(ast.parse(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_a_page_can_be_read_and_imports_what_is_there(page: Path) -> None:
    imports = [
        (node.module, each.name)
        for tree in python(page)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "talo"
        for each in node.names
    ]
    assert [each for each in imports if not has(*each)] == []


def test_a_name_that_is_not_there_is_told() -> None:
    assert has("talo", "chain")
    assert has("talo.web.django", "urls")
    assert not has("talo", "chian")
    assert not has("talo.wep", "Dashboard")


def test_the_index_leads_to_every_page() -> None:
    links = re.findall(r"\]\(([\w/.-]+\.md)\)", (DOCS / "index.md").read_text(encoding="utf-8"))
    assert {DOCS / link for link in links} == set(DOCS.rglob("*.md")) - {DOCS / "index.md"}
