"""A message as code beside Celery holds it: read, and ended once.

Owns its form and the words for its end. Made of a delivery by ``consuming`` and ``strategy``.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from typing import Any

from talo.errors import SecurityError, TaloError
from talo.stores.base import Death, Delivery, Verdict
from talo.wire import serializers
from talo.wire.message import Message as WireMessage

__all__ = ["Message", "MessageStateError", "Settle", "rejection"]

Settle = Callable[[Verdict, Death | None], None]


def rejection(requeue: bool) -> tuple[Verdict, Death | None]:
    """How a message ends that its consumer rejects: as a dead letter, or back in its queue."""
    return (
        (Verdict.AGAIN, None) if requeue else (Verdict.DEAD, Death(reason="rejected", text="rejected by its consumer"))
    )


class MessageStateError(TaloError):
    """A message was acknowledged, rejected or requeued twice, or by one who does not hold it."""


class Message:
    """A message as strategies, consumers and receivers read it."""

    def __init__(
        self,
        body: Any = None,
        delivery_tag: Any = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        delivery_info: Any = None,
        properties: Any = None,
        headers: Any = None,
        payload: Any = None,
        channel: Any = None,
        settle: Settle | None = None,
        **_more: Any,
    ) -> None:
        self.body = body
        self.channel = channel
        self.delivery_tag = delivery_tag
        self.content_type = content_type
        self.content_encoding = content_encoding
        self.delivery_info = delivery_info or {}
        self.properties = properties or {}
        self.headers = headers or {}
        #: Content types that ``decode`` takes; None: all that are known.
        self.accept: Collection[str] | None = None
        #: What went wrong before it came here.
        self.errors: tuple[Any, ...] = ()
        self._payload = payload
        self._settle = settle
        self.acknowledged = False

    @classmethod
    def of(cls, delivery: Delivery, raw: WireMessage, channel: Any, settle: Settle | None) -> Message:
        """The message of a delivery; ``settle`` ends it, None where its reader is given other means."""
        return cls(
            body=raw.body,
            delivery_tag=delivery.lease.token,
            content_type=raw.content_type,
            content_encoding=raw.content_encoding,
            delivery_info={
                "exchange": raw.exchange,
                "routing_key": raw.routing_key,
                "priority": raw.priority,
                "redelivered": delivery.deliveries > 0,
            },
            properties=raw.properties,
            headers=raw.headers,
            channel=channel,
            settle=settle,
        )

    @property
    def payload(self) -> Any:
        """The decoded body. ``SecurityError`` for a form that is not accepted, ``DecodeError`` for one that is not what
        it says."""
        if self._payload is None:
            codec = serializers.get(self.content_type or "application/json")
            if self.accept is not None and codec.content_type not in self.accept:
                raise SecurityError(f"a body of the type {codec.content_type} is not accepted here")
            self._payload = codec.loads(self.body)
        return self._payload

    def decode(self) -> Any:
        """The decoded body; errors as of ``payload``."""
        return self.payload

    def ack(self, multiple: bool = False) -> None:
        """It is done with. ``MessageStateError`` if it was before."""
        del multiple
        self._end(Verdict.DONE)

    def reject(self, requeue: bool = False) -> None:
        """It becomes a dead letter; with ``requeue`` as ``requeue()``."""
        self._end(*rejection(requeue))

    def requeue(self) -> None:
        """It goes back to its queue, as the next one."""
        self._end(Verdict.AGAIN)

    def ack_log_error(self, logger: Any, errors: Any, multiple: bool = False) -> None:
        """``ack``; an error of these kinds is a line in the log."""
        self._logged(logger, errors, lambda: self.ack(multiple))

    def reject_log_error(self, logger: Any, errors: Any, requeue: bool = False) -> None:
        """``reject``; an error of these kinds is a line in the log."""
        self._logged(logger, errors, lambda: self.reject(requeue))

    def bury(self, exc: BaseException) -> None:
        """Make it a dead letter that tells of an exception, unless it has ended."""
        if not self.acknowledged:
            text = "".join(traceback.format_exception(exc))
            self._end(
                Verdict.DEAD, Death(reason="failed", text=f"{type(exc).__name__}: {exc}", detail={"traceback": text})
            )

    def _end(self, verdict: Verdict, death: Death | None = None) -> None:
        if self.acknowledged or self._settle is None:
            raise MessageStateError("this message has ended, or is not yours to end")
        self._settle(verdict, death)
        self.acknowledged = True

    @staticmethod
    def _logged(logger: Any, errors: Any, act: Callable[[], None]) -> None:
        try:
            act()
        except errors as exc:
            logger.critical("Couldn't end a message: %r", exc)
