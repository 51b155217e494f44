"""The relay: publishes from the outbox what its senders could not.

Owns the thread and when it looks. One runs in the agent of every worker while the setting ``outbox`` is on; any number
may run at once. What it does with rows is ``outbox``'s.
"""

from __future__ import annotations

import logging
import random
import threading
from typing import Any

from django.apps import apps
from django.db import Error, connections

from talo.django.connections import close_all
from talo.errors import TaloError

__all__ = ["Relay"]

log = logging.getLogger("talo.django")


class Relay:
    """A service: ``start``, ``stop`` and ``join`` are legal at any time."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._ended = threading.Event()
        #: Databases of which it has been said that the table is missing.
        self._missing: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="talo-outbox", daemon=True)

    def start(self) -> None:
        """Begin, if the outbox is in use."""
        if apps.is_installed("talo.django") and self._app.conf.outbox:
            self._thread.start()

    def stop(self) -> None:
        """Ask for the end."""
        self._ended.set()

    def join(self, deadline: float | None = None) -> None:
        """Wait for the end, ``deadline`` seconds at most."""
        if self._thread.is_alive():
            self._thread.join(deadline)

    def _run(self) -> None:
        from talo.django import outbox

        pause = self._app.conf.outbox_lease / 2
        try:
            while not self._ended.is_set():
                for alias in outbox.aliases():
                    self._look(outbox, alias)
                # It looks seldom: no connection is kept for it.
                close_all()
                # With jitter, so that a fleet's relays do not look at the same moments.
                self._ended.wait(pause * random.uniform(0.8, 1.2))
        finally:
            close_all()

    def _look(self, outbox: Any, alias: str) -> None:
        try:
            if outbox.missing_table(alias):
                if alias not in self._missing:
                    self._missing.add(alias)
                    log.error("Database %r has no outbox yet: run manage.py migrate --database %s", alias, alias)
                return
            while outbox.publish_free(self._app, alias) and not self._ended.is_set():
                pass
        except (TaloError, Error) as exc:
            log.warning("The outbox of %r cannot be published now: %s", alias, exc, extra={"action": "outbox"})
            connections[alias].close()
