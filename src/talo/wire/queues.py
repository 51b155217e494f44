"""Queues and exchanges as an application declares them.

Owns the descriptions with the constructor arguments that applications know from Celery's messaging library; declaring
them on a server is the store's, choosing among them the routes'. ``as_queue`` takes every form in which settings name
a queue, a foreign object included.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Binding", "Broadcast", "Exchange", "Queue", "as_exchange", "as_queue"]

_DELIVERY_MODES = {"transient": 1, "persistent": 2}
_EXCHANGE_FIELDS = ("name", "type", "arguments", "durable", "passive", "auto_delete", "delivery_mode", "no_declare")
_QUEUE_FIELDS = (
    "name",
    "exchange",
    "routing_key",
    "queue_arguments",
    "binding_arguments",
    "consumer_arguments",
    "durable",
    "exclusive",
    "auto_delete",
    "no_ack",
    "alias",
    "bindings",
    "no_declare",
    "expires",
    "message_ttl",
    "max_length",
    "max_length_bytes",
    "max_priority",
)
#: What else may stand in the dictionary form of ``task_queues``: the exchange's own fields, and the key's other name.
_DICT_FIELDS = frozenset({*_QUEUE_FIELDS, "exchange_type", "binding_key", "delivery_mode", "passive", "queue_durable"})


class Exchange:
    """Where messages are published to; equal to another one with the same fields."""

    __slots__ = _EXCHANGE_FIELDS

    def __init__(
        self,
        name: str = "",
        type: str = "direct",
        channel: object = None,
        *,
        arguments: Mapping[str, Any] | None = None,
        durable: bool = True,
        passive: bool = False,
        auto_delete: bool = False,
        delivery_mode: int | str | None = None,
        no_declare: bool = False,
    ) -> None:
        del channel  # Celery's messaging library binds here; a description is bound to nothing.
        self.name = name or ""
        self.type = type or "direct"
        self.arguments = dict(arguments) if arguments else None
        self.durable = bool(durable)
        self.passive = bool(passive)
        self.auto_delete = bool(auto_delete)
        self.delivery_mode = _DELIVERY_MODES[delivery_mode] if isinstance(delivery_mode, str) else delivery_mode
        self.no_declare = bool(no_declare)

    def as_dict(self, recurse: bool = False) -> dict[str, Any]:
        """Return the fields by name; there is nothing to recurse into."""
        del recurse
        return {field: getattr(self, field) for field in _EXCHANGE_FIELDS}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Exchange):
            return NotImplemented
        return self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(("Exchange", self.name))

    def __str__(self) -> str:
        return f"Exchange {self.name or repr('')}({self.type})"

    def __repr__(self) -> str:
        return f"<{self}>"


class Binding:
    """One more way from an exchange into a queue."""

    __slots__ = ("arguments", "exchange", "routing_key", "unbind_arguments")

    def __init__(
        self,
        exchange: Exchange | str | None = None,
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        unbind_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.exchange = as_exchange(exchange)
        self.routing_key = routing_key
        self.arguments = dict(arguments) if arguments else None
        self.unbind_arguments = dict(unbind_arguments) if unbind_arguments else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Binding):
            return NotImplemented
        return (self.exchange, self.routing_key, self.arguments) == (other.exchange, other.routing_key, other.arguments)

    def __hash__(self) -> int:
        return hash((self.exchange, self.routing_key))

    def __repr__(self) -> str:
        return f"<Binding: {self.exchange.name}->{self.routing_key}>"


class Queue:
    """Where messages wait; equal to another one with the same fields.

    ``expires`` and ``message_ttl`` are seconds. An exchange or routing key that is not given is empty: the routes fill
    in the defaults.
    """

    __slots__ = _QUEUE_FIELDS

    def __init__(
        self,
        name: str = "",
        exchange: Exchange | Iterable[Any] | str | None = None,
        routing_key: str = "",
        channel: object = None,
        bindings: Iterable[Any] | None = None,
        on_declared: object = None,
        *,
        queue_arguments: Mapping[str, Any] | None = None,
        binding_arguments: Mapping[str, Any] | None = None,
        consumer_arguments: Mapping[str, Any] | None = None,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        no_ack: bool = False,
        alias: str | None = None,
        no_declare: bool | None = None,
        expires: float | None = None,
        message_ttl: float | None = None,
        max_length: int | None = None,
        max_length_bytes: int | None = None,
        max_priority: int | None = None,
    ) -> None:
        del channel, on_declared  # See Exchange.
        if isinstance(exchange, list | tuple | set | frozenset):
            # Queue(name, [binding, ...]): bound in several ways, and to no exchange of its own.
            bindings = [*list(exchange), *(bindings or ())]
            exchange = None
        self.name = name or ""
        self.exchange = as_exchange(exchange)
        self.routing_key = routing_key or ""
        self.queue_arguments = dict(queue_arguments) if queue_arguments else None
        self.binding_arguments = dict(binding_arguments) if binding_arguments else None
        self.consumer_arguments = dict(consumer_arguments) if consumer_arguments else None
        self.durable = bool(durable)
        self.exclusive = bool(exclusive)
        # A queue that only one connection sees goes with it.
        self.auto_delete = bool(auto_delete or exclusive)
        self.no_ack = bool(no_ack)
        self.alias = alias
        self.bindings = [_as_binding(binding) for binding in bindings or ()]
        self.no_declare = no_declare
        self.expires = None if expires is None else float(expires)
        self.message_ttl = None if message_ttl is None else float(message_ttl)
        self.max_length = None if max_length is None else int(max_length)
        self.max_length_bytes = None if max_length_bytes is None else int(max_length_bytes)
        self.max_priority = None if max_priority is None else int(max_priority)

    @classmethod
    def from_dict(cls, queue: str, **options: Any) -> Queue:
        """Return the queue that an entry of a ``task_queues`` dictionary describes.

        Raises TypeError for unknown fields.
        """
        return _from_mapping({**options, "name": queue})

    def as_dict(self, recurse: bool = False) -> dict[str, Any]:
        """Return the fields by name, the exchange as a dictionary too when ``recurse``."""
        fields = {field: getattr(self, field) for field in _QUEUE_FIELDS}
        if recurse:
            fields["exchange"] = self.exchange.as_dict()
        return fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Queue):
            return NotImplemented
        return self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(("Queue", self.name))

    def __repr__(self) -> str:
        return f"<Queue {self.name} -> {self.exchange!r} -> {self.routing_key}>"


class Broadcast(Queue):
    """A queue of one reader, bound to a fan-out exchange: every worker that has it gets its own copy of a message."""

    __slots__ = ()

    def __init__(
        self,
        name: str | None = None,
        queue: str | None = None,
        unique: bool = False,
        auto_delete: bool = True,
        exchange: Exchange | str | None = None,
        alias: str | None = None,
        **options: Any,
    ) -> None:
        base = queue or "bcast"
        full_name = queue if queue and not unique else f"{base}.{uuid.uuid4()}"
        super().__init__(
            full_name,
            exchange=exchange if exchange is not None else Exchange(name or "", type="fanout"),
            alias=alias or name,
            auto_delete=auto_delete,
            **options,
        )


def as_exchange(value: Any) -> Exchange:
    """Return an exchange from an Exchange, a name, a dictionary, None (the default one) or an object like one."""
    if isinstance(value, Exchange):
        return value
    if value is None or isinstance(value, str):
        return Exchange(value or "")
    if isinstance(value, Mapping):
        return Exchange(**value)
    if hasattr(value, "name") and hasattr(value, "type"):
        return Exchange(**_attributes(value, _EXCHANGE_FIELDS))
    raise TypeError(f"not an exchange: {value!r}")


def as_queue(value: Any) -> Queue:
    """Return a queue from a Queue, a name, a dictionary with ``name``, or an object with the attributes of a queue.

    Raises TypeError for anything else and for a dictionary with unknown fields.
    """
    if isinstance(value, Queue):
        return value
    if isinstance(value, str):
        return Queue(value)
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if hasattr(value, "name") and hasattr(value, "routing_key"):
        return Queue(**_attributes(value, _QUEUE_FIELDS))
    raise TypeError(f"not a queue: {value!r}")


def _as_binding(value: Any) -> Binding:
    if isinstance(value, Binding):
        return value
    arguments = getattr(value, "arguments", None)
    return Binding(value.exchange, value.routing_key, arguments, getattr(value, "unbind_arguments", None))


def _attributes(value: Any, fields: Iterable[str]) -> dict[str, Any]:
    return {field: getattr(value, field) for field in fields if hasattr(value, field)}


def _from_mapping(fields: Mapping[str, Any]) -> Queue:
    unknown = sorted(set(fields) - _DICT_FIELDS)
    if unknown:
        raise TypeError(f"a queue has no {', '.join(unknown)}")
    options = {field: fields[field] for field in _QUEUE_FIELDS if field in fields}
    exchange = fields.get("exchange")
    if exchange is None or isinstance(exchange, str):
        more = {"durable": fields.get("durable", True), "auto_delete": fields.get("auto_delete", False)}
        more.update({field: fields[field] for field in ("delivery_mode", "passive") if field in fields})
        options["exchange"] = Exchange(exchange or "", type=fields.get("exchange_type") or "direct", **more)
    # Where both keys stand, the one that binds the queue is its own; the other one is for publishing.
    options["routing_key"] = fields.get("binding_key") or fields.get("routing_key") or ""
    if "queue_durable" in fields:
        options["durable"] = fields["queue_durable"]
    return Queue(**options)
