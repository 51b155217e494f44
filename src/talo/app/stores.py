"""The stores of one app: opened on first use, once in each process.

Owns opening, sharing (broker and results at one place are one store) and forgetting after a fork. Caller: ``app.app``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec

from talo.app._store_options import RPC, results_url, store_options
from talo.app.archives import Archive
from talo.errors import ImproperlyConfigured, NotSupported
from talo.stores.base import Broker, ResultBackend, Store
from talo.stores.delays import Delays
from talo.stores.noted import NotedBroker
from talo.stores.relay import RelayedSchedules
from talo.stores.schedules import Schedules
from talo.stores.url import alternatives, open_store, scheme_of, takes_side
from talo.wire.queues import Broadcast

__all__ = ["AppStores", "StoreDoors"]


class StoreDoors:
    """What an app offers of its stores: mixed into ``Talo``."""

    if TYPE_CHECKING:
        _stores: AppStores

    @property
    def store(self) -> Store:
        """The broker's store, opened at the first access in each process."""
        return self._stores.broker

    @property
    def result_store(self) -> Store | None:
        """The store of results: the same object if it is the same place, None if results are disabled."""
        return self._stores.results

    @property
    def state_store(self) -> Store | None:
        """The store of what all processes share: locks, revoked ids, schedules; None if no store here keeps any."""
        return self._stores.state

    @property
    def schedules(self) -> Schedules | None:
        """Where periodic tasks are kept: in the broker's own store where it can, else in ``state_store``, from which
        what is due goes on to the broker; None if neither keeps any."""
        return self._stores.schedules

    @property
    def delays(self) -> Delays | None:
        """Where delayed tasks wait beside the broker, as ``broker_delays_in_result_backend`` says; None: in it."""
        return self._stores.delays

    @property
    def reschedules(self) -> bool:
        """Whether tasks that wait can be given another time."""
        return self.delays is not None or self.store.features.reschedules

    @property
    def entry(self) -> Broker | Delays:
        """What takes messages, each to where it waits."""
        return self.delays or self.store.broker

    @property
    def results_are_answers(self) -> bool:
        """Whether each result is sent back to who asked for it (``rpc://``), and kept nowhere."""
        url = results_url(self._stores.app.conf)
        return url is not None and _answers(url)

    @property
    def backend(self) -> ResultBackend:
        """Where results are kept. ``NotSupported`` if results are disabled."""
        return self._stores.backend

    @property
    def records(self) -> ResultBackend:
        """Where records of workflows and bulk sends are kept: with the results; where there are none, with the
        messages."""
        return (self._stores.results or self._stores.broker).results

    @property
    def archives(self) -> list[Archive]:
        """Where results are looked for that ``backend`` has not."""
        return self._stores.archives

    def use_store(self, store: Store) -> None:
        """Keep tasks and results in this store of the caller's, whatever the settings say, until ``close_stores``."""
        self._stores.use(store)

    def close_stores(self) -> None:
        """Close its connections; the next use opens them again."""
        self._stores.close()

    def release_stores(self) -> None:
        """The same for those that it has opened by itself; a store of the caller's (``use_store``) stays."""
        if not self._stores.lent:
            self._stores.close()


class AppStores:
    """The app's broker store and result store. A connection never crosses a fork."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.archives: list[Archive] = []
        #: Whether the store is the caller's.
        self.lent = False
        self._lock = threading.RLock()
        #: By URL and whether it is the broker.
        self._opened: dict[tuple[str, bool], Store] = {}
        self._broker: Store | None = None
        self._results: Store | None = None
        self._backend: ResultBackend | None = None
        self._schedules: Schedules | None = None
        self._delays: Delays | None = None
        self._delays_known = False

    @property
    def app(self) -> Any:
        """Whose stores these are."""
        return self._app

    @property
    def broker(self) -> Store:
        """The store that messages go to."""
        if self._broker is None:
            conf = self._app.conf
            for name in ("broker_read_url", "broker_write_url"):
                if conf[name] != conf.broker_url:
                    raise ImproperlyConfigured(
                        f"{name} names another place than broker_url: Talo reads and writes at one; set broker_url only"
                    )
            self._broker = self._noted(self._open(conf.broker_url, broker=True, results=self._shared()))
        return self._broker

    def _noted(self, broker: Store) -> Store:
        """The same store, with a ledger of what waits there if that is asked for and it shows nothing by itself."""
        if not self._app.conf.broker_ledger or broker.features.peek:
            return broker
        beside = broker if broker.ledger is not None else self._side()
        if beside is None or beside.ledger is None:
            raise ImproperlyConfigured(
                "broker_ledger needs a result_backend that keeps tasks, such as redis:// or postgresql://"
            )
        broker.broker = NotedBroker(broker, beside.ledger, self._is_broadcast)
        broker.features = msgspec.structs.replace(broker.features, peek=True, ledger=True)
        return broker

    def _is_broadcast(self, queue: str) -> bool:
        queues = self._app.queues
        return queue in queues and isinstance(queues[queue], Broadcast)

    @property
    def results(self) -> Store | None:
        """The store that results go to; None if they are disabled."""
        if self._results is None:
            url = results_url(self._app.conf)
            if _disabled(url):
                return None
            if url is None or _answers(url) or self._shared():
                # A broker that keeps messages only keeps none.
                return self.broker if self.broker.features.results else None
            self._results = self._open(url, broker=False, results=True)
        return self._results

    @property
    def backend(self) -> ResultBackend:
        """The role of the result store that keeps results."""
        if self._backend is None:
            store = self.results
            if store is None:
                raise NotSupported("no result backend is configured: set result_backend to the URL of a store")
            self._backend = store.results
        return self._backend

    @property
    def state(self) -> Store | None:
        """The store that keeps what all processes share (locks, revoked ids, schedules): the broker's own where it can,
        else that of the results; None if neither can."""
        for store in (self.broker, self.results):
            if store is not None and store.features.locks:
                return store
        return None

    @property
    def schedules(self) -> Schedules | None:
        """The role that keeps periodic tasks, for messages that go to the broker."""
        if self._schedules is None:
            broker, state = self.broker, self.state
            if broker.features.schedules:
                self._schedules = broker.schedules
            elif state is not None and state.features.schedules:
                self._schedules = RelayedSchedules(state, broker.url, broker.broker.send)
        return self._schedules

    @property
    def delays(self) -> Delays | None:
        """What keeps delayed tasks for a broker that cannot reach them, if that is asked for."""
        if not self._delays_known:
            self._delays = self._delays_beside() if self._app.conf.broker_delays_in_result_backend else None
            self._delays_known = True
        return self._delays

    def _delays_beside(self) -> Delays | None:
        broker, state = self.broker, self.state
        if broker.features.reschedules:
            return None
        if state is None or not state.features.reschedules:
            raise ImproperlyConfigured(
                "broker_delays_in_result_backend needs a result_backend that keeps tasks, such as redis:// or postgresql://"
            )
        return Delays(state, broker.url, broker.broker)

    def _shared(self) -> bool:
        """Whether results are kept beside the tasks, over the same connections."""
        conf, url = self._app.conf, results_url(self._app.conf)
        if url is not None and _answers(url):
            return True
        if url not in (None, conf.broker_url):
            return False
        prefix = (conf.broker_transport_options or {}).get("global_keyprefix")
        return (conf.result_backend_transport_options or {}).get("global_keyprefix", prefix) == prefix

    def _open(self, url: str, *, broker: bool, results: bool) -> Store:
        url, more = alternatives(url), dict[str, Any]()
        with self._lock:
            store = self._opened.get((url, broker))
            if store is None:
                if broker and takes_side(url):
                    more = {"side": self._side()}
                options = more | store_options(self._app.conf, url, broker=broker, results=results, app=self._app)
                store = self._opened[url, broker] = open_store(url, **options)
            return store

    def _side(self) -> Store | None:
        """The store beside a broker that keeps messages only: that of the results."""
        url = results_url(self._app.conf)
        return (
            None
            if url is None or _disabled(url) or _answers(url) or takes_side(url)
            else self._open(url, broker=False, results=True)
        )

    def use(self, store: Store) -> None:
        """Take this store in both roles."""
        self.close()
        self._broker = self._results = self._opened[store.url, True] = store
        self.lent = True

    def forget(self) -> None:
        """Forget the stores without closing them: they are the parent process's."""
        self._lock = threading.RLock()
        self._opened = {}
        self._broker = self._results = self._backend = self._schedules = self._delays = None
        self._delays_known = False

    def close(self) -> None:
        """Close every connection. Idempotent; the next use opens them again."""
        with self._lock:
            opened, self._opened = self._opened, {}
        self._broker = self._results = self._backend = self._schedules = self._delays = None
        self._delays_known = False
        self.lent = False
        for store in opened.values():
            store.close()


def _disabled(url: str | None) -> bool:
    return url is not None and (not url or url.partition("://")[0] == "disabled")


def _answers(url: str) -> bool:
    """Whether results are sent back to who asked, by the broker."""
    return scheme_of(url) == RPC
