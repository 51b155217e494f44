"""Messages and results for the tests of the Redis store."""

from __future__ import annotations

import itertools
import json
from typing import Any

from talo.stores.base import ResultMeta, Turn
from talo.wire.message import Message

__all__ = ["bodies", "document", "message"]

_serial = itertools.count(1)


def message(queue: str = "q", body: str = "", **fields: Any) -> Message:
    task_id = fields.pop("id", None) or f"task-{next(_serial)}"
    headers = {"lang": "py", "task": "t.add", "id": task_id}
    return Message(
        queue=queue,
        headers=headers,
        body=body.encode(),
        routing_key=queue,
        properties={"correlation_id": task_id, "delivery_mode": 2},
        **fields,
    )


def document(task_id: str, status: str = "SUCCESS", value: Any = None, expires: float | None = 60) -> ResultMeta:
    payload = json.dumps({"status": status, "result": value, "task_id": task_id}).encode()
    return ResultMeta(task_id=task_id, status=status, payload=payload, expires=expires)


def bodies(turn: Turn) -> list[str]:
    """The bodies of what a turn brought, in their order."""
    return [each.message.body.decode() for each in turn.deliveries if each.message is not None]
