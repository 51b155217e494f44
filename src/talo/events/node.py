"""One worker, as its events tell it. Owned by ``state``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

__all__ = ["HEARTBEAT_EXPIRE_WINDOW", "Worker"]

#: Per cent of its own rhythm after which a silent worker counts as gone.
HEARTBEAT_EXPIRE_WINDOW = 200
#: Heartbeats that are remembered.
_MOST = 4
_FIELDS = (
    "hostname",
    "pid",
    "freq",
    "heartbeats",
    "clock",
    "active",
    "processed",
    "loadavg",
    "sw_ident",
    "sw_ver",
    "sw_sys",
)


class Worker:
    """Facts of the last event, and when the last heartbeats came (epoch seconds, this machine's clock)."""

    heartbeat_max = _MOST
    expire_window = HEARTBEAT_EXPIRE_WINDOW
    _fields = _FIELDS
    _defaults: Mapping[str, Any] = {}

    def __init__(
        self,
        hostname: str | None = None,
        pid: int | None = None,
        freq: float = 60.0,
        heartbeats: list[float] | None = None,
        clock: int = 0,
        active: int | None = None,
        processed: int | None = None,
        loadavg: Any = None,
        sw_ident: str | None = None,
        sw_ver: str | None = None,
        sw_sys: str | None = None,
    ) -> None:
        self.hostname = hostname or ""
        self.pid = pid
        self.freq = freq
        self.heartbeats = [] if heartbeats is None else heartbeats
        self.clock = clock
        self.active = active
        self.processed = processed
        self.loadavg = loadavg
        self.sw_ident = sw_ident
        self.sw_ver = sw_ver
        self.sw_sys = sw_sys

    def event(self, type_: str, fields: Mapping[str, Any]) -> None:
        """Take in an event of this worker."""
        self.update({name: value for name, value in fields.items() if name in _FIELDS and name != "heartbeats"})
        if type_ == "offline":
            self.heartbeats.clear()
            return
        seen = fields.get("local_received") or fields.get("timestamp")
        self.heartbeats.append(float(seen) if isinstance(seen, int | float) else time.time())
        del self.heartbeats[:-_MOST]

    def update(self, fields: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Set facts by name; unknown names are passed over."""
        for name, value in {**(fields or {}), **more}.items():
            if name in _FIELDS:
                setattr(self, name, value)

    @property
    def heartbeat_expires(self) -> float:
        """When it counts as gone, epoch seconds."""
        freq = self.freq if isinstance(self.freq, int | float) and self.freq > 0 else 60.0
        return (self.heartbeats[-1] if self.heartbeats else 0.0) + freq * self.expire_window / 1e2

    @property
    def alive(self) -> bool:
        """Whether its last heartbeat is fresh."""
        return bool(self.heartbeats) and time.time() < self.heartbeat_expires

    @property
    def status_string(self) -> str:
        """``ONLINE`` or ``OFFLINE``."""
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def id(self) -> str:
        """Its name and process id."""
        return f"{self.hostname}.{self.pid}"

    def __eq__(self, other: object) -> bool:
        return self.hostname == other.hostname if isinstance(other, Worker) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string})>"
