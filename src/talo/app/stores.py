"""The stores of one app: opened on first use, once in each process.

Owns opening, sharing (broker and results at one place are one store) and forgetting after a fork. Caller: ``app.app``.
"""

from __future__ import annotations

import threading
from typing import Any

from talo.errors import NotSupported
from talo.stores.base import ResultBackend, Store
from talo.stores.url import open_store

__all__ = ["AppStores"]


class AppStores:
    """The app's broker store and result store. A connection never crosses a fork."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._opened: dict[str, Store] = {}
        self._broker: Store | None = None
        self._results: Store | None = None
        self._backend: ResultBackend | None = None

    @property
    def broker(self) -> Store:
        """The store that messages go to."""
        if self._broker is None:
            conf = self._app.conf
            self._broker = self._open(conf.broker_write_url, conf.broker_transport_options)
        return self._broker

    @property
    def results(self) -> Store | None:
        """The store that results go to; None if they are disabled."""
        if self._results is None:
            conf = self._app.conf
            url = conf.result_backend
            if url is None:
                return self.broker
            if _disabled(url):
                return None
            if url in (conf.broker_url, conf.broker_write_url):
                self._results = self.broker
            else:
                self._results = self._open(url, conf.result_backend_transport_options)
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

    def _open(self, url: str, options: Any) -> Store:
        conf = self._app.conf
        url = url.partition(";")[0]  # of several alternatives the first
        with self._lock:
            store = self._opened.get(url)
            if store is None:
                store = self._opened[url] = open_store(
                    url,
                    timeout=conf.store_timeout,
                    priority_order=conf.redis_priority_order,
                    keyprefix=(options or {}).get("global_keyprefix", ""),
                )
            return store

    def forget(self) -> None:
        """Forget the stores without closing them: they are the parent process's."""
        self._lock = threading.Lock()
        self._opened = {}
        self._broker = self._results = self._backend = None

    def close(self) -> None:
        """Close every connection. Idempotent; the next use opens them again."""
        with self._lock:
            opened, self._opened = self._opened, {}
        self._broker = self._results = self._backend = None
        for store in opened.values():
            store.close()


def _disabled(url: str) -> bool:
    return not url or url.partition("://")[0] == "disabled"
