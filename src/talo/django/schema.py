"""The SQL store's tables as operations of Django's migrations.

Owns running the store's numbered migrations, the one source of its tables, where Django migrates. A migration of
``talo.django`` names the numbers it brings; a test says when one is missing. Databases for which the store has no
dialect are left alone.
"""

from __future__ import annotations

import re
from typing import Any

from django.db import router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation

from talo.stores.sql.dialect import Dialect, Migration, dialect, dollars, marks, percents

__all__ = ["StoreTables"]

_DIALECTS = {"sqlite": ("sqlite", marks), "postgresql": ("postgres", dollars), "mysql": ("mysql", percents)}
_BOOK = "CREATE TABLE IF NOT EXISTS talo_migration (number integer PRIMARY KEY, name {text} NOT NULL)"
_MADE = re.compile(r"CREATE (?:UNLOGGED )?(TABLE|SEQUENCE) (\w+)")


class StoreTables(Operation):
    """Brings the tables of tasks from one of the store's migrations to a later one."""

    reversible = True

    def __init__(self, after: int, upto: int) -> None:
        self.after = after
        self.upto = upto

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The tables are no models: nothing that other migrations could see."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        """Do the steps that are not done; the store itself may have been here over another URL."""
        del from_state, to_state
        steps = self._steps(app_label, schema_editor)
        if not steps:
            return
        schema_editor.execute(_BOOK.format(text="varchar(100)"), None)
        at = self._at(schema_editor)
        for step in steps:
            if step.number > at:
                for statement in step.statements:
                    schema_editor.execute(statement, None)
                schema_editor.execute(f"INSERT INTO talo_migration VALUES ({step.number}, '{step.name}')", None)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        """Drop what the steps made, with all that is in it."""
        del from_state, to_state
        for step in reversed(self._steps(app_label, schema_editor)):
            for statement in reversed(step.statements):
                if made := _MADE.match(statement):
                    schema_editor.execute(f"DROP {made[1]} IF EXISTS {made[2]}", None)
            schema_editor.execute(f"DELETE FROM talo_migration WHERE number = {step.number}", None)
        if self.after == 0 and self._dialect(schema_editor):
            schema_editor.execute("DROP TABLE IF EXISTS talo_migration", None)

    def describe(self) -> str:
        """As Django shows it."""
        return f"Tables of tasks, {self.after + 1} to {self.upto}"

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """As Django writes it."""
        return type(self).__name__, [], {"after": self.after, "upto": self.upto}

    def _steps(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor) -> list[Migration]:
        words = self._dialect(schema_editor)
        if words is None or not router.allow_migrate(schema_editor.connection.alias, app_label):
            return []
        return [step for step in words.migrations if self.after < step.number <= self.upto]

    @staticmethod
    def _dialect(schema_editor: BaseDatabaseSchemaEditor) -> Dialect | None:
        known = _DIALECTS.get(schema_editor.connection.vendor)
        try:
            return dialect(*known) if known else None
        except FileNotFoundError:
            return None

    @staticmethod
    def _at(schema_editor: BaseDatabaseSchemaEditor) -> int:
        if schema_editor.collect_sql:
            return 0
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT max(number) FROM talo_migration")
            return cursor.fetchone()[0] or 0
