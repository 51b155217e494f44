"""Dead letters of the SQL store: listing them and taking them away.

Owns reading ``talo_dead``. A message comes into it by a settlement (``_writing``), and out of it by
``broker.dead_replace``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from talo.stores.base import Broker, DeadLetter, Death
from talo.stores.sql._codec import json_list, message
from talo.stores.sql.connection import Database

__all__ = ["DeadLetters"]

_death = msgspec.json.Decoder(Death).decode


class DeadLetters(Broker):
    """The part of the broker that reads dead letters."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._queries = database.dialect.queries
        self._clock = clock

    def dead(
        self, *, limit: int = 50, offset: int = 0, task: str | None = None, queue: str | None = None
    ) -> list[DeadLetter]:
        values = (task, queue, self._clock(), limit, offset)
        rows = self._database.read(lambda it: it.execute(self._queries["dead"], values).fetchall())
        return [_letter(row) for row in rows]

    def dead_get(self, ids: Sequence[str]) -> list[DeadLetter]:
        if not ids:
            return []
        values = (_numbers(ids), json_list(list(ids)).decode(), self._clock())
        rows = self._database.read(lambda it: it.execute(self._queries["dead_get"], values).fetchall())
        return [_letter(row) for row in rows]

    def _delete_dead(self, connection: sqlite3.Connection, ids: Sequence[str]) -> bool:
        """Delete all of these, or say that one is gone and delete none."""
        numbers, now = _numbers(ids), self._clock()
        there = connection.execute(self._queries["dead_get"], (numbers, "[]", now)).fetchall()
        if len(there) != len(set(ids)):
            return False
        connection.execute(self._queries["dead_delete"], (numbers, now))
        return True


def _numbers(ids: Sequence[str]) -> str:
    return json_list([int(each) for each in ids if each.isascii() and each.isdigit() and len(each) < 19]).decode()


def _letter(row: Sequence[Any]) -> DeadLetter:
    number, queue, priority, head, body, deliveries, death, died = row
    found, _ = message(queue, priority, head, body)
    return DeadLetter(
        id=str(number),
        queue=queue,
        death=_death(death),
        died=died,
        deliveries=deliveries,
        message=found,
        raw=None if found is not None else head + body,
    )
