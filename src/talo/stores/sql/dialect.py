"""What differs between databases: the statements by name, and the migrations by number.

Owns reading both from the ``.sql`` files beside it; ``queries/<dialect>.sql`` has one ``-- name:`` section per
step, the same names in every dialect. A section holds the statements that this step takes there: one, several (the rows
are those of the one that returns any), or none. Values are numbered (``?1``) and a statement uses those it needs;
``{0..2: a#}`` is short for ``a0, a1, a2``. A step may be asked for without the lines of some values (``asking``): a
search by what is asked for only. Lines that several steps share stand once, in a ``-- part:`` section, and where a step
says ``-- use:``. Running them is a ``Session``'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

__all__ = [
    "GENERATION",
    "Dialect",
    "Migration",
    "Statement",
    "asking",
    "dialect",
    "dollars",
    "marks",
    "percents",
    "sections",
    "statements",
]


#: Migrations whose numbers share the thousand are of one generation: each only adds, so that code which knows fewer of
#: them works on. What takes something away begins the next thousand: see ``docs/internals/upgrading.md``.
GENERATION = 1000


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

    @property
    def last(self) -> int:
        """The number of the last migration."""
        return self.migrations[-1].number

    @property
    def steps(self) -> frozenset[str]:
        """The names of the steps as they stand in its file."""
        return frozenset(name for name in self.queries if " " not in name)


def marks(text: str) -> Statement:
    """``?1``, numbered without gaps: sqlite3."""
    return _numbered(text, "?")


def dollars(text: str) -> Statement:
    """``$1``, numbered without gaps: PostgreSQL's own."""
    return _numbered(text, "$")


def percents(text: str) -> Statement:
    """``%s``, one per use: PyMySQL."""
    uses = tuple(int(number) - 1 for number in re.findall(r"\?(\d+)", text))
    return Statement(re.sub(r"\?\d+", "%s", text.replace("%", "%%")), uses)


def _numbered(text: str, sign: str) -> Statement:
    used = sorted({int(number) for number in re.findall(r"\?(\d+)", text)})
    new = {number: at for at, number in enumerate(used, 1)}
    return Statement(
        re.sub(r"\?(\d+)", lambda found: f"{sign}{new[int(found[1])]}", text), tuple(number - 1 for number in used)
    )


def asking(step: str, values: Sequence[Any]) -> str:
    """Return the step without the lines that need a value which is None. Such lines stand for themselves."""
    return f"{step} {' '.join(str(number) for number, value in enumerate(values, 1) if value is not None)}"


class _Steps(dict[str, tuple[Statement, ...]]):
    """Steps by name, and those without some of their lines as they are asked for."""

    def __init__(self, texts: Mapping[str, str], style: Style) -> None:
        super().__init__({name: tuple(style(each) for each in statements(text)) for name, text in texts.items()})
        self._texts = texts
        self._style = style

    def __missing__(self, key: str) -> tuple[Statement, ...]:
        step, *there = key.split(" ")
        known = frozenset(there)
        lines = _bare(self._texts[step]).split("\n")
        text = "\n".join(line for line in lines if known.issuperset(re.findall(r"\?(\d+)", line)))
        found = self[key] = tuple(self._style(each) for each in statements(text))
        return found


@cache
def dialect(name: str, style: Style) -> Dialect:
    """Return the dialect, read once per process."""
    here = resources.files(__package__)
    queries = _Steps(sections((here / "queries" / f"{name}.sql").read_text("utf-8")), style)
    steps = []
    for file in (here / "migrations" / name).iterdir():
        number, _, title = file.name.removesuffix(".sql").partition("_")
        steps.append(Migration(int(number), title, statements(file.read_text("utf-8"))))
    return Dialect(name, queries, tuple(sorted(steps, key=lambda step: step.number)))


def _bare(text: str) -> str:
    return re.sub(r"\{(\d+)\.\.(\d+): ([^}]*)\}", _range, re.sub(r"--[^\n]*", "", text))


def _range(found: re.Match[str]) -> str:
    return ", ".join(found[3].replace("#", str(number)) for number in range(int(found[1]), int(found[2]) + 1))


def statements(text: str) -> tuple[str, ...]:
    """The statements of a section or a migration, without comments and with ranges written out."""
    return tuple(each.strip() for each in _bare(text).split(";") if each.strip())


def sections(text: str) -> dict[str, str]:
    """The text of each step by its name, with the parts that it uses in their places."""
    _, *found = re.split(r"^-- (name|part): (\w+)$", text, flags=re.MULTILINE)
    in_order = list(zip(found[::3], found[1::3], found[2::3], strict=True))
    parts = {name: body.strip() for kind, name, body in in_order if kind == "part"}
    return {
        name: re.sub(r"-- use: (\w+)$", lambda use: parts[use[1]], body, flags=re.MULTILINE)
        for kind, name, body in in_order
        if kind == "name"
    }
