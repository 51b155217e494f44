"""The form of a message in its row: a head (everything small and rarely asked for) beside the body.

Owns the encoding of the head and the rows that go into and come out of the tables. It talks to no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from talo.errors import EncodeError, MessageTooLarge
from talo.stores.base import Delivery, Lease
from talo.wire.message import Message

__all__ = ["MAX_MESSAGE", "Parcel", "delivery", "json_list", "message", "pack", "timed"]

#: SQLite's own limit of a row is 10**9 bytes unless it was compiled with less.
MAX_MESSAGE = 512 * 1024 * 1024


class _Head(msgspec.Struct, array_like=True):
    headers: dict[str, Any]
    properties: dict[str, Any]
    content_type: str
    content_encoding: str
    exchange: str
    routing_key: str


class Parcel(NamedTuple):
    """A message ready to be written."""

    queue: str
    priority: int
    task_id: str | None
    task: str | None
    head: bytes
    body: bytes
    due: float | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Head).decode
json_list = msgspec.json.Encoder().encode


def pack(messages: Sequence[Message], limit: int | None = None) -> list[Parcel]:
    """Return the messages as they are written; none may be larger than ``limit`` bytes (default:
    ``MAX_MESSAGE``). Errors: ``EncodeError`` for headers, ``MessageTooLarge``."""
    most = MAX_MESSAGE if limit is None else min(limit, MAX_MESSAGE)
    parcels = []
    for each in messages:
        try:
            head = _encode(
                _Head(
                    each.headers,
                    each.properties,
                    each.content_type,
                    each.content_encoding,
                    each.exchange,
                    each.routing_key,
                )
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise EncodeError(f"headers or properties of task {each.id} cannot be written: {error}") from error
        if len(head) + len(each.body) > most:
            raise MessageTooLarge(len(head) + len(each.body), most, "the SQL store")
        parcels.append(Parcel(each.queue, each.priority, each.id, each.task, head, each.body, each.due))
    return parcels


def message(queue: str, priority: int, head: bytes, body: bytes) -> tuple[Message | None, str | None]:
    """Return the message of a row, or None and what is wrong with it."""
    try:
        found = _decode(head)
    except msgspec.MsgspecError as error:
        return None, f"bad_headers: the head of the row cannot be read: {error}"
    return (
        Message(
            queue=queue,
            headers=found.headers,
            body=body,
            content_type=found.content_type,
            content_encoding=found.content_encoding,
            properties=found.properties,
            priority=priority,
            exchange=found.exchange,
            routing_key=found.routing_key,
        ),
        None,
    )


def timed(queue: str, priority: int, head: bytes, due: float) -> bytes:
    """Return a head as that of a message which is due then (epoch seconds); what cannot be read stays as it is."""
    found, _ = message(queue, priority, head, b"")
    return head if found is None else pack([found.timed(due)])[0].head


def delivery(owner: str, token: int, row: Sequence[Any], former: int | None = None) -> Delivery:
    """Return the delivery of a row that begins with id, queue, priority, head, body, deliveries, suspect."""
    _, queue, priority, head, body, deliveries, suspect = row[:7]
    found, fault = message(queue, priority, head, body)
    return Delivery(
        lease=Lease(owner, token),
        queue=queue,
        message=found,
        raw=None if found is not None else head + body,
        fault=fault,
        deliveries=deliveries,
        suspect=bool(suspect),
        former=former,
    )
