"""The audit log: who changed what, when, from where, and what came of it.

Owns the form of an entry and its keeping: a file of JSON lines (0600, appended and synced), and always the logger
``talo.audit``. Called around every acting operation, at logins and at refusals."""

from __future__ import annotations

import collections
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from talo.errors import OperationalError
from talo.util.files import private
from talo.util.text import shorten

__all__ = ["Audit", "AuditError", "Entry"]

log = logging.getLogger("talo.audit")

#: An argument is cut to this; ids and names are shorter.
_LONGEST = 200
#: Of a list of ids so many are named.
_NAMED = 20


class AuditError(OperationalError):
    """The entry cannot be kept, so the action is not done."""


class Entry(msgspec.Struct, kw_only=True):
    """One line. ``outcome`` is ``begun``, ``done``, ``failed`` or ``refused``; both lines of an action have its
    ``id``."""

    #: Epoch seconds.
    at: float
    id: str
    user: str
    role: str
    via: str
    #: The address that the request came from.
    address: str
    action: str
    arguments: dict[str, Any] = {}
    outcome: str
    text: str = ""


class Audit:
    """Appends entries. Without a path they are kept in memory (the last 1,000) and logged."""

    KEPT = 1000

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path is not None else None
        self._lock = threading.Lock()
        self._recent: collections.deque[Entry] = collections.deque(maxlen=self.KEPT)

    def write(self, entry: Entry) -> None:
        """Keep an entry. ``AuditError`` if the file does not take it."""
        if self.path is not None:
            self._append(msgspec.json.encode(entry) + b"\n")
        with self._lock:
            self._recent.append(entry)
        log.info(
            "%s %s %s",
            entry.user,
            entry.action,
            entry.outcome,
            extra={"action": entry.action, "audit": msgspec.to_builtins(entry)},
        )

    def latest(self, limit: int) -> list[Entry]:
        """The last entries, the latest first; of the file if there is one."""
        if self.path is None:
            with self._lock:
                return list(self._recent)[::-1][:limit]
        return [msgspec.convert(json.loads(line), Entry) for line in _tail(self.path, limit)]

    def _append(self, line: bytes) -> None:
        assert self.path is not None
        try:
            with self._lock:
                descriptor = private(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                try:
                    os.write(descriptor, line)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise AuditError(f"the audit log {self.path} cannot be written ({error.strerror}): nothing is done") from (
                error
            )


def shown(arguments: msgspec.Struct, hidden: frozenset[str]) -> dict[str, Any]:
    """Arguments as an entry tells them: bounded, the values of ``hidden`` ones left out."""
    told: dict[str, Any] = {}
    for name in arguments.__struct_fields__:
        value = getattr(arguments, name)
        if value is None or value == () or value == []:
            continue
        if name in hidden:
            told[name] = "**"
        elif isinstance(value, list | tuple):
            told[name] = [shorten(str(each), _LONGEST) for each in value[:_NAMED]]
            if len(value) > _NAMED:
                told[f"{name}_count"] = len(value)
        else:
            told[name] = shorten(value, _LONGEST) if isinstance(value, str) else value
    return told


def now() -> float:
    """Epoch seconds."""
    return time.time()


def _tail(path: Path, lines: int, block: int = 1 << 16) -> list[bytes]:
    """The last lines of a file, the last first, without reading the rest of it."""
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            data = b""
            while end and data.count(b"\n") <= lines:
                start = max(0, end - block)
                file.seek(start)
                data = file.read(end - start) + data
                end = start
    except FileNotFoundError:
        return []
    whole = data.split(b"\n") if not end else data.split(b"\n")[1:]
    return [line for line in reversed(whole) if line][:lines]
