"""``app.amqp``: the queues of an app, as plug-ins ask for them.

Owns nothing: it shows the app's router and sender under Celery's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from talo.app import routes
from talo.app.routes import Router
from talo.compat.messaging import Consumer
from talo.compat.pools import ProducerPool
from talo.wire.queues import Exchange, Queue

__all__ = ["AMQP"]


class AMQP:
    """Celery's view of where calls go."""

    Queues = routes.Queues
    argsrepr_maxsize = 1024
    kwargsrepr_maxsize = 1024

    def __init__(self, app: Any) -> None:
        self.app = app

    @property
    def queues(self) -> routes.Queues:
        """The queues that the app knows."""
        known: routes.Queues = self.app.queues
        return known

    @property
    def router(self) -> Router:
        """What finds the destination of calls."""
        router: Router = self.app.router
        return router

    def Router(self, queues: Any = None, create_missing: bool | None = None) -> Router:
        """The app's router."""
        del queues, create_missing
        return self.router

    @property
    def default_queue(self) -> Queue:
        """The queue of calls that say nothing else."""
        return self.queues[self.router.default_queue]

    @property
    def default_exchange(self) -> Exchange:
        """The exchange of queues that name none."""
        return self.router.default_exchange

    @property
    def utc(self) -> bool:
        """The setting ``enable_utc``."""
        return bool(self.app.conf.enable_utc)

    @property
    def producer_pool(self) -> ProducerPool:
        """Producers to acquire."""
        pool: ProducerPool = self.app.producer_pool
        return pool

    def send_task_message(self, producer: Any, name: str, message: Any, **options: Any) -> Any:
        """Send a call by name; ``message`` holds its body as protocol 2 has it."""
        del producer
        args, kwargs, _ = message.body if hasattr(message, "body") else message
        return self.app.send_task(name, args, kwargs, **options)

    def TaskConsumer(self, channel: Any, queues: Any = None, accept: Any = None, **_kw: Any) -> Any:
        """Reading messages by oneself is not possible; the error says what is."""
        return Consumer(channel, queues or list(self.queues.consume_from.values()), accept=accept)

    def flush_routes(self) -> None:
        """The router reads the settings anew whenever they change; nothing to do."""

    def add_queue(self, name: str, options: Mapping[str, Any] | None = None) -> Queue:
        """Add a queue."""
        return self.queues.add(name, **(options or {}))
