"""A message as one item of a Redis list: kombu's JSON envelope.

Owns the envelope; the body inside stays as it is (``protocol`` reads it); keys, priorities and leases are the store's.
Properties that we do not know survive ``unpack`` and ``pack``, ``delivery_tag`` included: a message put back keeps it.
"""

from __future__ import annotations

import binascii
from typing import Any

import msgspec

from talo.errors import DecodeError
from talo.wire._faults import Fault, malformed
from talo.wire._ids import new_id
from talo.wire._json import dumps, loads
from talo.wire.form import FilledForm
from talo.wire.message import Message
from talo.wire.sent import SENT

__all__ = ["pack", "unpack"]

_encode = msgspec.json.Encoder().encode


def pack(message: Message) -> bytes:
    """Return the list item for a message. ``EncodeError`` if a header or property cannot be written."""
    if type(message) is FilledForm:
        try:
            return _filled(message)
        except ValueError:
            pass  # Half a surrogate pair in what is shown of the arguments: for the long way.
    return _written(message, message.properties.get("delivery_tag") or new_id())


def _written(message: Message, delivery_tag: str) -> bytes:
    properties = message.properties
    info = properties.get("delivery_info")
    route = {"exchange": message.exchange, "routing_key": message.routing_key}
    return dumps(
        {
            "body": _base64(message.body).decode("ascii"),
            "content-encoding": message.content_encoding,
            "content-type": message.content_type,
            "headers": message.headers,
            "properties": {
                **properties,
                "delivery_info": {**info, **route} if isinstance(info, dict) else route,
                "priority": message.priority,
                "body_encoding": "base64",
                "delivery_tag": delivery_tag,
            },
        }
    )


def _filled(message: FilledForm) -> bytes:
    """The list item of a form's message: all but its blanks has been written before."""
    form, headers, properties = message.form, message.headers, message.properties
    if form.printed is None:
        form.printed = _printed(form.model)
    return form.printed % (
        _base64(message.body),
        _encode(headers["id"]),
        _encode(headers["group"]),
        _encode(headers["group_index"]),
        _encode(headers["root_id"]),
        _encode(headers["parent_id"]),
        _encode(headers["argsrepr"]),
        _encode(headers["kwargsrepr"]),
        _encode(headers[SENT]),
        _encode(properties["correlation_id"]),
        _encode(properties["reply_to"]),
        _encode(new_id()),
    )


def _printed(model: Message) -> bytes:
    """The list item of a model with a ``%b`` in each blank, in the order of ``_filled``."""
    body, tag = new_id().encode(), new_id()
    blanks = ("id", "group", "group_index", "root_id", "parent_id", "argsrepr", "kwargsrepr", SENT)
    headers = {name: new_id() for name in blanks}
    properties = {name: new_id() for name in ("correlation_id", "reply_to")}
    marked = msgspec.structs.replace(
        model, body=body, headers={**model.headers, **headers}, properties={**model.properties, **properties}
    )
    text = _written(marked, tag).replace(b"%", b"%%")
    for mark in (_base64(body), *map(_encode, (*headers.values(), *properties.values(), tag))):
        text = text.replace(mark, b"%b")
    return text


def _base64(body: bytes) -> bytes:
    return binascii.b2a_base64(body, newline=False)


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
