"""The result backend of the SQL store.

Owns results, groups, waiting for results and the deletion of what has expired. Any number of waiters share the one
thread of the ``listener``: each wish is a set of ids, and one query after each commit asks for all of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Sequence

from talo.stores.base import GroupPart, GroupRecord, ResultBackend, ResultMeta, Watch
from talo.stores.sql import _groups, _writing
from talo.stores.sql.database import RESULTS, Database, Session
from talo.wire.message import Message

__all__ = ["SqlResults"]

_log = logging.getLogger(__name__)

#: What expires, in the order in which it is deleted.
_EXPIRING = ("results", "groups", "dead", "bus", "locks", "marks", "ledger")


class SqlResults(ResultBackend):
    """Results in a table, found by task id."""

    #: Seconds; a caller waits for this answer.
    pace = 0.001
    topic = RESULTS

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listener = database.listener
        self._lock = threading.Lock()
        self._wishes: dict[str, list[_Wish]] = {}

    def store(self, results: Sequence[ResultMeta]) -> None:
        if results:
            self._database.write(lambda tx: _writing.store_results(tx, results))

    def get(self, task_ids: Sequence[str]) -> dict[str, bytes]:
        return self._select("results", task_ids)

    def wait(self, task_ids: Collection[str], timeout: float | None) -> dict[str, bytes]:
        found = self._select("ready_results", task_ids)
        if found or timeout == 0:
            return found
        came = threading.Event()
        wish = self._wish(task_ids, lambda *_: came.set())
        try:
            came.wait(timeout)
        finally:
            wish.cancel()
        return self._select("ready_results", task_ids)

    def watch(self, task_ids: Collection[str], tell: Callable[[str, bytes], None]) -> Watch:
        return self._wish(task_ids, tell)

    def forget(self, task_ids: Sequence[str]) -> None:
        if task_ids:
            self._database.write(lambda tx: tx.run("forget", sorted(task_ids)))

    def store_group(self, group_id: str, payload: bytes, expires: float | None) -> None:
        def work(tx: Session) -> None:
            tx.run("store_group", group_id, payload, None if expires is None else tx.now + expires)

        self._database.write(work)

    def get_group(self, group_id: str) -> bytes | None:
        row = self._database.read(lambda tx: tx.row("get_group", group_id, tx.now))
        return None if row is None else bytes(row[0])

    def forget_group(self, group_id: str) -> None:
        self._database.write(lambda tx: tx.run("forget_group", group_id))

    # Groups

    def open_groups(self, groups: Sequence[GroupRecord]) -> None:
        if groups:
            thens = _groups.encode_then(groups)
            self._database.write_joined(lambda tx: _groups.open_groups(tx, groups, thens))

    def group_plans(self, group_ids: Sequence[str]) -> dict[str, bytes]:
        return self._select("workflow_plans", group_ids)

    def group_parts(self, group_id: str) -> list[tuple[int, bytes]]:
        rows = self._database.read(lambda tx: tx.rows("workflow_parts", group_id))
        return [(place, payload) for place, payload in rows]

    def add_parts(self, parts: Sequence[GroupPart]) -> list[Message]:
        def work(tx: Session) -> list[Message]:
            book = _groups.Book(tx, parts)
            thens = [book.add(part) or book.repeated(part) for part in parts]
            book.write()
            return [then for then in thens if then is not None]

        return self._database.write(work) if parts else []

    def close_groups(self, group_ids: Sequence[str]) -> None:
        if group_ids:
            self._database.write(lambda tx: _groups.forget(tx, group_ids))

    def cleanup(self, limit: int) -> int:
        def work(tx: Session) -> int:
            deleted = 0
            gone = [row[0] for row in tx.rows("overdue_workflows", tx.now, limit)]
            if gone:
                _groups.forget(tx, gone)
                deleted = len(gone)
            for kind in _EXPIRING:
                if deleted < limit:
                    deleted += tx.run(f"expired_{kind}", tx.now, limit - deleted)
            return deleted

        return self._database.write(work)

    def _select(self, query: str, task_ids: Collection[str]) -> dict[str, bytes]:
        if not task_ids:
            return {}
        rows = self._database.read(lambda tx: tx.rows(query, list(task_ids), tx.now))
        return {task_id: bytes(payload) for task_id, payload in rows}

    # Wishes

    def _wish(self, task_ids: Collection[str], tell: Callable[[str, bytes], None]) -> _Wish:
        wish = _Wish(self, task_ids, tell)
        with self._lock:
            for task_id in wish.open:
                self._wishes.setdefault(task_id, []).append(wish)
        self._listener.add(self)
        return wish

    def _drop(self, wish: _Wish, task_ids: Iterable[str]) -> None:
        with self._lock:
            for task_id in task_ids:
                wishes = self._wishes.get(task_id, [])
                if wish in wishes:
                    wishes.remove(wish)
                if not wishes:
                    self._wishes.pop(task_id, None)
            if not self._wishes:
                self._listener.remove(self)

    def look(self) -> None:
        """Tell those who wished for what is ready now."""
        with self._lock:
            wanted = list(self._wishes)
        for task_id, payload in self._select("ready_results", wanted).items():
            with self._lock:
                wishes = self._wishes.pop(task_id, [])
            for wish in wishes:
                wish.fulfil(task_id, payload)
        with self._lock:
            if not self._wishes:
                self._listener.remove(self)


class _Wish(Watch):
    """Ids, and whom to tell about them."""

    def __init__(self, results: SqlResults, task_ids: Collection[str], tell: Callable[[str, bytes], None]) -> None:
        self._results = results
        self._tell = tell
        self.open = set(task_ids)
        self._cancelled = False

    def fulfil(self, task_id: str, payload: bytes) -> None:
        """Tell, unless cancelled; whatever the one who is told does, the others are told too."""
        self.open.discard(task_id)
        if self._cancelled:
            return
        try:
            self._tell(task_id, payload)
        except Exception:  # noqa: BLE001  it is theirs, and logged
            _log.exception("a watcher of task %s failed", task_id)

    def cancel(self) -> None:
        self._cancelled = True
        self._results._drop(self, list(self.open))
