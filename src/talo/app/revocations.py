"""What clients mark in the store of shared state for all workers, those to come included: revoked ids and stamps,
paused queues and task types.

Owns the kinds of marks, their names and how long they are kept. Read by workers (``worker.marks``), written by
``app.control`` and ``AsyncResult.revoke``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from talo.app.hearing import HEARD_WITHIN
from talo.errors import NotSupported

__all__ = ["PAUSED", "PAUSED_FOR", "REVOKED_FOR", "STAMPS", "Revocations", "named", "stamps_of"]

#: Seconds for which a revoked id is remembered. Longer than most delayed tasks wait, and short enough for the set to
#: stay small: workers keep it in memory.
REVOKED_FOR = 7 * 86_400.0
#: Seconds for which a pause holds if nobody resumes, and what a command said of a worker's size: everything in the
#: store of locks expires.
PAUSED_FOR = 365 * 86_400.0
#: Kinds of marks beside ``revoked`` and ``terminated``. Members: ``name=value``; ``queue:NAME`` and ``task:NAME``, and
#: of parking queues ``parked:NAME``, ``emptied:NAME`` and ``recent:NAME`` (``worker.opening``).
STAMPS = "revoked-stamps"
PAUSED = "paused"


class Revocations:
    """Marks of one app's store."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def keep(self, ids: Iterable[str], *, terminate: bool, within: float | None = None) -> bool:
        """Remember revoked ids and tell Talo's workers, waiting until they have heard (``within`` seconds, see
        ``Hearing.tell``); False where no store keeps them: then only workers that hear the command do."""
        store = self._app.state_store
        if store is None:
            return False
        marks = dict.fromkeys(ids, REVOKED_FOR)
        if not marks:
            return True
        store.locks.mark("revoked", marks)
        if terminate:
            store.locks.mark("terminated", marks)
        self._app.hearing.tell(HEARD_WITHIN if within is None else within)
        return True

    def keep_stamps(self, headers: Mapping[str, Any], *, within: float = HEARD_WITHIN) -> bool:
        """Remember revoked stamps; False as in ``keep``."""
        store = self._app.state_store
        if store is None:
            return False
        store.locks.mark(STAMPS, dict.fromkeys(stamps_of(headers), REVOKED_FOR))
        self._app.hearing.tell(within)
        return True

    def pause(self, queues: Sequence[str], tasks: Sequence[str]) -> None:
        """Remember a pause and wait until the workers have heard. ``NotSupported`` where no store keeps shared
        state."""
        self._store().locks.mark(PAUSED, dict.fromkeys(_members(queues, tasks), PAUSED_FOR))
        self._app.hearing.tell(HEARD_WITHIN)

    def resume(self, queues: Sequence[str], tasks: Sequence[str]) -> None:
        """Forget a pause."""
        self._store().locks.unmark(PAUSED, _members(queues, tasks))
        self._app.hearing.tell(0.0)

    def paused(self) -> tuple[list[str], list[str]]:
        """Queues and tasks."""
        members = self._store().locks.all_marked(PAUSED)
        return sorted(named("queue", members)), sorted(named("task", members))

    def parkings(self) -> list[str]:
        """The queues in which tasks of paused types may wait; none where no store keeps shared state."""
        store = self._app.state_store
        if store is None or not self._app.store.features.parks:
            return []
        members = store.locks.all_marked(PAUSED)
        return sorted(named("parked", members) | named("emptied", members))

    def _store(self) -> Any:
        store = self._app.state_store
        if store is None:
            raise NotSupported(
                f"{self._app.store.url} keeps no shared state: set result_backend to a store that does, such as Redis"
            )
        return store


def _members(queues: Sequence[str], tasks: Sequence[str]) -> list[str]:
    return [*(f"queue:{name}" for name in queues), *(f"task:{name}" for name in tasks)]


def named(kind: str, members: Iterable[str]) -> frozenset[str]:
    """Return the names in these members of ``PAUSED`` that are of this kind."""
    return frozenset(member.removeprefix(f"{kind}:") for member in members if member.startswith(f"{kind}:"))


def stamps_of(headers: Mapping[str, Any]) -> list[str]:
    """Return ``name=value`` for each stamp; a list of values is several stamps."""
    return [
        f"{name}={each}"
        for name, value in headers.items()
        for each in (value if isinstance(value, list | tuple | set | frozenset) else [value])
    ]
