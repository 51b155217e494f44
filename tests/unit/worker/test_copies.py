"""Messages that their sender may have published twice: the first copy runs, as often as it takes; another never."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from talo.app.app import Talo
from talo.errors import StoreUnavailable
from talo.execution.run import Run, call_sync
from talo.execution.settle import settlement_of
from talo.stores.base import Delivery, Lease, Settlement, Verdict
from talo.stores.closings import Closings
from talo.wire.message import COPY, Message
from talo.worker.intake import COPY_TTL, Intake


@pytest.fixture
def app() -> Iterator[Talo]:
    with Talo("copies", broker=f"memory://{uuid.uuid4().hex}", set_as_current=False) as app:

        @app.task(name="add", bind=True, default_retry_delay=0)
        def add(self, x: int) -> int:  # type: ignore[no-untyped-def]
            if not self.request.retries:
                raise self.retry()
            return x

        app.store.broker.open("me", worker="t", slots=1, lease=60.0)
        yield app


def copies(app: Talo, *names: str | None) -> list[Delivery]:
    """Deliveries of one task, each under a copy id of its own."""
    message = app.prepare("add", (1,), {}, {"task_id": "a"})
    headers = [{**message.headers, COPY: name} if name else message.headers for name in names]
    app.store.broker.send([message.anew(each, message.body, None) for each in headers])
    return app.store.broker.turn([], "me", ["celery"], 10).deliveries


def intake(app: Talo) -> Intake:
    locks = app.store.locks
    return Intake(
        app.env,
        lambda _task_id: False,
        1.0,
        first=lambda task_id, copy: locks.acquire(f"copy:{task_id}", copy, COPY_TTL),
    )


def test_of_two_copies_one_runs_and_the_other_ends_without_a_trace(app: Talo) -> None:
    first, second = copies(app, "1", "2")
    admits = intake(app)
    assert isinstance(admits.admit(first), Run)
    ended = admits.admit(second)
    assert ended == Settlement(lease=second.lease)


def test_the_first_copy_passes_again_when_it_is_redelivered_or_retried(app: Talo) -> None:
    [delivery] = copies(app, "1")
    admits = intake(app)
    assert isinstance(admits.admit(delivery), Run)
    run = admits.admit(delivery)
    assert isinstance(run, Run)
    call_sync(run)
    app.store.broker.settle([settlement_of(run)])
    [retried] = app.store.broker.turn([], "me", ["celery"], 10).deliveries
    assert retried.message is not None and retried.message.headers["retries"] == 1
    assert isinstance(admits.admit(retried), Run)


def test_messages_without_the_header_ask_nobody(app: Talo) -> None:
    asked: list[str] = []
    admits = Intake(app.env, lambda _task_id: False, 1.0, first=lambda task_id, _copy: bool(asked.append(task_id)))
    assert all(isinstance(admits.admit(delivery), Run) for delivery in copies(app, None, None))
    assert asked == []


def test_while_nobody_can_be_asked_a_copy_waits(app: Talo) -> None:
    def away(_task_id: str, _copy: str) -> bool:
        raise StoreUnavailable("away")

    [delivery] = copies(app, "1")
    settlement = Intake(app.env, lambda _task_id: False, 1.0, first=away).admit(delivery)
    assert isinstance(settlement, Settlement)
    assert (settlement.verdict, settlement.result) == (Verdict.AGAIN, None) and settlement.delay > 0


def test_what_an_end_frees_is_known_by_that_end_whatever_its_task_id(app: Talo) -> None:
    # Given a step sent twice by one end, and once more, under the same id, by another
    first, second = (freed_by(app, "once:a") for _ in range(2))
    other = freed_by(app, "once:b")
    app.store.broker.send([first, second, other])
    deliveries = app.store.broker.turn([], "me", ["celery"], 10).deliveries
    # Then of the one end's a single copy runs, and so does that of the other
    admits = intake(app)
    assert [isinstance(admits.admit(each), Run) for each in deliveries] == [True, False, True]


def freed_by(app: Talo, closes: str) -> Message:
    step = app.prepare("add", (1,), {}, {"task_id": "a"})
    [message] = Closings.freed(Settlement(lease=Lease("me", 1), closes=closes, follow=[step]))
    return message
