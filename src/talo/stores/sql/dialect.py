"""What differs between databases: the statements by name, and the migrations by number.

Owns reading both from the ``.sql`` files beside it; ``queries/<dialect>.sql`` has one ``-- name:`` section per
statement, the same names in every dialect. Running them is ``connection``'s and the roles'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Dialect", "Migration", "dialect"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One database's words."""

    name: str
    queries: Mapping[str, str]
    migrations: tuple[Migration, ...]


@cache
def dialect(name: str) -> Dialect:
    """Return the dialect, read once per process."""
    here = resources.files(__package__)
    queries = _sections((here / "queries" / f"{name}.sql").read_text("utf-8"))
    steps = []
    for file in (here / "migrations" / name).iterdir():
        number, _, title = file.name.removesuffix(".sql").partition("_")
        steps.append(Migration(int(number), title, _statements(file.read_text("utf-8"))))
    return Dialect(name, queries, tuple(sorted(steps, key=lambda step: step.number)))


def _bare(text: str) -> str:
    return re.sub(r"--[^\n]*", "", text)


def _statements(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in _bare(text).split(";") if each.strip())


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        [found[name]] = _statements(body)
    return found
