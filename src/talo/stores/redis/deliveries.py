"""Bytes of a list, a lease or a dead letter, turned into deliveries.

Owns the form in which they stand (``lua/_messages.lua`` describes it) as far as it is read; the envelope itself is
``wire.envelope``'s. Called by ``broker``, ``leases`` and ``dead``.
"""

from __future__ import annotations

import re

from talo.errors import MalformedMessage
from talo.stores.base import Delivery, Lease
from talo.stores.redis.keys import queue_of
from talo.wire.envelope import unpack
from talo.wire.message import Message

__all__ = ["decoded", "delivery_of", "opened"]

_IN_OBJECT = re.compile(rb'\{"talo":\[(\d+),([01])\],')
_IN_FRONT = re.compile(rb"\0talo:(\d+),([01])\0")


def delivery_of(lease: Lease, queue: str, raw: bytes, former: int | None = None) -> Delivery:
    """The delivery of ``raw``, whatever it is: what makes no message comes with its fault."""
    deliveries, suspect = 0, False
    if raw.startswith((b'{"talo":[', b"\0talo:")):
        deliveries, suspect, raw = _facts(raw)
    try:
        return Delivery(
            lease=lease,
            queue=queue,
            message=unpack(raw, queue),
            deliveries=deliveries,
            suspect=suspect,
            former=former,
        )
    except MalformedMessage as error:
        return Delivery(
            lease=lease,
            queue=queue,
            message=None,
            raw=raw,
            fault=str(error),
            deliveries=deliveries,
            suspect=suspect,
            former=former,
        )


def _facts(raw: bytes) -> tuple[int, bool, bytes]:
    match = _IN_OBJECT.match(raw)
    if match:
        return int(match[1]), match[2] == b"1", b"{" + raw[match.end() :]
    match = _IN_FRONT.match(raw)
    if match:
        return int(match[1]), match[2] == b"1", raw[match.end() :]
    return 0, False, raw


def opened(value: bytes) -> tuple[str, bytes]:
    """The queue and the raw of what stands in a lease."""
    length, _, rest = value.partition(b":")
    cut = int(length)
    return queue_of(rest[:cut]), rest[cut:]


def decoded(raw: bytes, queue: str) -> Message | None:
    """The message, or None if the bytes make none."""
    try:
        return unpack(raw, queue)
    except MalformedMessage:
        return None
