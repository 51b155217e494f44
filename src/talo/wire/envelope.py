"""A message as one item of a Redis list: kombu's JSON envelope.

Owns the envelope; the body inside stays as it is (``protocol`` reads it); keys, priorities and leases are the store's.
Properties that we do not know survive ``unpack`` and ``pack``, ``delivery_tag`` included: a message put back keeps it.
"""

from __future__ import annotations

import binascii
from typing import Any

from talo.errors import DecodeError
from talo.wire._faults import Fault, malformed
from talo.wire._ids import new_id
from talo.wire._json import dumps, loads
from talo.wire.message import Message

__all__ = ["pack", "unpack"]


def pack(message: Message) -> bytes:
    """Return the list item for a message. ``EncodeError`` if a header or property cannot be written."""
    properties = message.properties
    info = properties.get("delivery_info")
    route = {"exchange": message.exchange, "routing_key": message.routing_key}
    return dumps(
        {
            "body": binascii.b2a_base64(message.body, newline=False).decode("ascii"),
            "content-encoding": message.content_encoding,
            "content-type": message.content_type,
            "headers": message.headers,
            "properties": {
                **properties,
                "delivery_info": {**info, **route} if isinstance(info, dict) else route,
                "priority": message.priority,
                "body_encoding": "base64",
                "delivery_tag": properties.get("delivery_tag") or new_id(),
            },
        }
    )


def unpack(raw: bytes, queue: str) -> Message:
    """Return the message of a list item found in ``queue``. ``MalformedMessage`` for whatever else is found there.

    Missing properties are tolerated: nothing here needs a ``delivery_tag``.
    """
    try:
        item = loads(raw)
    except DecodeError as exc:
        raise malformed(Fault.NOT_JSON, str(exc)) from exc
    if type(item) is not dict:
        raise malformed(Fault.NOT_OBJECT, f"the item is of type {type(item).__name__}")
    headers = item.get("headers")
    if type(headers) is not dict:
        if headers is not None:
            raise malformed(Fault.BAD_HEADERS, f"headers of type {type(headers).__name__}")
        headers = {}
    properties = item.get("properties")
    if type(properties) is not dict:
        if properties is not None:
            raise malformed(Fault.BAD_PROPERTIES, f"properties of type {type(properties).__name__}")
        properties = {}
    info = properties.get("delivery_info")
    if type(info) is not dict:
        info = {}
    priority = properties.pop("priority", 0)
    return Message(
        queue=queue,
        headers=headers,
        body=_body(item.get("body"), properties.pop("body_encoding", None)),
        content_type=_text(item.get("content-type")),
        content_encoding=_text(item.get("content-encoding")),
        properties=properties,
        priority=min(max(priority, 0), 255) if type(priority) is int else 0,
        exchange=_text(info.get("exchange")),
        routing_key=_text(info.get("routing_key")),
    )


def _body(body: Any, encoding: Any) -> bytes:
    if type(body) is not str:
        raise malformed(Fault.BAD_BODY, f"the envelope's body is of type {type(body).__name__}")
    if encoding != "base64":
        try:
            return body.encode()
        except UnicodeEncodeError as exc:
            raise malformed(Fault.BAD_BODY, str(exc)) from exc
    try:
        return binascii.a2b_base64(body)
    except ValueError as exc:
        raise malformed(Fault.BAD_BASE64, str(exc)) from exc


def _text(value: Any) -> str:
    return value if type(value) is str else ""
