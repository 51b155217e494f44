"""Reading statements from a file: sections by name, and the lines that several of them share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

import pytest

from talo.stores.sql.dialect import dialect, dollars, marks, percents, sections, statements

_SHARED = """-- At the head: of no step.

-- part: awake
-- Why these lines.
WHERE open
    AND due < ?1

-- name: first
SELECT * FROM a
-- use: awake
LIMIT ?2;

-- name: number
SELECT count(*) FROM (
    SELECT * FROM a
    -- use: awake
);

-- name: nothing
"""

_DIALECTS = {"sqlite": marks, "postgres": dollars, "mysql": percents}


def _words(text: str) -> list[str]:
    return " ".join(line for line in text.split("\n") if not line.strip().startswith("--")).split()


def test_a_part_stands_wherever_a_step_uses_it_and_is_no_step_itself() -> None:
    steps = sections(_SHARED)

    assert set(steps) == {"first", "number", "nothing"}
    assert _words(steps["first"]) == "SELECT * FROM a WHERE open AND due < ?1 LIMIT ?2;".split()
    assert _words(steps["number"]) == "SELECT count(*) FROM ( SELECT * FROM a WHERE open AND due < ?1 );".split()
    assert _words(steps["nothing"]) == []


def test_a_part_that_is_not_there_is_named_at_once() -> None:
    with pytest.raises(KeyError, match="awkae"):
        sections("-- name: first\nSELECT * FROM a\n-- use: awkae\n")


def test_a_range_is_written_out() -> None:
    assert statements("CREATE TABLE a ({0..2: n# int}, {10..10: m#});\nSELECT '{}';") == (
        "CREATE TABLE a (n0 int, n1 int, n2 int, m10)",
        "SELECT '{}'",
    )


def test_every_dialect_has_the_same_steps() -> None:
    names = dialect("sqlite", marks).steps
    assert dialect("postgres", dollars).steps - {"gate"} == names
    assert dialect("mysql", percents).steps - {"gate"} == names - {"draw"}


@pytest.mark.parametrize("name", _DIALECTS)
def test_searching_counting_and_finding_history_ask_the_same(name: str) -> None:
    """Value by value, in the words in which the database is asked."""
    queries = dialect(name, _DIALECTS[name]).queries

    for number in range(1, 13):
        asked = {
            frozenset(_conditions(queries[f"{step} {number}"][0].text))
            for step in ("history", "count_history", "find_history")
        }
        assert len(asked) == 1 and asked != {frozenset()}, (number, asked)


def _conditions(text: str) -> Iterator[str]:
    """The lines of a statement that leave runs out: those of WHERE, and those that say whether a run is shown."""
    for line in map(str.strip, text.split("\n")):
        if line.startswith(("AND ", "WHERE ")) or line.endswith(" AND"):
            yield line.removeprefix("AND ").removesuffix(" AND")


@pytest.mark.parametrize("name", _DIALECTS)
def test_every_part_is_used(name: str) -> None:
    file = resources.files("talo.stores.sql") / "queries" / f"{name}.sql"
    lines = file.read_text("utf-8").split("\n")
    parts = {line.removeprefix("-- part: ") for line in lines if line.startswith("-- part: ")}

    assert parts == {line.strip().removeprefix("-- use: ") for line in lines if line.strip().startswith("-- use: ")}
    assert parts
