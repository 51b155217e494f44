"""A message as SQS carries it: Celery's envelope in base64, charges as message attributes.

Owns both directions, and the size of an entry. Called by ``broker`` and ``poller``."""

from __future__ import annotations

import base64
import binascii
import math
import time
import uuid
from collections.abc import Mapping
from typing import Any

from talo.errors import MalformedMessage, MessageTooLarge
from talo.stores.base import Delivery, Lease
from talo.stores.sqs.ledger import Held
from talo.stores.sqs.queues import Queue
from talo.stores.sqs.receptions import Note
from talo.wire.envelope import pack, unpack
from talo.wire.message import Message

__all__ = [
    "BATCH",
    "LONGEST_DELAY",
    "RECEIVED",
    "body_of",
    "delivery_of",
    "entry_of",
    "received",
    "receptions_of",
    "size_of",
]

#: API reference, SendMessageBatch and its like: entries of one call; SendMessage: seconds of DelaySeconds.
BATCH, LONGEST_DELAY = 10, 900
_DELIVERIES, _SUSPECT = "talo-deliveries", "talo-suspect"
#: What a reception asks for besides the body.
RECEIVED: dict[str, Any] = {
    "MessageSystemAttributeNames": ["ApproximateReceiveCount"],
    "MessageAttributeNames": [_DELIVERIES, _SUSPECT],
}
#: Name, type and value of the two attributes count too (API reference, SendMessage).
_ATTRIBUTES = 60


def body_of(message: Message) -> str:
    """What stands in SQS for a message."""
    return base64.b64encode(pack(message)).decode("ascii")


def entry_of(
    queue: Queue,
    body: str,
    *,
    due: float | None = None,
    properties: Mapping[str, Any] | None = None,
    deliveries: int = 0,
    suspect: bool = False,
) -> dict[str, Any]:
    """An entry of a batch to be sent, without its Id. ``MessageTooLarge``."""
    entry: dict[str, Any] = {"MessageBody": body}
    if (size := size_of(entry)) > queue.limit:
        raise MessageTooLarge(size, queue.limit, f"the SQS queue {queue.name}")
    delay = 0 if due is None else math.ceil(due - time.time())
    if delay > 0:
        entry["DelaySeconds"] = delay
    if deliveries or suspect:
        entry["MessageAttributes"] = {
            _DELIVERIES: {"DataType": "Number", "StringValue": str(deliveries)},
            _SUSPECT: {"DataType": "Number", "StringValue": str(int(suspect))},
        }
    if queue.fifo:
        given = properties or {}
        entry["MessageGroupId"] = str(given.get("MessageGroupId") or "default")
        # One of its own for each send: a retry has the id of its task, and must not be taken for a repetition.
        entry["MessageDeduplicationId"] = str(given.get("MessageDeduplicationId") or uuid.uuid4())
    return entry


def size_of(entry: Mapping[str, Any]) -> int:
    """Bytes that an entry counts, with room for the charges that it may come back with."""
    return len(entry.get("MessageBody", "").encode()) + _ATTRIBUTES


def receptions_of(found: Mapping[str, Any]) -> int:
    """How often SQS has given it out, this time included."""
    return int(found.get("Attributes", {}).get("ApproximateReceiveCount", "1"))


def received(queue: Queue, found: Mapping[str, Any], until: float, note: Note | None) -> Held:
    """A reception, not entered anywhere yet. Who received it since the note, or ever, and was never heard of again is
    counted."""
    attributes, receptions = found.get("MessageAttributes", {}), receptions_of(found)
    if note is None:
        note = Note(0, _number(attributes, _DELIVERIES), bool(_number(attributes, _SUSPECT)))
    unheard = max(0, receptions - 1 - note.receptions)
    return Held(
        token=0,
        owner="",
        queue=queue.name,
        receipt=found["ReceiptHandle"],
        raw=found["Body"].encode(),
        deliveries=note.deliveries + unheard,
        suspect=note.suspect or unheard > 0,
        until=until,
        message=found["MessageId"],
        receptions=receptions,
    )


def _number(attributes: Mapping[str, Any], name: str) -> int:
    value = attributes.get(name, {}).get("StringValue", "0")
    return int(value) if isinstance(value, str) and value.isdigit() else 0


def delivery_of(held: Held, former: int | None = None) -> Delivery:
    """The delivery of what is held, whatever it is: what makes no message comes with its fault."""
    delivery = Delivery(
        lease=Lease(owner=held.owner, token=held.token),
        queue=held.queue,
        message=None,
        deliveries=held.deliveries,
        suspect=held.suspect,
        former=former,
    )
    raw = _decoded(held.raw)
    try:
        delivery.message = unpack(raw, held.queue)
    except MalformedMessage as error:
        delivery.raw, delivery.fault = raw, str(error)
    return delivery


def _decoded(body: bytes) -> bytes:
    """Celery writes base64, others may write the envelope as it is."""
    if body.lstrip()[:1] == b"{":
        return body
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        return body
