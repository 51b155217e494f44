"""SQLite from a URL: files, and databases in the memory of this process.

Owns reading ``sqlite:///relative/path``, ``sqlite:////absolute/path`` and ``memory://name``, the same for all in this
process who say the same name. Called by ``stores.url``.
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
from typing import Any

from talo.errors import ImproperlyConfigured
from talo.stores.base import Features
from talo.stores.sql._codec import MAX_MESSAGE
from talo.stores.sql.sqlite import SqliteDatabase
from talo.stores.sql.store import SqlStore

__all__ = ["open_sqlite"]

_OPTIONS = {"synchronous": ("FULL", "NORMAL")}

#: The databases in memory that somebody has, by name.
_memories: weakref.WeakValueDictionary[str, SqliteDatabase] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def open_sqlite(
    url: str, *, timeout: float = 5.0, clock: Callable[[], float] = time.time, auto_migrate: bool = True, **options: Any
) -> SqlStore:
    """Return the store of this URL. Options as of ``open_store``. Errors: ``ImproperlyConfigured``."""
    scheme, _, rest = url.partition("://")
    memory = scheme.lower() == "memory"
    if memory:
        database, shown = _in_memory(rest, timeout, clock), f"memory://{rest}"
    else:
        path, chosen = _file(url)
        synchronous = chosen.get("synchronous", "FULL")
        database = SqliteDatabase(
            path, synchronous=synchronous, timeout=timeout, clock=clock, auto_migrate=auto_migrate
        )
        shown = f"sqlite:///{path}"
    features = Features(
        name="memory" if memory else "sqlite",
        atomic=True,
        shared=False,
        durable=not memory,
        max_message=MAX_MESSAGE,
        transactions=not memory,
        schedules=True,
        history=True,
        peek=True,
        reschedules=True,
    )
    return SqlStore(database, shown, features, **options)


def _in_memory(name: str, timeout: float, clock: Callable[[], float]) -> SqliteDatabase:
    """Return the database of this name in this process; it lives as long as a store that has it."""
    with _lock:
        database = _memories.get(name)
        if database is None:
            database = _memories[name] = SqliteDatabase(None, timeout=timeout, clock=clock)
        return database


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
