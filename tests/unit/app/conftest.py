"""An app on a private memory store, and the far side of it: what a worker would see and do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from talo import Talo
from talo.app import current
from talo.stores.base import ResultMeta
from talo.wire.message import Message
from talo.wire.protocol import Call, decode
from talo.wire.results import encode_result

_names = itertools.count()


class FarSide:
    """What stands in the app's store, and the ends that a worker would give it."""

    def __init__(self, app: Talo) -> None:
        self.app = app

    def messages(self, *queues: str) -> list[Message]:
        """Take all messages of the queues out of the store."""
        broker = self.app.store.broker
        broker.open("far", worker="w@far", slots=1, lease=60)
        turn = broker.turn([], "far", list(queues or ("celery",)), 10_000)
        return [delivery.message for delivery in turn.deliveries if delivery.message is not None]

    def message(self, *queues: str) -> Message:
        """Take out the only message there is."""
        (message,) = self.messages(*queues)
        return message

    def calls(self, *queues: str) -> list[Call]:
        """Take out all, decoded as a worker decodes them."""
        return [decode(message, self.app.env.accept) for message in self.messages(*queues)]

    def call(self, *queues: str) -> Call:
        """The only message, decoded as a worker decodes it."""
        return decode(self.message(*queues), self.app.env.accept)

    def end(self, task_id: str, result: Any = None, state: str = "SUCCESS", **fields: Any) -> None:
        """Store a result."""
        payload = encode_result(task_id, state, result, **fields)
        self.app.backend.store([ResultMeta(task_id=task_id, status=state, payload=payload, expires=60)])


@pytest.fixture
def app() -> Iterator[Talo]:
    """A new app, made the current one for the length of the test."""
    before, default = current._State.current, current._State.default
    name = f"app{next(_names)}"
    made = Talo("t", broker=f"memory://{name}")
    yield made
    made.close()
    current._State.current, current._State.default = before, default


@pytest.fixture
def far(app: Talo) -> FarSide:
    """The far side of ``app``."""
    return FarSide(app)
