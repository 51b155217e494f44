"""The heart: worker-online, worker-heartbeat and worker-offline, for monitors. Life and death are told by leases.

Owns the rhythm and the facts. A thread of the agent. Where a post that nobody hears costs a write, it beats only while
task events are on; where the store says that nobody heard, it beats less often until somebody does."""

from __future__ import annotations

import logging
import os
import platform
import sys
import threading
from typing import Any

from talo import signals
from talo.errors import NotSupported, OperationalError, StoreError
from talo.events.event import post_of, stamp
from talo.worker.node import WorkerNode

__all__ = ["Heart", "version"]

log = logging.getLogger("talo.worker")


#: So many times as long is the pause after a beat that nobody heard.
UNHEARD = 4


class Heart:
    """A service: ``start``, ``stop``."""

    def __init__(self, node: WorkerNode, freq: float) -> None:
        self._node = node
        self._freq = freq
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="talo-heart", daemon=True)
        self._online = False

    def start(self) -> None:
        """Begin to beat."""
        if self._freq:
            self._thread.start()

    def beat_soon(self) -> None:
        """Beat now. From any thread."""
        self._wanted.set()

    def stop(self, timeout: float = 2.0) -> None:
        """Say good-bye and end. Legal before ``start`` and twice."""
        self._ended.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            always = self._node.app.store.bus.unheard_is_free
        except NotSupported as exc:
            log.debug("No heartbeats: %s", exc)
            return
        while not self._ended.is_set():
            beats = always or self._node.standing.events
            heard = not beats or self._send("worker-heartbeat" if self._online else "worker-online")
            self._wanted.wait(self._freq if heard else self._freq * UNHEARD)
            self._wanted.clear()
        if self._online:
            self._send("worker-offline")

    def _send(self, type: str) -> bool:
        """Beat; False if nobody heard it."""
        node = self._node
        app = node.app
        fields: dict[str, Any] = {
            "freq": self._freq,
            "active": node.active,
            "processed": node.processed,
            "loadavg": [round(load, 2) for load in os.getloadavg()],
            "sw_ident": "talo",
            "sw_ver": version(),
            "sw_sys": platform.system(),
        }
        event = stamp(type, node.hostname, app.clock.forward(), fields)
        try:
            heard = app.store.bus.post([post_of(event, app.conf.event_exchange, app.conf.event_serializer)])
        except (OperationalError, StoreError) as exc:
            log.debug("No heartbeat: %s", exc)
            return True
        self._online = True
        signals.heartbeat_sent.send(sender=self)
        return heard


def version() -> str:
    """Return the version of Talo that runs."""
    # The package above is always imported by now; asking the installation for its version would cost 10 ms.
    return str(vars(sys.modules["talo"])["__version__"])
