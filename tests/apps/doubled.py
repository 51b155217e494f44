"""The app of workflows on a network that delivers everything twice: whatever is sent, by a client or in a settlement,
is put into its queue two times.

Each sending gets a mark of its own, which its two copies share and ``step`` writes into the trace; so the trace tells
how often something was sent, however often it ran.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from talo.stores.base import Settlement
from talo.stores.redis.broker import RedisBroker
from talo.stores.sql.broker import SqlBroker
from talo.wire.message import Message
from tests.apps.flows import app
from tests.apps.traced import trace

__all__ = ["app", "step"]


@app.task(bind=True)
def step(self: Any, number: int) -> int:
    trace("step", self.request.id, sending=(self.request.headers or {}).get("test-sending"))
    return number + 1


def twice(messages: Sequence[Message]) -> list[Message]:
    marked = [
        msgspec.structs.replace(each, headers={**each.headers, "test-sending": uuid.uuid4().hex}) for each in messages
    ]
    return [each for message in marked for each in (message, message)]


def _settling(settlements: Sequence[Settlement]) -> list[Settlement]:
    return [msgspec.structs.replace(each, follow=twice(each.follow)) if each.follow else each for each in settlements]


def _repeat(broker: Any) -> None:
    send, settle, turn = broker.send, broker.settle, broker.turn

    @functools.wraps(send)
    def send_twice(self: Any, messages: Sequence[Message], **options: Any) -> None:
        send(self, twice(messages), **options)

    @functools.wraps(settle)
    def settle_twice(self: Any, settlements: Sequence[Settlement]) -> Any:
        return settle(self, _settling(settlements))

    @functools.wraps(turn)
    def turn_twice(self: Any, settlements: Sequence[Settlement], *rest: Any) -> Any:
        return turn(self, _settling(settlements), *rest)

    broker.send, broker.settle, broker.turn = send_twice, settle_twice, turn_twice


for _broker in (RedisBroker, SqlBroker):
    _repeat(_broker)
