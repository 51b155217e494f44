"""When a message was sent, and since when it could have been fetched.

Owns the header ``talo-sent``, which Talo's senders write beside Celery's own (a Celery worker hands it on among the
user's). Messages of Celery's senders do not say when they were sent. Written by ``app.send``, ``form`` and whoever
sends a message once more; read for waiting times and the ages of queues.
"""

from __future__ import annotations

import datetime as dt

from talo.wire._times import parse_iso
from talo.wire.message import Message

__all__ = ["SENT", "ready_since", "sent_at"]

#: Epoch seconds by the sender's clock.
SENT = "talo-sent"


def sent_at(headers: dict[str, object]) -> float | None:
    """Return when this was sent (epoch seconds), if it says."""
    sent = headers.get(SENT)
    return float(sent) if type(sent) is float or type(sent) is int else None


def ready_since(message: Message) -> float | None:
    """Return since when a message may be fetched (epoch seconds): since it was sent, or since it was due."""
    headers = message.headers
    sent = sent_at(headers)
    eta = headers.get("eta")
    if isinstance(eta, str):
        try:
            due = parse_iso(eta, dt.UTC)
        except ValueError:
            return sent
        return due if sent is None else max(sent, due)
    return sent
