"""The relay: publishes from the outbox what its senders could not.

Owns the thread and when it looks. One runs in the agent of every worker while the setting ``outbox`` is on; any number
may run at once. What it does with rows is ``outbox``'s.
"""

from __future__ import annotations

import logging
from typing import Any

from django.apps import apps
from django.db import Error, connections

from talo.django._looking import Looking
from talo.errors import TaloError

__all__ = ["Relay"]

log = logging.getLogger("talo.django")


class Relay(Looking):
    """Publishes what others have committed and not published."""

    thread = "talo-outbox"

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        #: Databases of which it has been said that the table is missing.
        self._missing: set[str] = set()

    def wanted(self) -> bool:
        """Whether the outbox is in use."""
        return apps.is_installed("talo.django") and bool(self.app.conf.outbox)

    def pause(self) -> float:
        """Half of a claim."""
        return float(self.app.conf.outbox_lease) / 2

    def look(self) -> None:
        """Publish the free rows of every database."""
        from talo.django import outbox

        for alias in outbox.aliases():
            self._publish(outbox, alias)

    def _publish(self, outbox: Any, alias: str) -> None:
        try:
            if outbox.missing_table(alias):
                if alias not in self._missing:
                    self._missing.add(alias)
                    log.error("Database %r has no outbox yet: run manage.py migrate --database %s", alias, alias)
                return
            while outbox.publish_free(self.app, alias) and not self.ended.is_set():
                pass
        except (TaloError, Error) as exc:
            log.warning("The outbox of %r cannot be published now: %s", alias, exc, extra={"action": "outbox"})
            connections[alias].close()
