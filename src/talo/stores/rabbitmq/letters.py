"""A task message as AMQP carries it, in Celery's form, and what Talo adds to one that comes back.

Owns the header ``talo`` (charges and suspicion, only on what has been charged) and the header ``talo-death`` (only on
dead letters); the bytes are ``frames``'s. Called by ``broker``, ``owner`` and ``dead``.
"""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

import msgspec

from talo.stores.rabbitmq.channel import Letter
from talo.stores.rabbitmq.frames import PROPERTIES, read_properties
from talo.stores.records import DeadLetter, Death
from talo.wire.message import Message

__all__ = ["Facts", "buried", "exhumed", "packed", "unpacked"]

_MARKS = "talo"
_DEATH = "talo-death"
_DELAYED = re.compile(r"(?:[01]\.){28}")
#: Headers that RabbitMQ adds on the way; they say nothing of the next one.
_OF_THE_WAY = frozenset({"x-delivery-count", "x-acquired-count", "x-death"})
_KNOWN = frozenset(name for name, _, _ in PROPERTIES) - {"headers", "content_type", "content_encoding", "priority"}
#: ``user_id`` is refused by the server unless it names the very user of the connection.
_PASSED_ON = _KNOWN - {"user_id"}


class Facts(NamedTuple):
    """What travels with a message beside itself."""

    deliveries: int = 0
    suspect: bool = False


class _Grave(msgspec.Struct):
    id: str
    queue: str
    died: float
    deliveries: int
    death: Death


def packed(message: Message, facts: Facts = Facts()) -> tuple[dict[str, Any], bytes]:
    """The properties and body of a message."""
    properties = {name: value for name, value in message.properties.items() if name in _PASSED_ON}
    if len(str(properties.get("correlation_id", "")).encode("utf-8", "surrogateescape")) > 255:
        del properties["correlation_id"]  # The id stands in the headers in any case.
    headers = message.headers
    if facts != (0, False):
        headers = {**headers, _MARKS: [facts.deliveries, facts.suspect]}
    properties["headers"] = headers
    properties["content_type"] = message.content_type
    properties["content_encoding"] = message.content_encoding
    properties["priority"] = message.priority
    properties.setdefault("delivery_mode", 2)
    return properties, message.body


def unpacked(letter: Letter, queue: str) -> tuple[Message, Facts]:
    """The message of a letter, and what travelled with it."""
    properties = read_properties(letter.header)
    headers = properties.pop("headers", {})
    marks = headers.pop(_MARKS, None)
    facts = Facts(int(marks[0]), bool(marks[1])) if type(marks) is list and len(marks) == 2 else Facts()
    for name in _OF_THE_WAY & headers.keys():
        del headers[name]
    exchange, key = letter.exchange, letter.routing_key
    if _DELAYED.match(key):
        for name in [name for name in headers if name.startswith(("x-first-death-", "x-last-death-"))]:
            del headers[name]
        # It has waited, and came by the exchange for that.
        exchange, key = "", key[56:]
    message = Message(
        queue=queue,
        headers=headers,
        body=letter.body,
        content_type=properties.pop("content_type", "") or "application/json",
        content_encoding=properties.pop("content_encoding", "") or "utf-8",
        priority=properties.pop("priority", 0),
        properties=properties,
        exchange=exchange,
        routing_key=key,
    )
    return message, facts


def buried(message: Message, letter_id: str, queue: str, deliveries: int, death: Death) -> tuple[dict[str, Any], bytes]:
    """The properties and body of a dead letter: the message as it was, and why."""
    properties, body = packed(message)
    grave = _Grave(letter_id, queue, time.time(), deliveries, death)
    way = [message.exchange, message.routing_key]
    properties["headers"] = {
        **message.headers,
        _DEATH: msgspec.json.encode(grave).decode(),
        f"{_DEATH}-reason": death.reason,
        f"{_DEATH}-way": way,
    }
    properties.pop("expiration", None)
    properties["delivery_mode"] = 2
    if death.expires is not None:
        properties["expiration"] = str(max(0, round(death.expires * 1000)))
    return properties, body


def exhumed(letter: Letter) -> DeadLetter:
    """The dead letter that stands in a letter."""
    message, _ = unpacked(letter, "")
    message.properties.pop("expiration", None)
    text = message.headers.pop(_DEATH, None)
    message.headers.pop(f"{_DEATH}-reason", None)
    way = message.headers.pop(f"{_DEATH}-way", None)
    try:
        grave = msgspec.json.decode(text or "", type=_Grave)
    except msgspec.MsgspecError:
        # Somebody else put it there.
        grave = _Grave(str(letter.tag), letter.routing_key, 0.0, 0, Death(reason="unknown"))
    message.queue = grave.queue
    message.exchange, message.routing_key = way if type(way) is list and len(way) == 2 else ("", grave.queue)
    return DeadLetter(
        id=grave.id,
        queue=grave.queue,
        death=grave.death,
        died=grave.died,
        deliveries=grave.deliveries,
        message=message,
    )
