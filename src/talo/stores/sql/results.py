"""The result backend of the SQL store.

Owns results, groups, waiting for results and the deletion of what has expired. Any number of waiters share the one
thread of the ``listener``: each wish is a set of ids, and one query after each commit asks for all of them.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Sequence

from talo.stores.base import GroupPart, GroupRecord, ResultBackend, ResultMeta, Watch
from talo.stores.sql import _groups, _writing
from talo.stores.sql._codec import json_list
from talo.stores.sql.connection import Database
from talo.stores.sql.listener import Listener
from talo.wire.message import Message

__all__ = ["SqlResults"]

_log = logging.getLogger(__name__)

#: What expires, in the order in which it is deleted.
_EXPIRING = ("results", "groups", "workflows", "dead", "bus", "locks", "marks")


class SqlResults(ResultBackend):
    """Results in a table, found by task id."""

    #: Seconds; a caller waits for this answer.
    pace = 0.001

    def __init__(self, database: Database, listener: Listener, clock: Callable[[], float]) -> None:
        self._database = database
        self._queries = database.dialect.queries
        self._listener = listener
        self._clock = clock
        self._lock = threading.Lock()
        self._wishes: dict[str, list[_Wish]] = {}

    def store(self, results: Sequence[ResultMeta]) -> None:
        if not results:
            return

        def work(connection: sqlite3.Connection) -> None:
            _writing.store_results(connection, self._queries, results, self._clock())

        self._database.write(work)
        self._listener.poke()

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
        wanted = json_list(list(task_ids)).decode()
        self._database.write(lambda it: it.execute(self._queries["forget"], (wanted,)).rowcount)

    def store_group(self, group_id: str, payload: bytes, expires: float | None) -> None:
        def work(connection: sqlite3.Connection) -> None:
            until = None if expires is None else self._clock() + expires
            connection.execute(self._queries["store_group"], (group_id, payload, until))

        self._database.write(work)

    def get_group(self, group_id: str) -> bytes | None:
        values = (group_id, self._clock())
        row = self._database.read(lambda it: it.execute(self._queries["get_group"], values).fetchone())
        return None if row is None else bytes(row[0])

    def forget_group(self, group_id: str) -> None:
        self._database.write(lambda it: it.execute(self._queries["forget_group"], (group_id,)).rowcount)

    # Groups

    def open_groups(self, groups: Sequence[GroupRecord]) -> None:
        if not groups:
            return
        thens = _groups.encode_then(groups)

        def work(connection: sqlite3.Connection) -> None:
            _groups.open_groups(connection, self._queries, groups, thens, self._clock())

        self._database.write(work)

    def group_plans(self, group_ids: Sequence[str]) -> dict[str, bytes]:
        return self._select("workflow_plans", group_ids)

    def group_parts(self, group_id: str) -> list[tuple[int, bytes]]:
        return self._database.read(lambda it: it.execute(self._queries["workflow_parts"], (group_id,)).fetchall())

    def add_parts(self, parts: Sequence[GroupPart]) -> list[Message]:
        def work(connection: sqlite3.Connection) -> list[Message]:
            found = []
            for part in parts:
                then = _groups.add_part(connection, self._queries, part, self._clock())
                then = then or _groups.repeated(connection, self._queries, part)
                if then is not None:
                    found.append(then)
            return found

        return self._database.write(work) if parts else []

    def close_groups(self, group_ids: Sequence[str]) -> None:
        if group_ids:
            self._database.write(lambda it: _groups.forget(it, self._queries, group_ids))

    def cleanup(self, limit: int) -> int:
        def work(connection: sqlite3.Connection) -> int:
            now, deleted = self._clock(), 0
            connection.execute(self._queries["orphaned_parts"], (now, limit))
            for kind in _EXPIRING:
                if deleted < limit:
                    values = (now, limit - deleted)
                    deleted += connection.execute(self._queries[f"expired_{kind}"], values).rowcount
            return deleted

        return self._database.write(work)

    def _select(self, query: str, task_ids: Collection[str]) -> dict[str, bytes]:
        if not task_ids:
            return {}
        wanted = json_list(list(task_ids)).decode()
        return dict(
            self._database.read(lambda it: it.execute(self._queries[query], (wanted, self._clock())).fetchall())
        )

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
