"""Sends inside a transaction of the caller's own.

Owns ``app.transaction`` and the outlet that keeps such sends from being tried again, which a transaction that has
failed would never forgive. How a send joins a transaction is the store's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from talo.app.outlets import Outlet
from talo.stores.base import Store
from talo.wire.message import Message

if TYPE_CHECKING:
    from talo.app.stores import AppStores

__all__ = ["TransactionDoors"]

#: The transactions that this context is in, each with the ids of the tasks that it has sent.
_inside: ContextVar[tuple[tuple[Store, set[str]], ...]] = ContextVar("talo_transactions", default=())


class _Joined(Outlet):
    """An outlet: what is sent inside of ``transaction`` becomes part of it."""

    def __init__(self, app: TransactionDoors) -> None:
        self._app = app

    def take(self, messages: list[Message], publish: Callable[[], None]) -> bool:
        """Send once, if this context is in a transaction of this app's store."""
        del publish
        inside = _inside.get()
        store = self._app._stores.broker if inside else None
        sent = next((ids for joined, ids in reversed(inside) if joined is store), None)
        if store is None or sent is None:
            return False
        store.broker.send(messages)
        sent.update(message.id for message in messages if message.id is not None)
        return True

    def holding(self, task_id: str) -> str | None:
        """Until ``transaction`` ends, nobody else sees what was sent in it."""
        if any(task_id in sent for _, sent in _inside.get()):
            return "the commit of the transaction that it is part of"
        return None


class TransactionDoors:
    """What an app offers of transactions: mixed into ``Talo``."""

    if TYPE_CHECKING:
        _stores: AppStores
        outlets: list[Outlet]

    @contextlib.contextmanager
    def transaction(self, connection: Any) -> Iterator[None]:
        """Make what is sent inside a part of the transaction on ``connection``: a rollback means that it never was, a
        commit that it runs. Beginning, commit and rollback stay the caller's.

        ``connection`` leads to the database that the tasks are kept in: psycopg's or SQLAlchemy's (``Connection``,
        ``Session``) for PostgreSQL, sqlite3's for the very file. Calls of this thread or coroutine are concerned, and
        those of a workflow go together with its records. Errors: ``NotSupported`` for stores that are no database,
        ``ImproperlyConfigured`` for a connection that leads elsewhere, is closed, or commits by itself.
        """
        store = self._stores.broker
        with store.joined(connection):
            if not any(isinstance(each, _Joined) for each in self.outlets):
                self.outlets.append(_Joined(self))
            token = _inside.set((*_inside.get(), (store, set())))
            try:
                yield
            finally:
                _inside.reset(token)
