"""What the documentation tells people to type: every command and option is there, and the index leads to every page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from talo.cli.main import talo

ROOT = Path(__file__).parent.parent.parent.parent
DOCS = ROOT / "docs"
#: All but the one that is rendered from the commands themselves.
PAGES = sorted(
    {ROOT / "README.md", *DOCS.rglob("*.md"), *ROOT.glob("examples/*/README.md")} - {DOCS / "reference/cli.md"}
)
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


def test_the_index_leads_to_every_page() -> None:
    links = re.findall(r"\]\(([\w/.-]+\.md)\)", (DOCS / "index.md").read_text(encoding="utf-8"))
    assert {DOCS / link for link in links} == set(DOCS.rglob("*.md")) - {DOCS / "index.md"}
