"""Dead letters of the SQL store: listing them and taking them away.

Owns reading ``talo_dead``. A message comes into it by a settlement (``_writing``), and out of it by
``broker.dead_replace``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from talo.stores.base import Broker, DeadLetter, Death
from talo.stores.sql._codec import message
from talo.stores.sql.database import Database, Session
from talo.stores.sql.dialect import asking

__all__ = ["DeadLetters"]

_death = msgspec.json.Decoder(Death).decode


class DeadLetters(Broker):
    """The part of the broker that reads dead letters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def dead(
        self, *, limit: int = 50, offset: int = 0, task: str | None = None, queue: str | None = None
    ) -> list[DeadLetter]:
        rows = self._database.read(lambda tx: tx.rows("dead", task, queue, tx.now, limit, offset))
        return [_letter(row) for row in rows]

    def dead_count(self, most: int, *, task: str | None = None, queue: str | None = None) -> int:
        def work(tx: Session) -> int:
            values = [task, queue, tx.now, most]
            [(number,)] = tx.rows(asking("dead_count", values), *values)
            return int(number)

        return self._database.read(work)

    def dead_get(self, ids: Sequence[str]) -> list[DeadLetter]:
        if not ids:
            return []
        rows = self._database.read(lambda tx: tx.rows("dead_get", _numbers(ids), list(ids), tx.now))
        return [_letter(row) for row in rows]

    @staticmethod
    def _delete_dead(tx: Session, ids: Sequence[str]) -> bool:
        """Delete all of these, or say that one is gone and delete none."""
        numbers = _numbers(ids)
        if len(tx.rows("dead_hold", numbers, tx.now)) != len(set(ids)):
            return False
        tx.run("dead_delete", numbers)
        return True


def _numbers(ids: Sequence[str]) -> list[int]:
    return sorted(int(each) for each in ids if each.isascii() and each.isdigit() and len(each) < 19)


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
