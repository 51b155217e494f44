"""``app.amqp``: the queues of an app, as plug-ins ask for them.

Owns nothing: it shows the app's router and sender under Celery's names.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from talo.app import routes
from talo.app.routes import Router
from talo.compat.consuming import Consumer
from talo.compat.pools import ProducerPool
from talo.wire import serializers
from talo.wire.queues import Exchange, Queue
from talo.wire.repr import saferepr

__all__ = ["AMQP", "TaskMessage"]


class TaskMessage(NamedTuple):
    """A message before it is written: its body is still data."""

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: Any
    sent_event: dict[str, Any]


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

    @property
    def task_protocols(self) -> dict[int, Callable[..., TaskMessage]]:
        """What makes the message of a call, by the number of the protocol."""
        return {number: functools.partial(self._message, number) for number in (1, 2)}

    @property
    def create_task_message(self) -> Callable[..., TaskMessage]:
        """What makes the message of a call in the protocol of the settings."""
        return self.task_protocols[self.app.conf.task_protocol]

    def _message(
        self, protocol: int, task_id: str, name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> TaskMessage:
        """Nothing is written, so the arguments may be such as no serializer takes."""
        args, kwargs = args or (), kwargs or {}
        shown = {"argsrepr": saferepr(args), "kwargsrepr": saferepr(kwargs)}
        shown |= {key: text for key in shown if (text := options.pop(key, None)) is not None}
        with self.app.conf.overridden(task_protocol=protocol):
            made = self.app.prepare(name, (), {}, {"task_id": task_id, **options})
        body = serializers.get(self.app.conf.task_serializer).loads(made.body)
        if protocol == 1:
            return TaskMessage({}, made.properties, {**body, "args": args, "kwargs": kwargs}, {})
        return TaskMessage({**made.headers, **shown}, made.properties, (args, kwargs, body[2]), {})

    def send_task_message(self, producer: Any, name: str, message: Any, **options: Any) -> Any:
        """Send a call by name; ``message`` holds its body as protocol 2 has it."""
        del producer
        args, kwargs, _ = message.body if hasattr(message, "body") else message
        return self.app.send_task(name, args, kwargs, **options)

    def TaskConsumer(self, channel: Any, queues: Any = None, accept: Any = None, **_kw: Any) -> Any:
        """A consumer of these queues, or of those that the app's workers consume."""
        return Consumer(channel, queues or list(self.queues.consume_from.values()), accept=accept)

    def flush_routes(self) -> None:
        """The router reads the settings anew whenever they change; nothing to do."""

    def add_queue(self, name: str, options: Mapping[str, Any] | None = None) -> Queue:
        """Add a queue."""
        return self.queues.add(name, **(options or {}))
