"""The SQL store: one database in all roles.

Owns reading the URL and its options, and putting the roles together. ``sqlite:///relative/path`` and
``sqlite:////absolute/path`` are files; ``memory://name`` is a database in the memory of this process, the same for all
who say the same name.
"""

from __future__ import annotations

import difflib
import os
import threading
import time
import urllib.parse
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from talo.errors import ImproperlyConfigured
from talo.stores.base import Features, Store
from talo.stores.sql._codec import MAX_MESSAGE
from talo.stores.sql.broker import SqlBroker
from talo.stores.sql.bus import SqlBus
from talo.stores.sql.connection import Database
from talo.stores.sql.history import SqlHistory
from talo.stores.sql.listener import Listener
from talo.stores.sql.locks import SqlLocks
from talo.stores.sql.results import SqlResults
from talo.stores.sql.schedules import SqlSchedules
from talo.stores.sql.waker import MemoryWaker, PipeWaker, Waker

__all__ = ["SqlStore"]

_OPTIONS = {"synchronous": ("FULL", "NORMAL")}
_ORDERS = ("high-first", "low-first")


class SqlStore(Store):
    """Tasks, results, bus, locks, schedules and history in one database, so that a settlement is one transaction."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 5.0,
        priority_order: str = "high-first",
        keyprefix: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        if priority_order not in _ORDERS:
            raise ImproperlyConfigured(f"priority_order is {priority_order!r}: it can be {' or '.join(_ORDERS)}")
        if keyprefix:
            raise ImproperlyConfigured(f"a key prefix ({keyprefix!r}) means nothing to {url}: use one database per app")
        scheme, _, rest = url.partition("://")
        self._memory = scheme.lower() == "memory"
        if self._memory:
            self._place = _Place.in_memory(rest, timeout)
            self._url = f"memory://{rest}"
        else:
            path, options = _file(url)
            self._place = _Place(path, timeout, options.get("synchronous", "FULL"))
            self._url = f"sqlite:///{path}"
        place = self._place
        self.features = Features(
            name="memory" if self._memory else "sqlite",
            atomic=True,
            shared=False,
            durable=not self._memory,
            max_message=MAX_MESSAGE,
            schedules=True,
            history=True,
            peek=True,
        )
        self._broker = SqlBroker(place.database, place.waker, place.listener, clock, priority_order)
        self.broker = self._broker
        self.results = SqlResults(place.database, place.listener, clock)
        self.bus = SqlBus(place.database, place.listener, clock)
        self.locks = SqlLocks(place.database, clock)
        self.history = SqlHistory(place.database, clock)
        self.schedules = SqlSchedules(place.database, place.waker, clock)

    @property
    def url(self) -> str:
        return self._url

    def ping(self, timeout: float) -> None:
        self._place.database.read(lambda it: it.execute("SELECT 1").fetchone(), timeout)

    def same_as(self, other: Store) -> bool:
        if not isinstance(other, SqlStore):
            return False
        mine, its = self._place.database.path, other._place.database.path
        if mine is None or its is None:
            return self._place is other._place
        return os.path.realpath(mine) == os.path.realpath(its)

    def close(self) -> None:
        self._broker.close()
        if not self._memory:
            self._place.listener.stop()
            self._place.database.close()


class _Place:
    """One database with what belongs to it in this process. In memory it lives as long as a store that has it."""

    _lock = threading.Lock()
    _memories: ClassVar[weakref.WeakValueDictionary[str, _Place]] = weakref.WeakValueDictionary()

    def __init__(self, path: Path | None, timeout: float, synchronous: str = "FULL") -> None:
        self.database = Database(path, synchronous=synchronous, timeout=timeout)
        self.waker: Waker = PipeWaker(Path(f"{path}-wake")) if path else MemoryWaker()
        self.listener = Listener(self.database)

    @classmethod
    def in_memory(cls, name: str, timeout: float) -> _Place:
        """Return the place of this name in this process."""
        with cls._lock:
            place = cls._memories.get(name)
            if place is None:
                place = cls._memories[name] = cls(None, timeout)
            return place


def _file(url: str) -> tuple[Path, dict[str, str]]:
    """Return the absolute path and the checked options of a ``sqlite:///`` URL."""
    rest = url.partition("://")[2]
    location, _, query = rest.partition("?")
    host, slash, name = location.partition("/")
    if host or not slash or not name or name == ":memory:":
        raise ImproperlyConfigured(
            f"{url} names no file: write sqlite:///relative/path, sqlite:////absolute/path, or memory:// for none"
        )
    options = {}
    for key, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
        options[key] = _checked(url, key, value)
    path = Path(urllib.parse.unquote(name)).expanduser()
    return Path(os.path.abspath(path)), options


def _checked(url: str, key: str, value: str) -> str:
    if key not in _OPTIONS:
        near = difflib.get_close_matches(key, _OPTIONS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ImproperlyConfigured(f"{url}: unknown option {key!r}{hint} (there is {', '.join(_OPTIONS)})")
    if value.upper() not in _OPTIONS[key]:
        raise ImproperlyConfigured(f"{url}: {key} can be {' or '.join(_OPTIONS[key])}, not {value!r}")
    return value.upper()
