"""Workflows whose workers are killed at random moments neither stick nor run a continuation twice."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from talo import chain, chord
from talo.errors import ChordError
from talo.stores.base import Delivery, Settlement
from talo.wire.message import Message
from tests.apps import flows
from tests.chaos.kit import LONG, Fleet, Storm, check, full, kill
from tests.servers.sqs import SqsServer
from tests.support import eventually

STORES = ["sqlite", "redis", "sqs"]
#: Messages on RabbitMQ, results elsewhere.
APART = ["rabbit redis", "rabbit postgres"]

#: RabbitMQ and SQS charge what comes again after a death; a task that is hit several times is no poison here.
CHARGED = {"TALO_TASK_MAX_DELIVERIES": "1000"}
#: What a poll brings for a process that is dead comes again when its lease ends.
SQS = {"TALO_WORKER_LEASE": "3"}


class Place(NamedTuple):
    """Where messages are, and where results are, if that is elsewhere."""

    broker: str
    results: str | None = None
    #: Of the broker's transport.
    options: Mapping[str, Any] = MappingProxyType({})

    def fleet(self, tmp: Path, app: str = "tests.apps.flows", **env: str) -> Fleet:
        env |= CHARGED if self.results is not None else {}
        env |= {**SQS, "TALO_BROKER_TRANSPORT_OPTIONS": json.dumps(dict(self.options))} if self.options else {}
        return Fleet(self.broker, tmp / "fleet", "-c", "3", app=app, env=env, results=self.results)


def a_place(request: pytest.FixtureRequest, tmp: Path) -> Place:
    if request.param == "redis":
        return Place(request.getfixturevalue("redis_url"))
    if request.param in APART:
        return Place(*(request.getfixturevalue(f"{name}_url") for name in request.param.split()))
    beside = f"sqlite:///{tmp}/t.sqlite3?synchronous=NORMAL"
    if request.param == "sqlite":
        return Place(beside)
    server: SqsServer = request.getfixturevalue("own_sqs")
    options = {
        "region": "us-east-1",
        "endpoint_url": server.endpoint,
        "ledger": f"{tmp}/ledger.sqlite3",
        "wait_time_seconds": 2,
    }
    return Place("sqs://key:secret@", beside, options)


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place of this test, which the app of workflows uses."""
    place = a_place(request, tmp_path)
    conf = flows.app.conf
    conf.broker_url, conf.result_backend, conf.broker_transport_options = (
        place.broker,
        place.results,
        dict(place.options),
    )
    flows.app.close_stores()
    yield place
    flows.app.store.broker.purge(["celery"])
    conf.result_backend, conf.broker_transport_options = None, {}
    flows.app.close_stores()


def strike(fleet: Fleet) -> Any:
    def one(chance: random.Random) -> None:
        # A worker whose children die as soon as they start gives up in the end: its init system starts the next.
        if fleet.last.ended:
            fleet.start()
        elif children := fleet.last.children():
            kill(chance.choice(children))

    return one


def ended(result: Any) -> Any:
    def ask() -> bool:
        return bool(result.ready())

    return ask


@pytest.mark.promise("W01")
def test_a_chain_is_complete_and_in_order_under_kills(place: Place, tmp_path: Path) -> None:
    # Given a chain, each step of which hands on what it got, and one more
    length = full(200, 60)
    steps = [flows.add.s(0, 0), *[flows.add.s(1) for _ in range(length - 1)]]
    with place.fleet(tmp_path) as workers:
        # When children are killed while it runs
        result = chain(*steps).apply_async()
        Storm().until(ended(result), strike(workers), 0.1)
        # Then it has come to its end
        assert result.get(timeout=LONG) == length - 1


# Beside a store of results two copies that end at the same moment in two processes may send what follows twice.
@pytest.mark.parametrize("place", ["sqlite", "redis"], indirect=True)
def test_each_step_is_sent_once_although_everything_is_delivered_twice(place: Place, tmp_path: Path) -> None:
    # Given workers on a network that doubles every message
    length = 200
    name = "tests.apps.doubled.step"
    steps = [flows.app.signature(name, (0,) if not n else ()) for n in range(length)]
    with place.fleet(tmp_path, "tests.apps.doubled") as workers:
        # When a chain runs while children are killed at random
        result = chain(*steps, app=flows.app).apply_async()
        repeat_everything()
        Storm().until(ended(result), strike(workers), 0.15)
        assert result.get(timeout=LONG) == length
        eventually(nothing_left, LONG, 0.05)
    # Then each step ran (its copies, too), and was sent once
    sendings: dict[str, set[str]] = {}
    for line in workers.trace.lines():
        if line[0] == "step":
            sendings.setdefault(line[1], set()).add(line[4])
    assert len(sendings) == length
    assert {task_id: marks for task_id, marks in sendings.items() if len(marks) != 1} == {}
    # The first may have been fetched before it could be doubled here.
    assert sum(workers.trace.count("step").values()) >= 2 * length - 1


@pytest.mark.promise("W02")
@pytest.mark.parametrize("place", [*STORES, *APART], indirect=True)
@pytest.mark.parametrize("every", [0, 100], ids=["body", "error callback"])
def test_a_chord_goes_on_once_under_kills_and_repeated_messages(place: Place, tmp_path: Path, every: int) -> None:
    # Given a chord, each message of which is in the queue twice, and results that expire at once
    count = full(10_000, 600)
    body_id = str(uuid.uuid4())
    header = [flows.fail_at.s(n, every or count * 2) for n in range(count)]
    body = flows.gather.s().set(task_id=body_id).on_error(flows.on_error.s())
    with place.fleet(tmp_path, RESULT_EXPIRES="600") as workers:
        kill(workers.last.pid, 19)
        result = chord(header, body).apply_async()
        repeat_everything()
        forget_results(result.parent)
        kill(workers.last.pid, 18)
        # When children are killed at random
        Storm().until(ended(result), strike(workers), 0.15)
        eventually(nothing_left, LONG, 0.05)
        # Then the body, or its error callback, was sent once
        if every:
            with pytest.raises(ChordError):
                result.get(timeout=LONG)
            # RabbitMQ does not tell what its consumers hold: the callback may still be on its way.
            eventually(lambda: check(workers.trace.count("errback")[body_id]), LONG)
            assert workers.trace.count("errback")[body_id] == 1
            assert workers.trace.count("gather")[body_id] == 0
        else:
            assert result.get(timeout=LONG) == list(range(count))
            # It may have been cut short and run again, and its message too was in the queue twice: of one sending.
            assert len({line[4] for line in workers.trace.lines() if line[:2] == ["gather", body_id]}) == 1


@pytest.mark.parametrize("place", ["sqlite", "redis"], indirect=True)
def test_a_very_large_chord_takes_bounded_memory(place: Place, tmp_path: Path) -> None:
    # Given a chord of very many members
    count = full(100_000, 3_000)
    with place.fleet(tmp_path) as workers:
        result = chord([flows.quick.s(n, 0) for n in range(count)], flows.gather.s()).apply_async()
        # When it has run
        assert result.get(timeout=LONG) == list(range(count))
        # Then no process of the worker ever took more than two kilobytes for each
        peaks = {pid: peak_kib(pid) for pid in (workers.last.pid, *workers.last.descendants())}
        assert max(peaks.values()) < 80_000 + 2 * count, peaks
    assert workers.trace.count("gather")[result.id] == 1


def peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def repeat_everything() -> None:
    """Put a copy of each waiting message behind it."""
    broker = flows.app.store.broker
    broker.open("copier", worker="test", slots=1, lease=60)
    copies: list[Message] = []
    while batch := broker.turn([], "copier", ["celery"], 500).deliveries:
        copies += [message for each in batch if (message := _message(each)) is not None]
    taken = broker.held("copier")
    broker.send([*copies, *copies], timeout=LONG)
    broker.settle([Settlement(lease=each.lease) for each in taken])
    broker.close_owner("copier")


def _message(delivery: Delivery) -> Message | None:
    return delivery.message


def forget_results(group: Any) -> None:
    """As if they had expired."""
    flows.app.backend.forget([result.id for result in group.results[:100]])


def nothing_left() -> None:
    left = [q for q in flows.app.store.broker.stats(["celery"]) if q.ready or q.delayed or q.leased]
    check(not left, str(left))
