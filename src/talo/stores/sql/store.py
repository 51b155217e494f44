"""The SQL store: one database in all roles.

Owns putting the roles together over a ``Database``. Which database a URL means is told by ``files`` and by the packages
of the servers.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from talo.errors import ImproperlyConfigured
from talo.stores.base import Features, Store
from talo.stores.sql.broker import SqlBroker
from talo.stores.sql.bus import SqlBus
from talo.stores.sql.database import Database
from talo.stores.sql.history import SqlHistory
from talo.stores.sql.ledger import SqlLedger
from talo.stores.sql.locks import SqlLocks
from talo.stores.sql.results import SqlResults
from talo.stores.sql.schedules import SqlSchedules

__all__ = ["SqlStore"]

_ORDERS = ("high-first", "low-first")


class SqlStore(Store):
    """Tasks, results, bus, locks and schedules in one database, so that a settlement is one transaction."""

    def __init__(
        self,
        database: Database,
        url: str,
        features: Features,
        *,
        priority_order: str = "high-first",
        keyprefix: str = "",
    ) -> None:
        if priority_order not in _ORDERS:
            raise ImproperlyConfigured(f"priority_order is {priority_order!r}: it can be {' or '.join(_ORDERS)}")
        if keyprefix:
            raise ImproperlyConfigured(f"a key prefix ({keyprefix!r}) means nothing to {url}: use one database per app")
        self.database = database
        self.features = features
        self._url = url
        self._broker = SqlBroker(database, priority_order)
        self.broker = self._broker
        self.results = SqlResults(database)
        self.bus = SqlBus(database)
        self.locks = SqlLocks(database)
        self.history = SqlHistory(database)
        self.schedules = SqlSchedules(database)
        self.ledger = SqlLedger(database)

    @property
    def url(self) -> str:
        return self._url

    def ping(self, timeout: float) -> None:
        self.database.read(lambda tx: tx.rows("drawn"), timeout)

    def same_as(self, other: Store) -> bool:
        return isinstance(other, SqlStore) and self.database.place == other.database.place

    def joined(self, connection: object) -> AbstractContextManager[None]:
        if not self.features.transactions:
            return super().joined(connection)
        return self.database.joined(connection)

    def close(self) -> None:
        self._broker.close()
        self.database.close()
