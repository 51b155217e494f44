"""One event: its fields, its key, its post. Celery's form.

Owns what every event carries and how events travel (one object, or a list under ``<group>.multi``); who sends them is
``dispatcher``'s and ``worker.telling``'s, what they add up to ``state``'s."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from talo.errors import MalformedMessage, TaloError
from talo.stores.records import Post
from talo.wire import serializers

__all__ = ["Event", "events_in", "group_of", "key_of", "post_of", "post_of_many", "stamp", "utcoffset"]

#: What nobody tells in one message: more is not read.
_MOST_BYTES = 16 << 20


def Event(type: str, _fields: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return the event ``type`` with these fields and, unless it is among them, the time."""
    event = {**(_fields or {}), **fields, "type": type}
    event.setdefault("timestamp", time.time())
    return event


def stamp(type: str, hostname: str, clock: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event with everything that each carries."""
    return {
        "hostname": hostname,
        "utcoffset": utcoffset(),
        "pid": os.getpid(),
        "clock": clock,
        "timestamp": time.time(),
        **fields,
        "type": type,
    }


def utcoffset() -> float:
    """Hours that this machine's zone is west of UTC now (Celery's sign: +05:30 is -5.5)."""
    return -(time.localtime().tm_gmtoff or 0) / 3600


def group_of(type: str) -> str:
    """``task`` of ``task-sent``."""
    return type.split("-", 1)[0]


def key_of(type: str) -> str:
    """The key under which an event is posted: ``task.sent``."""
    return type.replace("-", ".")


def post_of(event: Mapping[str, Any], exchange: str, serializer: str = "json") -> Post:
    """Return the post of one event."""
    return _post(dict(event), key_of(event["type"]), exchange, event["hostname"], serializer)


def post_of_many(
    events: Sequence[Mapping[str, Any]], group: str, exchange: str, hostname: str, serializer: str = "json"
) -> Post:
    """Return the post of several events of a group."""
    return _post(list(events), f"{group}.multi", exchange, hostname, serializer)


def _post(body: Any, key: str, exchange: str, hostname: str, serializer: str) -> Post:
    codec = serializers.get(serializer)
    return Post(
        exchange=exchange,
        kind="topic",
        key=key,
        body=codec.dumps(body),
        content_type=codec.content_type,
        content_encoding=codec.content_encoding,
        headers={"hostname": hostname},
        properties={"delivery_mode": 1},
    )


def events_in(post: Post, accept: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a post. ``MalformedMessage`` for what makes none, and for formats that are not accepted."""
    if post.content_type not in accept:
        raise MalformedMessage("bad_content_type", f"{post.content_type!r} is not accepted")
    if len(post.body) > _MOST_BYTES:
        raise MalformedMessage("too_large", f"{len(post.body)} bytes")
    try:
        body = serializers.get(post.content_type).loads(post.body)
    except TaloError as exc:
        raise MalformedMessage("undecodable", str(exc)) from exc
    for event in body if isinstance(body, list) else [body]:
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise MalformedMessage("bad_event", "an event is an object with a type")
        yield event
