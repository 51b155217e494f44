"""What the contract's tests share: places to open stores on, messages to send, and waiting for facts.

Owns no rule. ``Place`` is what a store's own tests provide; everything else here is for the contract's modules.
"""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import pytest

from talo.stores.base import Death, Delivery, ResultMeta, Settlement, Store, Turn, Verdict
from talo.wire.message import Message

__all__ = ["ContractCase", "Place", "bodies", "death", "document", "end", "eventually", "message", "race"]

T = TypeVar("T")
_serial = itertools.count(1)


class Place(Protocol):
    """Where the stores of one test keep their things: empty at first, apart from every other test's place.

    It closes what it opened when the test is over. A place whose queues can hold bytes that make no message also has
    ``push_raw(queue: str, raw: bytes) -> None``; its tests take ``RawContract`` besides ``StoreContract``.
    """

    def open(self, **options: Any) -> Store:
        """Return a new Store object on this place, as another process would have it."""
        ...


class ContractCase:
    """Base of the contract's classes. A subclass provides the fixture ``place``."""

    @pytest.fixture
    def store(self, place: Place) -> Store:
        """The store of the process under test."""
        return place.open()

    @pytest.fixture
    def other(self, place: Place) -> Store:
        """The same place as another process sees it."""
        return place.open()


def eventually(assertion: Callable[[], T], timeout: float = 10, interval: float = 0.01) -> T:
    """Call ``assertion`` until it raises no AssertionError; return what it returned, or raise its last error."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return assertion()
        except AssertionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(interval)


def message(queue: str = "q", body: bytes | str = b"", **fields: Any) -> Message:
    """Return a message as the app would send it; ``body`` tells it from others."""
    task_id = fields.pop("id", None) or f"{next(_serial)}-{uuid.uuid4().hex[:12]}"
    headers = {"lang": "py", "task": fields.pop("task", "contract.task"), "id": task_id, "retries": 0, "argsrepr": "()"}
    fields.setdefault("properties", {"correlation_id": task_id, "delivery_mode": 2})
    data = body.encode() if isinstance(body, str) else body
    return Message(queue=queue, headers=headers, body=data, routing_key=queue, **fields)


def bodies(found: Turn | Sequence[Delivery]) -> list[str]:
    """Return the bodies of the deliveries, in their order."""
    deliveries = found.deliveries if isinstance(found, Turn) else found
    return [each.message.body.decode() for each in deliveries if each.message is not None]


def end(delivery: Delivery, verdict: Verdict = Verdict.DONE, **fields: Any) -> Settlement:
    """Return the settlement that ends this delivery."""
    return Settlement(lease=delivery.lease, verdict=verdict, **fields)


def death(of: Delivery | None = None, reason: str = "failed", **fields: Any) -> Death:
    """Return why a delivery becomes a dead letter."""
    if of is not None and of.message is not None:
        fields = {"task_id": of.message.id, "task": of.message.task, **fields}
    return Death(reason=reason, **fields)


def document(task_id: str, status: str = "SUCCESS", value: Any = None, expires: float | None = 60.0) -> ResultMeta:
    """Return a result in the form that the readers of results expect."""
    payload = msgspec.json.encode(
        {"status": status, "result": value, "traceback": None, "children": [], "task_id": task_id}
    )
    return ResultMeta(task_id=task_id, status=status, payload=payload, expires=expires)


def race(runners: Sequence[Callable[[], T]], timeout: float = 60) -> list[T]:
    """Start every runner at the same moment, each in its own thread; return their answers, or raise what one raised."""
    gate = threading.Barrier(len(runners))
    answers: list[T] = []
    errors: list[BaseException] = []

    def run(runner: Callable[[], T]) -> None:
        gate.wait(timeout)
        try:
            answers.append(runner())
        except BaseException as error:  # noqa: BLE001  it is raised again, in the thread of the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(runner,), daemon=True) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    assert not any(thread.is_alive() for thread in threads), "a runner hangs"
    if errors:
        raise errors[0]
    return answers
