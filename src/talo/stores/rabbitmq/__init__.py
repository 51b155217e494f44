"""RabbitMQ as a store. See ``docs/internals/rabbitmq.md``."""

from __future__ import annotations

from talo.stores.rabbitmq.store import RabbitStore

__all__ = ["RabbitStore"]
