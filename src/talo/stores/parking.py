"""The queue in which tasks of a paused type wait, and a message on its way there and back.

Owns the name of that queue, from which type and queue can be read, and the header that keeps the message's way. When a
message is parked, and when it is taken from there, is ``worker.parking``'s and ``worker.opening``'s; the design is in
``docs/internals/control.md``.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from talo.stores.records import Delivery
from talo.wire.message import COPY, Message
from talo.wire.sent import sent_at

__all__ = ["Home", "at_home", "home_of", "is_parking", "parked", "parking_of", "unparked"]

#: How the names of these queues begin.
_PREFIX = "talo.paused/"
#: Bytes of the longest name: what RabbitMQ takes, with the name of its suspects, and every database as a key.
_LONGEST = 240
#: The header that keeps exchange and routing key meanwhile.
_WAY = "talo-parked"


class Home(NamedTuple):
    """What waits in a parking queue: the tasks of a type that came from a queue."""

    queue: str
    task: str


def parking_of(queue: str, task: str) -> str | None:
    """Return the name of the queue in which tasks of this type wait that came from ``queue``; None where that would be
    too long a name."""
    name = f"{_PREFIX}{task.replace('%', '%25').replace('/', '%2F')}/{queue}"
    return name if len(name.encode()) <= _LONGEST else None


def is_parking(queue: str) -> bool:
    """Whether this is such a queue."""
    return queue.startswith(_PREFIX)


def home_of(parking: str) -> Home:
    """Return what a parking queue is for; of another queue the queue itself, and no type."""
    if not is_parking(parking):
        return Home(parking, "")
    task, _, queue = parking.removeprefix(_PREFIX).partition("/")
    return Home(queue, task.replace("%2F", "/").replace("%25", "%"))


def parked(message: Message, parking: str, *, named: bool) -> Message:
    """Return a message as it waits in a parking queue. ``named``: its broker cannot park it and end its delivery in one
    step, so it may be parked twice; each time it is a copy of this sending, of which workers start the first.

    One that is a copy keeps its name: it may have begun under that, and under another one would never run again. One
    that does not say when it was sent is none, for a task id may be used twice."""
    headers = {**message.headers, _WAY: [message.exchange, message.routing_key]}
    moved = msgspec.structs.replace(message, queue=parking, exchange="", routing_key=parking, due=None, headers=headers)
    sent = sent_at(message.headers)
    if not named or COPY in headers or sent is None:
        return moved
    sending = f"{message.id} {sent!r} {headers.get('retries')}".encode("utf-8", "surrogateescape") + message.body
    return moved.copied(f"parked:{hashlib.sha256(sending).hexdigest()[:32]}")


def unparked(message: Message) -> Message:
    """Return a message as it was before it was parked; one that never was as it is."""
    match message.headers.get(_WAY):
        case [str(exchange), str(key)]:
            headers = {name: value for name, value in message.headers.items() if name != _WAY}
            properties = message.properties
            if isinstance(info := properties.get("delivery_info"), dict):
                # Some brokers' messages say it there, too.
                properties = {**properties, "delivery_info": {**info, "exchange": exchange, "routing_key": key}}
            return msgspec.structs.replace(
                message,
                queue=home_of(message.queue).queue,
                exchange=exchange,
                routing_key=key,
                headers=headers,
                properties=properties,
            )
    return message


def at_home(delivery: Delivery) -> Delivery:
    """Return a delivery from a parking queue as if it had been fetched from its own queue; the lease is the same."""
    if not is_parking(delivery.queue):
        return delivery
    message = None if delivery.message is None else unparked(delivery.message)
    return msgspec.structs.replace(delivery, queue=home_of(delivery.queue).queue, message=message)
