"""A task message as AMQP carries it, in Celery's form, and what Talo adds to one that comes back.

Owns the header ``talo`` (charges and suspicion, only on what has been charged) and the header ``talo-death`` (only on
dead letters); the bytes are ``frames``'s. Called by ``broker``, ``owner`` and ``dead``.
"""

from __future__ import annotations

import re
import time
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from talo.errors import EncodeError
from talo.stores.rabbitmq.channel import Letter
from talo.stores.rabbitmq.frames import PROPERTIES, properties, read_properties, short, table, value
from talo.stores.records import DeadLetter, Death
from talo.wire.form import BLANK_HEADERS, BLANK_PROPERTIES, FilledForm, Form
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
_headers, _properties = itemgetter(*BLANK_HEADERS), itemgetter(*BLANK_PROPERTIES)


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


_NO_FACTS: Final = Facts()


def packed(message: Message, facts: Facts = _NO_FACTS) -> tuple[bytes, bytes]:
    """The properties of a message, as they are written, and its body."""
    if type(message) is FilledForm and facts == _NO_FACTS:
        try:
            return _filled(message), message.body
        except EncodeError:
            pass  # An id that is too long for a property: for the long way.
    return properties(_properties_of(message, facts)), message.body


def _filled(message: FilledForm) -> bytes:
    """The properties of a form's message: all but its blanks has been written before."""
    whole, table_of = message.form.printed(_printed)
    fields = table_of % (*map(value, _headers(message.headers)),)
    return whole % (len(fields).to_bytes(4, "big"), fields, *map(short, _properties(message.properties)))


def _printed(form: Form) -> tuple[bytes, bytes]:
    """The properties of a form, and apart from them the fields of its headers, with a ``%b`` in each blank, in the
    order of ``_filled``. A table begins with its length, four bytes, which is a blank, too."""
    model = form.marked()
    fields = table(model.headers)
    whole = properties(_properties_of(model, _NO_FACTS))
    before, _, after = (part.replace(b"%", b"%%") for part in whole.partition(fields))
    fields = fields[4:].replace(b"%", b"%%")
    for mark in map(value, _headers(model.headers)):
        fields = fields.replace(mark, b"%b")
    for mark in map(short, _properties(model.properties)):
        after = after.replace(mark, b"%b")
    return before + b"%b%b" + after, fields


def _properties_of(message: Message, facts: Facts) -> dict[str, Any]:
    found = {name: value for name, value in message.properties.items() if name in _PASSED_ON}
    if len(str(found.get("correlation_id", "")).encode("utf-8", "surrogateescape")) > 255:
        del found["correlation_id"]  # The id stands in the headers in any case.
    headers = message.headers
    if facts != _NO_FACTS:
        headers = {**headers, _MARKS: [facts.deliveries, facts.suspect]}
    found["headers"] = headers
    found["content_type"] = message.content_type
    found["content_encoding"] = message.content_encoding
    found["priority"] = message.priority
    found.setdefault("delivery_mode", 2)
    return found


def unpacked(letter: Letter, queue: str) -> tuple[Message, Facts]:
    """The message of a letter, and what travelled with it."""
    found = read_properties(letter.header)
    headers = found.pop("headers", {})
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
        content_type=found.pop("content_type", "") or "application/json",
        content_encoding=found.pop("content_encoding", "") or "utf-8",
        priority=found.pop("priority", 0),
        properties=found,
        exchange=exchange,
        routing_key=key,
    )
    return message, facts


def buried(message: Message, letter_id: str, queue: str, deliveries: int, death: Death) -> tuple[bytes, bytes]:
    """The properties and body of a dead letter: the message as it was, and why."""
    found = _properties_of(message, _NO_FACTS)
    grave = _Grave(letter_id, queue, time.time(), deliveries, death)
    way = [message.exchange, message.routing_key]
    found["headers"] = {
        **message.headers,
        _DEATH: msgspec.json.encode(grave).decode(),
        f"{_DEATH}-reason": death.reason,
        f"{_DEATH}-way": way,
    }
    found.pop("expiration", None)
    found["delivery_mode"] = 2
    if death.expires is not None:
        found["expiration"] = str(max(0, round(death.expires * 1000)))
    return properties(found), message.body


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
