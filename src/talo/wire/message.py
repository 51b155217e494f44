"""The one form in which a task message travels inside Talo.

Owns the struct; reading and writing its body is ``wire.protocol``, putting it on a server is the store's.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from talo.wire._times import iso

__all__ = ["COPY", "Message"]

#: Header of a message that its sender may have published twice: which of the copies this one is, and behind a blank of
#: what, unless that is its task. Of several a worker starts the one that comes first.
COPY = "talo-copy"


class Message(msgspec.Struct, kw_only=True):
    """A task message. ``body`` stays as it was encoded and unknown headers stay where they were, whoever handles it.

    Nobody changes a message after handing it over.
    """

    #: The queue in which it waits.
    queue: str
    #: Celery's protocol 2 headers, the user's own included; empty for protocol 1, whose fields are in the body.
    headers: dict[str, Any]
    body: bytes
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    #: AMQP basic properties by name (correlation_id, reply_to, delivery_mode, expiration, ...), without priority.
    properties: dict[str, Any] = {}
    priority: int = 0
    exchange: str = ""
    routing_key: str = ""
    #: Epoch seconds before which it is not fetched; None: at once.
    due: float | None = None

    @property
    def id(self) -> str | None:
        """The task id, as far as the headers say."""
        value = self.headers.get("id")
        return value if isinstance(value, str) else None

    @property
    def task(self) -> str | None:
        """The task name, as far as the headers say."""
        value = self.headers.get("task")
        return value if isinstance(value, str) else None

    def anew(self, headers: dict[str, Any], body: bytes, due: float | None) -> Message:
        """Return the message that goes the same way once more, under a delivery tag of its own."""
        return Message(
            queue=self.queue,
            headers=headers,
            body=body,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            properties={k: v for k, v in self.properties.items() if k != "delivery_tag"},
            priority=self.priority,
            exchange=self.exchange,
            routing_key=self.routing_key,
            due=due,
        )

    def timed(self, due: float) -> Message:
        """Return the same message for another time (epoch seconds), of which Celery's header tells too."""
        return msgspec.structs.replace(self, headers={**self.headers, "eta": iso(due)}, due=due)

    def copied(self, of: str = "") -> Message:
        """Return the same message as a copy of its own, of its task or of what ``of`` names."""
        return msgspec.structs.replace(self, headers={**self.headers, COPY: f"{uuid.uuid4().hex} {of}".rstrip()})
