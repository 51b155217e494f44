"""Renders docs/reference/promises.md: the promises that tests prove, each with the tests that carry its id.

Reads the texts from tools/promises.toml and the ids from ``@pytest.mark.promise(...)`` in the syntax trees of the tests
and of ``talo.testing``; imports neither. Run by ``make promises``; ``tests/architecture`` says when the page is stale.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/reference/promises.md"
#: Where tests are found; the contract suite is part of the package.
SOURCES = ("tests", "src/talo/testing")

HEAD = """\
# Promises

What Talo promises, and the tests that prove it. A promise stands here as soon as a test carries its id; it is kept as
long as those tests pass on every store in its brackets: R Redis, M RabbitMQ, S SQS, P PostgreSQL, J Django's database,
E embedded SQLite, all = these six. M\\* and S\\*: with a state store beside the broker; without one it is refused
with an error that names what is missing. "Exactly once" means the recorded effect: what Talo stored, sent or counted.
Numbers about speed hold on the reference machine of `bench/`.

Rendered by `make promises` from the tests; do not edit.
"""


@dataclass(frozen=True)
class Promise:
    """One promise as the table has it."""

    id: str
    wave: int
    stores: str
    name: str
    text: str


def table() -> dict[str, tuple[str, dict[str, Promise]]]:
    """Return section letter -> (title, promises by id)."""
    raw = tomllib.loads((ROOT / "tools/promises.toml").read_text(encoding="utf-8"))
    return {
        letter: (entries["title"], {key: Promise(id=key, **entry) for key, entry in entries.items() if key != "title"})
        for letter, entries in raw.items()
    }


def proofs() -> dict[str, list[str]]:
    """Return promise id -> node ids of the tests that carry it, sorted."""
    found: dict[str, set[str]] = {}
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for promise, where in _marks(ast.parse(path.read_text(encoding="utf-8")).body, name):
                found.setdefault(promise, set()).add(where)
    return {promise: sorted(tests) for promise, tests in found.items()}


def _marks(body: list[ast.stmt], where: str) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{where}::{node.name}"
            for decorator in node.decorator_list:
                yield from ((promise, name) for promise in _ids(decorator))
            if isinstance(node, ast.ClassDef):
                yield from _marks(node.body, name)
        elif isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets
        ):
            yield from ((promise, where) for promise in _ids(node.value))


def _ids(node: ast.expr) -> Iterator[str]:
    """The arguments of each ``pytest.mark.promise(...)`` inside an expression."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "promise":
            for argument in call.args:
                if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                    raise ValueError(f"line {call.lineno}: the ids of a promise mark are plain strings")
                yield argument.value


def render() -> str:
    """Return the page as it should be; ValueError names ids that are no promise."""
    proven = proofs()
    sections = table()
    known = {promise for _, entries in sections.values() for promise in entries}
    if unknown := sorted(proven.keys() - known):
        raise ValueError(f"no such promise: {', '.join(unknown)} ({', '.join(proven[unknown[0]])})")
    lines = [HEAD]
    for letter, (title, entries) in sections.items():
        kept = [entry for entry in entries.values() if entry.id in proven]
        if not kept:
            continue
        lines.append(f"## {letter}. {title}\n")
        for entry in kept:
            lines.append(f"### {entry.id} {entry.name}\n")
            lines.append(f"{entry.text} [{entry.stores}]\n".replace("*", "\\*"))
            lines.extend(f"- `{test}`" for test in proven[entry.id])
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    try:
        page = render()
    except ValueError as error:
        sys.exit(f"promises: {error}")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {page.count('### ')} promises proven")


if __name__ == "__main__":
    main()
