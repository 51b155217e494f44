"""What differs between databases: the statements by name, and the migrations by number.

Owns reading both from the ``.sql`` files beside it; ``queries/<dialect>.sql`` has one ``-- name:`` section per
step, the same names in every dialect. A section holds the statements that this step takes there: one, several (the rows
are those of the one that returns any), or none. Values are numbered (``?1``) and a statement uses those it needs.
Running them is a ``Session``'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

__all__ = ["Dialect", "Migration", "Statement", "dialect", "dollars", "marks", "percents"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    statements: tuple[str, ...]


class Statement(NamedTuple):
    """One statement in its client library's form, and which of the step's values it takes, in its order."""

    text: str
    picks: tuple[int, ...]


#: How a client library writes values: from the text with ``?N`` to a statement.
Style = Callable[[str], Statement]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One database's words."""

    name: str
    queries: Mapping[str, tuple[Statement, ...]]
    migrations: tuple[Migration, ...]


def marks(text: str) -> Statement:
    """``?1``, numbered without gaps: sqlite3."""
    return _numbered(text, "?")


def dollars(text: str) -> Statement:
    """``$1``, numbered without gaps: PostgreSQL's own."""
    return _numbered(text, "$")


def percents(text: str) -> Statement:
    """``%s``, one per use: PyMySQL."""
    uses = tuple(int(number) - 1 for number in re.findall(r"\?(\d)", text))
    return Statement(re.sub(r"\?\d", "%s", text.replace("%", "%%")), uses)


def _numbered(text: str, sign: str) -> Statement:
    used = sorted({int(number) for number in re.findall(r"\?(\d)", text)})
    new = {number: at for at, number in enumerate(used, 1)}
    return Statement(
        re.sub(r"\?(\d)", lambda found: f"{sign}{new[int(found[1])]}", text), tuple(number - 1 for number in used)
    )


@cache
def dialect(name: str, style: Style) -> Dialect:
    """Return the dialect, read once per process."""
    here = resources.files(__package__)
    queries = _sections((here / "queries" / f"{name}.sql").read_text("utf-8"), style)
    steps = []
    for file in (here / "migrations" / name).iterdir():
        number, _, title = file.name.removesuffix(".sql").partition("_")
        steps.append(Migration(int(number), title, _statements(file.read_text("utf-8"))))
    return Dialect(name, queries, tuple(sorted(steps, key=lambda step: step.number)))


def _bare(text: str) -> str:
    return re.sub(r"--[^\n]*", "", text)


def _statements(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in _bare(text).split(";") if each.strip())


def _sections(text: str, style: Style) -> dict[str, tuple[Statement, ...]]:
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return {
        name: tuple(style(each) for each in _statements(body))
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }
