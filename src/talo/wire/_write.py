"""Writing a task message: the body, and the complete message around it in protocol 2 or 1.

Owns names, order and defaults of what is written; routing and identity are the caller's. Called through ``protocol``.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict, Unpack

from talo.errors import EncodeError
from talo.wire import compression as _compression
from talo.wire import serializers
from talo.wire._headers import HEADERS, HEADERS_OF_1
from talo.wire._ids import origin as this_process
from talo.wire._times import Moment, epoch_of, iso
from talo.wire.message import Message
from talo.wire.repr import saferepr
from talo.wire.serializers import JSON, Codec

__all__ = ["Embed", "HeaderFields", "encode_body", "make_message"]

_NO_EMBED: Final[dict[str, Any]] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_NO_KWARGS: Final[dict[str, Any]] = {}


class HeaderFields(TypedDict, total=False):
    """Headers of protocol 2 that a sender may set; those left out have Celery's defaults."""

    shadow: str | None
    group: str | None
    group_index: int | None
    retries: int
    timelimit: Sequence[float | None]
    root_id: str | None
    parent_id: str | None
    argsrepr: str | None
    kwargsrepr: str | None
    origin: str | None
    ignore_result: bool | None
    replaced_task_nesting: int
    stamped_headers: Sequence[str] | None
    stamps: Mapping[str, Any]


class Embed(TypedDict, total=False):
    """What follows the call, as signatures; ``chain`` in reverse order."""

    callbacks: Sequence[Mapping[str, Any]] | None
    errbacks: Sequence[Mapping[str, Any]] | None
    chain: Sequence[Mapping[str, Any]] | None
    chord: Mapping[str, Any] | None


def make_message(
    task: str,
    id: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] = _NO_KWARGS,
    *,
    queue: str,
    exchange: str = "",
    routing_key: str | None = None,
    priority: int = 0,
    reply_to: str | None = None,
    delivery_mode: int = 2,
    eta: Moment | None = None,
    expires: Moment | None = None,
    now: float | None = None,
    tz: dt.tzinfo = dt.UTC,
    embed: Embed | None = None,
    codec: Codec | str = JSON,
    compression: str | None = None,
    task_protocol: int = 2,
    headers: Mapping[str, Any] | None = None,
    **fields: Unpack[HeaderFields],
) -> Message:
    """Return a complete message, as a Celery client would send it.

    ``eta`` and ``expires`` are epoch seconds or datetimes (naive ones in ``tz``); ``eta`` also becomes ``due``. From
    ``now`` (epoch seconds) the property ``expiration`` counts. ``headers`` are the user's own and win over the standard
    ones. Errors: ``EncodeError``, ``ImproperlyConfigured`` (unknown codec or compression), ``MissingExtra``.
    """
    codec = serializers.get(codec)
    due = None if eta is None else epoch_of(eta, tz)
    end = None if expires is None else epoch_of(expires, tz)
    sent = {
        **HEADERS,
        "task": task,
        "id": id,
        "eta": None if due is None else iso(due),
        "expires": None if end is None else iso(end),
        "timelimit": [None, None],
        "stamps": {},
        **fields,
    }
    after = {**_NO_EMBED, **embed} if embed else _NO_EMBED
    body: Any = (args, kwargs, after)
    if task_protocol == 1:
        body, sent = _body_of_1(sent, args, kwargs, after), {}
    else:
        _complete(sent, args, kwargs)
    data, extra = _compressed(_dumped(body, codec), compression)
    if headers:
        sent.update(headers)
    if extra:
        sent.update(extra)
    properties: dict[str, Any] = {"correlation_id": id, "reply_to": reply_to, "delivery_mode": delivery_mode}
    if end is not None:
        # Text, milliseconds. What is over already gets 0, with which a broker drops it at once.
        left = end - (time.time() if now is None else now)
        properties["expiration"] = str(max(round(left * 1000), 0))
    return Message(
        queue=queue,
        headers=sent,
        body=data,
        content_type=codec.content_type,
        content_encoding=codec.content_encoding,
        properties=properties,
        priority=priority,
        exchange=exchange,
        routing_key=queue if routing_key is None else routing_key,
        due=due,
    )


def _body_of_1(
    sent: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    if after["chain"]:
        raise EncodeError("chain: protocol 1 has no place for it; use links, or protocol 2")
    body = {name: sent[name] for name in HEADERS_OF_1}
    body |= {"args": args, "kwargs": kwargs, "utc": True, "taskset": sent["group"], **after}
    del body["chain"]
    return body


def encode_body(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    codec: Codec | str = JSON,
    compression: str | None = None,
    **embed: Unpack[Embed],
) -> tuple[bytes, dict[str, Any]]:
    """Return the body of protocol 2 and the headers that reading it needs (``compression``).

    ``EncodeError`` names the place, such as ``args[1].user``; ``ImproperlyConfigured`` an unknown compression.
    """
    after = {**_NO_EMBED, **embed} if embed else _NO_EMBED
    return _compressed(_dumped((args, kwargs, after), serializers.get(codec)), compression)


def _dumped(body: Any, codec: Codec) -> bytes:
    try:
        return codec.dumps(body)
    except EncodeError as exc:
        raise _named(exc, body, codec) from exc


def _named(exc: EncodeError, body: Any, codec: Codec) -> EncodeError:
    """Say the same in the caller's words: which part of the call cannot be written, and where in it."""
    parts = body if isinstance(body, dict) else {"args": body[0], "kwargs": body[1], **body[2]}
    for name, part in parts.items():
        try:
            codec.dumps(part)
        except EncodeError as found:
            return EncodeError(str(found).replace("$", name, 1))
    return exc


def _compressed(body: bytes, compression: str | None) -> tuple[bytes, dict[str, Any]]:
    if compression is None:
        return body, {}
    body, kind = _compression.compress(body, compression)
    return body, {"compression": kind}


def _complete(sent: dict[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Fill in what follows from the rest of the message where the caller did not say it."""
    if sent["root_id"] is None:
        sent["root_id"] = sent["id"]
    if sent["origin"] is None:
        sent["origin"] = this_process()
    if sent["argsrepr"] is None:
        sent["argsrepr"] = saferepr(args)
    if sent["kwargsrepr"] is None:
        sent["kwargsrepr"] = saferepr(kwargs)
