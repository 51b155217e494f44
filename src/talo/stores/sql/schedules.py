"""Periodic tasks of the SQL store: plans that change by compare-and-set, and the ledger of their runs.

Owns ``talo_plan`` and ``talo_run``. A change is one transaction with the messages that it sends; how these are written
is ``_writing``'s. Called by ``beat`` and ``control.schedules``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from talo.stores.schedules import Change, Plan, Plans, Run, Schedules
from talo.stores.sql import _writing
from talo.stores.sql._codec import Parcel, pack
from talo.stores.sql.database import Database, Row, Session

__all__ = ["SqlSchedules"]

#: Runs kept per plan, and removals kept per space for those who look at changes only.
KEPT_RUNS, KEPT_REMOVALS = 200, 1000
#: The plan of no name holds the version up to which removals are forgotten.
_FORGOTTEN = ""

_encode = msgspec.json.Encoder().encode
_plan = msgspec.json.Decoder(Plan).decode
_run = msgspec.json.Decoder(Run).decode


class SqlSchedules(Schedules):
    """Plans in rows; a version is drawn anew at every change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, space: str, since: int = 0) -> Plans:
        now, rows = self._rows(space, since)
        complete = since == 0 or any(name == _FORGOTTEN for name, _, _ in rows)
        if complete and since:
            now, rows = self._rows(space, 0)
        changed = []
        for name, version, text in rows:
            if text is not None and name:
                plan = _plan(text)
                plan.version = version
                changed.append(plan)
        return Plans(
            now=now,
            version=rows[-1][1] if rows else since,
            changed=changed,
            removed=[name for name, _, text in rows if text is None and name],
            complete=complete,
        )

    def _rows(self, space: str, since: int) -> tuple[float, list[Row]]:
        return self._database.read(lambda tx: (tx.now, tx.rows("plans", space, since)))

    def change(self, space: str, changes: Sequence[Change]) -> list[int]:
        if not changes:
            return []
        # Everything that can fail by itself is done before the lock is taken.
        parcels = [pack(each.messages, self._database.max_message) for each in changes]
        plans = [None if each.plan is None else _encode(each.plan) for each in changes]

        return self._database.write(lambda tx: self._apply(tx, space, changes, plans, parcels))

    def _apply(
        self,
        tx: Session,
        space: str,
        changes: Sequence[Change],
        plans: Sequence[bytes | None],
        parcels: Sequence[Sequence[Parcel]],
    ) -> list[int]:
        # One at a time in a space: versions are compared and set, and a reader sees them in their order.
        tx.gate(f"plan:{space}")
        rows = tx.rows("plan_versions", space, [each.name for each in changes])
        there: dict[str, int] = {row[0]: row[1] for row in rows}
        versions: list[int] = []
        sent: list[Parcel] = []
        for change, plan, parcel in zip(changes, plans, parcels, strict=True):
            early = change.not_before is not None and change.not_before > tx.now
            if early or there.get(change.name, 0) != change.version or (plan is None and not change.version):
                versions.append(0)
                continue
            [version] = tx.draw(1)
            tx.run("put_plan", space, change.name, version, plan)
            there[change.name] = 0 if plan is None else version
            versions.append(version)
            sent += parcel
            self._record(tx, space, change)
        if any(version and plan is None for version, plan in zip(versions, plans, strict=True)):
            self._forget(tx, space)
        if sent:
            tx.ring(_writing.insert(tx, sent))
        return versions

    @staticmethod
    def _record(tx: Session, space: str, change: Change) -> None:
        if change.plan is None:
            tx.run("drop_runs", space, change.name)
        elif change.runs:
            numbered = zip(tx.draw(len(change.runs)), change.runs, strict=True)
            tx.many("add_run", [(space, change.name, number, _encode(run)) for number, run in numbered])
            tx.run("forget_runs", space, change.name, KEPT_RUNS)

    @staticmethod
    def _forget(tx: Session, space: str) -> None:
        gone = tx.rows("forget_removed", space, KEPT_REMOVALS)
        if gone:
            tx.run("put_plan", space, _FORGOTTEN, max(row[0] for row in gone), None)

    def runs(self, space: str, name: str, limit: int) -> list[Run]:
        rows = self._database.read(lambda tx: tx.rows("runs", space, name, limit))
        return [_run(row[0]) for row in rows]
