"""The servers of the tests are started once: for a run, or for each process that runs tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.tree import ROOT

TESTS = ROOT / "tests"


def taken_from_servers(file: Path) -> Iterator[str]:
    """The names that a file imports from modules of ``tests.servers``."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests.servers."):
            yield from (alias.name for alias in node.names)


def test_fixtures_of_servers_are_imported_by_the_conftest_of_all_and_by_nobody_else() -> None:
    # A fixture that is imported twice is two, each with a server of its own.
    conftest = TESTS / "conftest.py"
    fixtures = set(taken_from_servers(conftest))
    again = {
        str(file.relative_to(TESTS)): sorted(found)
        for file in TESTS.rglob("*.py")
        if file != conftest and (found := fixtures.intersection(taken_from_servers(file)))
    }
    assert fixtures and again == {}
