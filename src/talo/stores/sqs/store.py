"""The SQS store: one account and region, and the store at its side.

Owns the options and putting the roles together: the broker is SQS's, everything else the side store's. Called by
``stores.url``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from talo.errors import ImproperlyConfigured, NotSupported, StoreUnavailable
from talo.stores.base import Bus, Features, Locks, ResultBackend, Store
from talo.stores.sqs.address import parse_url
from talo.stores.sqs.broker import SqsBroker
from talo.stores.sqs.connection import Connection, within
from talo.stores.sqs.ledger import Ledger, place_of
from talo.stores.sqs.messages import LONGEST_DELAY
from talo.stores.sqs.queues import Queues
from talo.stores.sqs.schedules import SqsSchedules

__all__ = ["SqsStore"]

#: API reference, "Message quotas": what a queue may be set to at most.
_LARGEST = 1_048_576


class SqsStore(Store):
    """Broker on Amazon SQS; results, bus, locks, schedules, long delays and dead letters in ``side``, another store.

    ``timeout``: seconds for one operation. ``side``: the store, opened by whoever opens this one, or None. Other
    options: see ``settings.bags.SQS_KEYS``.
    """

    broker: SqsBroker

    def __init__(self, url: str, *, timeout: float = 5.0, side: Store | None = None, **options: Any) -> None:
        if not timeout > 0:
            raise ImproperlyConfigured(f"timeout is a number of seconds above 0, not {timeout!r}")
        address = parse_url(url, options)
        self._address = address
        self._side = side
        self._timeout = timeout
        self._connection = Connection(address, timeout)
        path = Path(address.ledger) if address.ledger else place_of(address.identity)
        self._ledger = Ledger(path, timeout)
        self._queues = Queues(address, self._connection, self._ledger.note_queue)
        self._broker = SqsBroker(self._connection, self._queues, self._ledger, side, timeout)
        self.broker = self._broker
        beside = side.features if side is not None else None
        self.features = Features(
            name="sqs",
            atomic=False,
            shared=True,
            durable=True,
            priorities=False,
            foreign=True,
            tells_owners=False,
            max_delay=LONGEST_DELAY if side is None else float("inf"),
            max_message=_LARGEST,
            schedules=beside is not None and beside.schedules,
            locks=beside is not None and beside.locks,
            results=beside is not None and beside.results,
            dead_letters=beside is not None,
            history=beside is not None and beside.history,
            reschedules=beside is not None and beside.reschedules,
            purges_from=LONGEST_DELAY,
            parks=False,
        )
        self.history = side.history if side is not None else None
        self.ledger = side.ledger if side is not None else None
        shelf = self._broker.shelf
        if side is not None and side.schedules is not None and shelf is not None:
            self.schedules = SqsSchedules(side.schedules, shelf)

    def __repr__(self) -> str:
        return f"<SqsStore {self.url}>"

    @property
    def results(self) -> ResultBackend:  # type: ignore[override]
        """Those of the side store."""
        return self._needed("results").results

    @property
    def bus(self) -> Bus:  # type: ignore[override]
        """That of the side store."""
        return self._needed("bus").bus

    @property
    def locks(self) -> Locks:  # type: ignore[override]
        """Those of the side store."""
        return self._needed("locks").locks

    def _needed(self, what: str) -> Store:
        if self._side is None:
            raise NotSupported(f"sqs:// keeps no {what}: set result_backend to the URL of a store that does")
        return self._side

    @property
    def url(self) -> str:
        return self._address.shown

    def ping(self, timeout: float) -> None:
        within(timeout, self._queues.ping, StoreUnavailable(f"{self.url} did not answer in time"))

    def same_as(self, other: Store) -> bool:
        """Also the side store: a settlement is handed over whole, for its steps have an order of their own here."""
        if isinstance(other, SqsStore):
            return self._address.identity == other._address.identity
        return self._side is not None and self._side.same_as(other)

    def close(self) -> None:
        self._broker.close()
        self._connection.close()
        self._ledger.close()
