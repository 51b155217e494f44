"""One beat with a local file, for brokers that keep no schedules.

Owns the file: last runs as JSON, replaced as a whole (written beside it, synced, renamed), so a crash leaves the old
one or the new one. Only one such beat may run; on one machine a lock on the file sees to it. Called by ``service``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import logging
import os
import shelve
from pathlib import Path
from typing import Any

from talo.beat.scheduler import Scheduler
from talo.errors import ImproperlyConfigured
from talo.util.files import private

__all__ = ["PersistentScheduler"]

log = logging.getLogger("talo.beat")

_VERSION = 1


class PersistentScheduler(Scheduler):
    """Keeps last runs in ``schedule_filename``."""

    persistence = shelve
    known_suffixes = ("", ".db", ".dat", ".bak", ".dir")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.schedule_filename: str = str(kwargs.pop("schedule_filename", None) or "")
        self._lock: int | None = None
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Take the lock, read the file, merge the configuration."""
        self.schedule_filename = self.schedule_filename or self.app.conf.beat_schedule_filename
        self._take_lock()
        known = self._read()
        self.install_default_entries(self.data)
        self.merge_inplace(self.app.conf.beat_schedule)
        for name, entry in self.schedule.items():
            state = known.get(name)
            # What counts by another rule now begins anew.
            if state is not None and state.get("schedule") == str(entry.schedule):
                self._restore(entry, state)
        self.sync()

    def _restore(self, entry: Any, state: dict[str, Any]) -> None:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            last = dt.datetime.fromisoformat(state["last_run_at"])
            # A clock that was ahead when the file was written would keep the entry waiting.
            if last <= dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1):
                entry.last_run_at, entry.total_run_count = last, int(state["total_run_count"])
            else:
                log.warning("The last run of %r lies in the future (%s): it counts from now", entry.name, last)

    def _take_lock(self) -> None:
        path = f"{self.schedule_filename}.lock"
        try:
            self._lock = private(path, os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._drop_lock()
            raise ImproperlyConfigured(
                f"another beat uses {self.schedule_filename}: with this broker only one may run"
            ) from None
        except OSError as error:
            raise ImproperlyConfigured(f"{path} cannot be written: {error.strerror}") from error

    def _drop_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _read(self) -> dict[str, dict[str, Any]]:
        path = Path(self.schedule_filename)
        try:
            kept = json.loads(path.read_bytes())
            if kept["version"] != _VERSION:
                raise ValueError(f"it is of version {kept['version']}")
            return {str(name): dict(state) for name, state in kept["entries"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            aside = f"{path}.unreadable"
            with contextlib.suppress(OSError):
                os.replace(path, aside)
            log.error(
                "The schedule file %s cannot be read (%s): it is now %s, and all entries count from now",
                path, error, aside,
            )  # fmt: skip
            return {}

    def reserve(self, entry: Any) -> Any:
        """The run is on disk before its task is sent: a crash between the two costs a run, and doubles none."""
        following = super().reserve(entry)
        self.sync()
        return following

    def sync(self) -> None:
        """Write the file."""
        entries = {
            name: {
                "last_run_at": entry.last_run_at.isoformat(),
                "total_run_count": entry.total_run_count,
                "schedule": str(entry.schedule),
            }
            for name, entry in self.schedule.items()
        }
        data = json.dumps({"version": _VERSION, "entries": entries}).encode()
        path = Path(self.schedule_filename)
        beside = f"{path}.new"
        try:
            with open(beside, "wb", opener=private) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError as error:
            log.error("The schedule file %s cannot be written: %s", path, error.strerror)

    def close(self) -> None:
        super().close()
        self._drop_lock()

    @property
    def info(self) -> str:
        return f"    . db -> {self.schedule_filename}"
