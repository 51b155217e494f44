"""Everything of the agent that talks to people: commands, heartbeats, events of the dead.

Owns the order of starting and stopping these services. Used by the agent only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from talo.worker.heart import Heart
from talo.worker.lines import AgentLine
from talo.worker.node import WorkerNode
from talo.worker.panel import PanelService
from talo.worker.share import Common, Share
from talo.worker.task_events import TaskEvents

if TYPE_CHECKING:
    from talo.app.app import Talo
    from talo.worker.options import WorkerOptions

__all__ = ["Remote"]


class Remote:
    """A service: ``start``, ``stop``. ``revoked`` is called when something may have to be stopped."""

    def __init__(
        self,
        app: Talo,
        options: WorkerOptions,
        shares: Sequence[Share],
        common: Common,
        line: AgentLine,
        revoked: Callable[[], None],
    ) -> None:
        app.clock.share(common.clock)
        self.node = WorkerNode(app, options, shares, common, line)
        self._events = TaskEvents(app, options.hostname)
        self._heart = Heart(self.node, options.heartbeat)
        self._panel = PanelService(self.node) if app.conf.worker_enable_remote_control else None
        self.node.on_heartbeat = self._heart.beat_soon
        self.node.on_revoked = revoked

    def start(self) -> None:
        """Begin to hear and to beat."""
        self._heart.start()
        if self._panel is not None:
            self._panel.start()
        else:
            self.node.listens()

    def tick(self, now: float) -> None:
        """Go along with what was said: tell of the dead only while events are on, scale. ``OperationalError``."""
        self._events.switch(self.node.standing.events)
        self.node.scale(now)

    def stop(self) -> None:
        """Hear no more, say good-bye."""
        if self._panel is not None:
            self._panel.stop()
        self._heart.stop()
        self._events.stop()
