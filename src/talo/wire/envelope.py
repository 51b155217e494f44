"""A message as one item of a Redis list: kombu's JSON envelope.

Owns the envelope; the body inside stays as it is (``protocol`` reads it); keys, priorities and leases are the store's.
Properties that we do not know survive ``unpack`` and ``pack``, ``delivery_tag`` included: a message put back keeps it.
"""

from __future__ import annotations

import binascii
from operator import itemgetter
from typing import Any

import msgspec

from talo.errors import DecodeError
from talo.wire._faults import Fault, malformed
from talo.wire._ids import new_id
from talo.wire._json import dumps, loads
from talo.wire.form import BLANK_HEADERS, BLANK_PROPERTIES, FilledForm, Form
from talo.wire.message import Message

__all__ = ["pack", "unpack"]

_encode = msgspec.json.Encoder().encode
_headers, _properties = itemgetter(*BLANK_HEADERS), itemgetter(*BLANK_PROPERTIES)


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
    return message.form.printed(_printed) % (
        _base64(message.body),
        *map(_encode, _headers(message.headers)),
        *map(_encode, _properties(message.properties)),
        _encode(new_id()),
    )


def _printed(form: Form) -> bytes:
    """The list item of a form with a ``%b`` in each blank, in the order of ``_filled``."""
    model, tag = form.marked(), new_id()
    text = _written(model, tag).replace(b"%", b"%%")
    for mark in (_base64(model.body), *map(_encode, (*_headers(model.headers), *_properties(model.properties), tag))):
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
