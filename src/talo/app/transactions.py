"""Sends inside a transaction of the caller's own.

Owns ``app.transaction`` and the outlet that keeps such sends from being tried again, which a transaction that has
failed would never forgive. How a send joins a transaction is the store's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from talo.app.outlets import Outlet
from talo.stores.base import Store
from talo.wire.message import Message

if TYPE_CHECKING:
    from talo.app.stores import AppStores

__all__ = ["TransactionDoors"]

#: The stores whose transactions this context is in.
_inside: ContextVar[tuple[Store, ...]] = ContextVar("talo_transactions", default=())


class _Joined(Outlet):
    """An outlet: what is sent inside of ``transaction`` becomes part of it."""

    def __init__(self, app: TransactionDoors) -> None:
        self._app = app

    def take(self, messages: Sequence[Message], publish: Callable[[], None]) -> bool:
        """Send once, if this context is in a transaction of this app's store."""
        del publish
        store = self._app._stores.broker if _inside.get() else None
        if store is None or store not in _inside.get():
            return False
        store.broker.send(messages)
        return True


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
            token = _inside.set((*_inside.get(), store))
            try:
                yield
            finally:
                _inside.reset(token)
