"""What ends leaves a record: which facts it carries, which are kept, and that none is missing, whoever settles."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from talo.app.app import Talo
from talo.execution.history import Keeper, error_of
from talo.execution.run import Run, call_sync
from talo.execution.settle import settlement_of
from talo.stores.base import Delivery, ResultMeta, Settlement
from talo.stores.history import History, RunQuery, RunRecord
from talo.wire.message import Message
from talo.worker.intake import Intake
from talo.worker.janitor import EVERY, PAUSE, STEP, Janitor
from talo.worker.lines import Death, Running
from talo.worker.options import WorkerOptions
from talo.worker.share import Common, Share
from talo.worker.split import split_of
from talo.worker.undertaker import Undertaker


class Broken(Exception):
    """A failure of the tests' own."""


def below(text: str) -> None:
    raise Broken(text)


@pytest.fixture
def app() -> Iterator[Talo]:
    with Talo("history", broker=f"memory://{uuid.uuid4().hex}", set_as_current=False) as app:

        @app.task(name="add")
        def add(x: int, y: int = 0) -> int:
            return x + y

        @app.task(name="fail")
        def fail(text: str) -> None:
            below(text)

        @app.task(name="fail_elsewhere")
        def fail_elsewhere(text: str) -> None:
            raise Broken(text)

        @app.task(name="again", bind=True, default_retry_delay=60)
        def again(self: Any) -> None:
            try:
                below("once")
            except Broken as exc:
                raise self.retry(exc=exc) from exc

        yield app


def kept(app: Talo) -> History:
    assert app.store.history is not None
    return app.store.history


def fetch(app: Talo, owner: str = "me") -> list[Delivery]:
    app.finalize()
    app.store.broker.open(owner, worker="w@test", slots=1, lease=30.0)
    return app.store.broker.turn([], owner, ["celery"], 100).deliveries


def work(app: Talo, revoked: bool = False) -> None:
    """Run everything that is ready, as a worker would."""
    app.env.hostname = "w@test"
    intake = Intake(app.env, lambda _: revoked, 0.0)
    for delivery in fetch(app):
        run = intake.admit(delivery)
        if isinstance(run, Run):
            call_sync(run)
            run = settlement_of(run)
        app.store.broker.settle(split_of(app.store, app.result_store, app.state_store)([run]))


def the_run(app: Talo) -> RunRecord:
    [run] = kept(app).runs(RunQuery(), 10).runs
    return run


def test_a_success_tells_when_where_and_with_what(app: Talo) -> None:
    sent = app.send_task("add", (1,), {"y": 2}, headers={"mine": 1})
    before = time.time()
    work(app)
    run = the_run(app)
    assert (run.id, run.name, run.queue, run.state, run.worker) == (sent.id, "add", "celery", "SUCCESS", "w@test")
    assert (run.args, run.kwargs, run.attempt, run.root, run.error) == ("(1,)", "{'y': 2}", 0, sent.id, None)
    assert run.seconds is not None and run.waited is not None and run.sent is not None
    assert 0 <= run.seconds < 60 and 0 <= run.waited < 60 and abs(run.ended - before) < 60
    assert abs(run.started - run.waited - run.sent) < 1e-3 if run.started else False


def test_waiting_counts_from_the_moment_it_was_due(app: Talo) -> None:
    app.send_task("add", (1,), headers={"talo-sent": time.time() - 1000}, eta=dt.datetime.now(dt.UTC))
    work(app)
    waited = the_run(app).waited
    assert waited is not None and waited < 500


def test_a_failure_tells_why_and_failures_of_one_kind_are_one(app: Talo) -> None:
    for task, text in (("fail", "one"), ("fail", "two"), ("fail_elsewhere", "one")):
        app.send_task(task, (text,))
        work(app)
    elsewhere, second, first = kept(app).runs(RunQuery(), 10).runs
    assert (first.error, first.dead, first.state) == ("Broken: one", "failed", "FAILURE")
    assert first.traceback is not None and "below" in first.traceback
    assert first.fingerprint == second.fingerprint != elsewhere.fingerprint
    [one, two] = kept(app).failures(0, 10)
    assert sorted((one.count, two.count)) == [1, 2]


def test_an_error_that_cannot_be_shown_costs_nothing() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise TypeError("no")

    assert error_of(Mute()) == "Mute: <its text raised TypeError>"


def test_a_retry_is_an_attempt_with_its_reason(app: Talo) -> None:
    sent = app.send_task("again")
    work(app)
    [run] = kept(app).attempts(sent.id)
    assert (run.state, run.error, run.dead) == ("RETRY", "Broken: once", None)
    assert run.fingerprint


def test_what_does_not_start_is_told_too(app: Talo) -> None:
    app.send_task("add", (1,), expires=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5))
    work(app)
    app.send_task("add", (2,))
    work(app, revoked=True)
    app.send_task("nobody knows it")
    work(app)
    unknown, revoked, expired = kept(app).runs(RunQuery(), 10).runs
    assert (expired.state, expired.error, expired.seconds) == ("REVOKED", "expired", None)
    assert (revoked.state, revoked.error, revoked.args) == ("REVOKED", "revoked", "(2,)")
    assert (unknown.state, unknown.dead, unknown.name) == ("FAILURE", "unregistered", "nobody knows it")


@pytest.mark.parametrize(
    "headers",
    [
        {"task": 7, "id": [1]},
        {"task": "\ud800\0" * 1000, "id": "x", "root_id": {}, "group": 3, "retries": "many"},
        {"task": "add", "id": "x", "argsrepr": "\ud800\0", "talo-sent": "soon", "message_headers": "mine", "eta": 5},
        {"task": "add", "id": "x" * 100_000, "expires": "never", "args": object},
    ],
)
def test_a_hostile_message_is_told_and_ends(app: Talo, headers: dict[str, Any]) -> None:
    app.finalize()
    app.store.broker.open("me", worker="w@test", slots=1, lease=30.0)
    message = Message(queue="celery", headers={"id": "y"}, body=b"[]")
    app.store.broker.send([message])
    [delivery] = app.store.broker.turn([], "me", ["celery"], 1).deliveries
    delivery.message = Message(queue="celery", headers=headers, body=b"[]")
    settlement = Intake(app.env, lambda _: False, 0.0).admit(delivery)
    assert isinstance(settlement, Settlement) and settlement.run is not None
    app.store.broker.settle([settlement])
    run = the_run(app)
    assert run.error and run.dead
    for text in (run.name, run.id, run.args, run.error):
        assert "\0" not in text and len(text.encode()) <= 4000


def test_an_error_with_odd_characters_is_told(app: Talo) -> None:
    app.send_task("fail", ("a\0b",))
    work(app)
    assert the_run(app).error == "Broken: a\\0b"


def test_a_lost_attempt_is_told_and_the_last_one_is_the_end(app: Talo) -> None:
    options = WorkerOptions(hostname="w@test", queues=("celery",), concurrency=1, lease=30.0, max_deliveries=2)
    share = Share(0, 1, Common())
    app.finalize()
    app.store.broker.open("agent", worker="w@test", slots=0, lease=30.0)
    undertaker = Undertaker(app, options, "agent")
    sent = app.send_task("add", (1,))
    for number in range(2):
        [delivery] = fetch(app, f"child{number}")
        running = [Running(delivery.lease.token, 0.0, 0.0)]
        undertaker.bury(
            Death(
                share=0, pid=1, owner=f"child{number}", status="SIGKILL", exit_code=-9, peak_kib=1, running=running,
                victim=0, why="", deliberate=False,
            ),
            share.ring,
        )  # fmt: skip
    lost, ended = kept(app).attempts(sent.id)
    assert (lost.state, lost.seconds, ended.state, ended.dead) == ("LOST", None, "FAILURE", "worker_lost")
    assert lost.error is not None and "SIGKILL" in lost.error
    assert {each.state: each.count for each in kept(app).counters(0, time.time() + 60, 3600)} == {
        "LOST": 1,
        "FAILURE": 1,
    }


@pytest.mark.parametrize(
    ("mode", "expected", "counted"),
    [("all", 7, 7), ("sampled", 4, 7), ("failures", 2, 7), ("off", 0, 0)],
)
def test_a_setting_says_what_is_kept(app: Talo, mode: str, expected: int, counted: int) -> None:
    app.conf.history = mode
    app.conf.history_success_rate = 2
    for task in ("add",) * 5 + ("fail",) * 2:
        app.send_task(task, (1,))
    work(app)
    found = kept(app).count(RunQuery())
    assert found.get("FAILURE", 0) == min(expected, 2)
    # A slow machine earns more places meanwhile.
    assert expected <= sum(found.values()) <= (7 if mode == "sampled" else expected)
    assert sum(each.count for each in kept(app).counters(0, time.time() + 60, 3600)) == counted


def test_of_successes_so_many_are_kept_in_a_second() -> None:
    keeper = Keeper("sampled", 10.0, 5.0, 50.0)
    first = sum(keeper.keep("SUCCESS", 100.0 + n / 1000) is not None for n in range(1000))
    second = sum(keeper.keep("SUCCESS", 101.0 + n / 1000) is not None for n in range(1000))
    assert 10 <= first <= 21 and 9 <= second <= 11
    assert keeper.keep("FAILURE", 101.5) == 50.0
    slow = Keeper("sampled", 0.1, 5.0, 50.0)
    assert sum(slow.keep("SUCCESS", 100.0 + n) is not None for n in range(100)) in (10, 11)
    assert Keeper("sampled", 0.0, 5.0, 50.0).keep("SUCCESS", 1e9) is None


def test_where_the_broker_keeps_no_history_it_is_told_beside_it(app: Talo) -> None:
    # Given a broker without history, and a store that has one
    with Talo("other", broker=f"memory://{uuid.uuid4().hex}", set_as_current=False) as state:
        broker = app.store
        history, broker.history = broker.history, None
        try:
            run = RunRecord(id="a", name="add", queue="q", state="SUCCESS", ended=time.time(), keep=60.0)
            app.send_task("add", (1,))
            [delivery] = fetch(app)
            settlements = [Settlement(lease=delivery.lease, run=run)]
            # When it is told twice, because the first turn was in doubt
            for _ in range(2):
                told = split_of(broker, broker, state.store)(settlements)
                # Then the settlement carries nothing that the broker does not understand
                assert [each.run for each in told] == [None]
            assert split_of(broker, broker, None)(settlements)[0].run is None
        finally:
            broker.history = history
        assert kept(state).attempts("a") == [run]


def test_the_janitor_trims_in_steps_and_one_of_a_fleet_does_it(app: Talo) -> None:
    app.conf.history_max_runs = 5
    kept(app).record(
        [RunRecord(id=str(n), name="add", queue="q", state="SUCCESS", ended=time.time(), keep=60.0) for n in range(8)]
    )
    one, other = Janitor(app, "one"), Janitor(app, "other")
    one.sweep(time.monotonic())
    assert len(kept(app).runs(RunQuery(), 10).runs) == 8
    one.sweep(time.monotonic() + 2 * EVERY)
    assert [run.id for run in kept(app).runs(RunQuery(), 10).runs] == ["7", "6", "5", "4", "3"]
    app.conf.history_max_runs = 2
    other.sweep(time.monotonic() + 2 * EVERY)
    assert len(kept(app).runs(RunQuery(), 10).runs) == 5


def test_the_janitor_goes_on_while_more_has_expired_than_one_step_deletes(app: Talo) -> None:
    # Given more results that have expired than two steps delete
    results = app.store.results
    results.store(
        [ResultMeta(task_id=str(n), status="SUCCESS", payload=b"{}", expires=-1.0) for n in range(2 * STEP + 1)]
    )
    # When the janitor's time has come, then it does not wait for the next one
    janitor, at = Janitor(app, "one"), time.monotonic() + 2 * EVERY
    for step in range(3):
        janitor.sweep(at + step * 2 * PAUSE)
    assert results.cleanup(STEP) == 0
