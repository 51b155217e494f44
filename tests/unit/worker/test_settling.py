"""The settler, the undertaker and the watchdog over a real (memory) store: what becomes of deliveries, whoever dies."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from tests.support import eventually

from talo import errors
from talo.app.app import Talo
from talo.app.task import Task
from talo.execution.run import Run, call_sync
from talo.execution.settle import settlement_of
from talo.stores.base import Delivery, Lease, Settlement, Turn, Verdict
from talo.wire._faults import Fault
from talo.worker.child import Child
from talo.worker.intake import Intake
from talo.worker.lines import Death, Running
from talo.worker.options import WorkerOptions
from talo.worker.pools import ThreadPool
from talo.worker.settler import Settler
from talo.worker.share import Common, Share
from talo.worker.split import split_of
from talo.worker.undertaker import Undertaker
from talo.worker.watchdog import Watchdog

QUEUES = ("celery",)


@pytest.fixture
def app() -> Iterator[Talo]:
    with Talo("settling", broker=f"memory://{uuid.uuid4().hex}", set_as_current=False) as app:

        @app.task(name="add")
        def add(x: int, y: int) -> int:
            return x + y

        @app.task(name="once", acks_late=False)
        def once() -> None: ...

        @app.task(name="limited", time_limit=7)
        def limited() -> None: ...

        @app.task(name="backs_off", retry_backoff=1000, retry_backoff_max=1000, retry_jitter=False)
        def backs_off() -> None: ...

        app.finalize()
        yield app


@pytest.fixture
def options() -> WorkerOptions:
    return WorkerOptions(hostname="w@test", queues=QUEUES, concurrency=1, lease=30.0)


@pytest.fixture
def share() -> Share:
    return Share(0, 1, Common())


def make_settler(app: Talo, share: Share) -> Settler:
    return Settler(
        app.store,
        split_of(app.store, app.result_store),
        share.ring,
        hostname="w@test",
        role="child-0",
        slots=1,
        lease=30.0,
        opened=lambda owner: share.board.introduce(1, owner),
    )


def ready(app: Talo) -> list[str | None]:
    """Ids in the queue, in the order in which they would be fetched; they stay there."""
    app.store.broker.open("looker", worker="t", slots=1, lease=30.0)
    deliveries = app.store.broker.turn([], "looker", QUEUES, 100).deliveries
    app.store.broker.settle([Settlement(lease=d.lease, verdict=Verdict.AGAIN) for d in deliveries])
    return [d.message.id if d.message else None for d in deliveries]


def ids(deliveries: Sequence[Delivery]) -> list[str | None]:
    return [d.message.id if d.message else None for d in deliveries]


# -- settler ---------------------------------------------------------------------------------------------------------


def test_what_is_settled_leaves_the_ring_and_the_store(app: Talo, share: Share) -> None:
    settler = make_settler(app, share)
    app.send_task("add", (1, 2), task_id="a")
    [delivery] = settler.turn(QUEUES, 1)
    assert settler.add(Settlement(lease=delivery.lease))
    assert len(share.ring.read()) == 1
    settler.turn(QUEUES, 0)
    assert (share.ring.read(), settler.pending, settler.outstanding) == ([], 0, 0)
    assert app.store.broker.held(settler.owner) == []


def test_a_child_that_ends_gives_back_also_what_its_agent_took(app: Talo, share: Share, options: WorkerOptions) -> None:
    # Given a child that has fetched two tasks, the first of which its agent took, to give it back
    child = Child(app, msgspec.structs.replace(options, pool="threads"), share)
    child.settler = settler = make_settler(app, share)
    child.intake = Intake(app.env, lambda _task_id: False, 1.0)
    child._pool = pool = ThreadPool(child)
    for task_id in ("a", "b"):
        app.send_task("add", (1, 2), task_id=task_id)
    pool.offer(settler.turn(QUEUES, 2))
    share.claim()
    # When it ends before the agent comes to that
    child._give_back()
    settler.turn(QUEUES, 0)
    # Then it holds nothing, and both are ready
    assert app.store.broker.held(settler.owner) == []
    assert sorted(map(str, ready(app))) == ["a", "b"]


class Breaking:
    """A broker that breaks off after it has done what it was asked, as a connection may."""

    def __init__(self, broker: object) -> None:
        self._broker = broker
        self.breaks = 0

    def turn(self, *args: object) -> Turn:
        answer: Turn = self._broker.turn(*args)  # type: ignore[attr-defined]
        if self.breaks:
            self.breaks -= 1
            raise errors.StoreUnavailable("the answer was lost")
        return answer


def break_off(settler: Settler, app: Talo) -> Breaking:
    breaking = Breaking(app.store.broker)
    for name in ("settle", "held", "open", "close_owner"):
        setattr(breaking, name, getattr(app.store.broker, name))
    settler._broker = breaking  # type: ignore[assignment]
    return breaking


@pytest.mark.promise("D08")
def test_a_turn_whose_answer_was_lost_neither_loses_nor_repeats(app: Talo, share: Share) -> None:
    # Given a settlement on its way and a message waiting
    settler = make_settler(app, share)
    app.send_task("add", (1, 2), task_id="first")
    [first] = settler.turn(QUEUES, 1)
    app.send_task("add", (1, 2), task_id="second")
    settler.add(Settlement(lease=first.lease))
    # When the turn happens and its answer is lost
    breaking = break_off(settler, app)
    breaking.breaks = 1
    with pytest.raises(errors.StoreUnavailable):
        settler.turn(QUEUES, 1)
    assert settler.pending == 1 and len(share.ring.read()) == 1
    # Then the next one adopts what was leased, and the settlement is done once
    assert ids(settler.turn(QUEUES, 1)) == ["second"]
    assert settler.pending == 0
    assert [s.ready for s in app.store.broker.stats(QUEUES)] == [0]


@pytest.mark.promise("T11")
def test_an_owner_that_was_declared_dead_goes_on_under_a_new_name(app: Talo, share: Share) -> None:
    settler = make_settler(app, share)
    app.send_task("add", (1, 2), task_id="a")
    [delivery] = settler.turn(QUEUES, 1)
    before = settler.owner
    # Given that somebody has taken over what it held
    app.store.broker.open("reaper", worker="t", slots=0, lease=30.0)
    [taken] = app.store.broker.take_over(before, "reaper", 10, expired=False)
    app.store.broker.settle([Settlement(lease=taken.lease)])
    # When it settles all the same
    settler.add(Settlement(lease=delivery.lease, verdict=Verdict.AGAIN))
    assert settler.turn(QUEUES, 1) == []
    # Then nothing of it is applied, and it has a new name on its board
    assert settler.owner != before and share.board.owner == settler.owner
    assert ready(app) == []


# -- undertaker ------------------------------------------------------------------------------------------------------


def fetch(app: Talo, owner: str, limit: int = 10, slots: int = 1) -> list[Delivery]:
    app.store.broker.open(owner, worker="w@test", slots=slots, lease=30.0)
    return app.store.broker.turn([], owner, QUEUES, limit).deliveries


def make_undertaker(app: Talo, options: WorkerOptions) -> Undertaker:
    app.store.broker.open("agent", worker="w@test", slots=0, lease=30.0)
    return Undertaker(app, options, "agent")


def death_of(owner: str, running: Sequence[Delivery] = (), **facts: object) -> Death:
    base = Death(
        share=0,
        pid=77,
        owner=owner,
        status="SIGKILL",
        exit_code=-9,
        peak_kib=4321,
        running=[Running(d.lease.token, 0.5, 0.0) for d in running],
        victim=0,
        why="",
        deliberate=False,
    )
    return type(base)(**{name: facts.get(name, getattr(base, name)) for name in base.__struct_fields__})


@pytest.mark.promise("D02")
def test_what_ran_is_charged_what_waited_is_not_and_the_order_stays(
    app: Talo, options: WorkerOptions, share: Share
) -> None:
    for name in "abc":
        app.send_task("add", (1, 2), task_id=name)
    fetched = fetch(app, "dead")
    make_undertaker(app, options).bury(death_of("dead", fetched[:1]), share.ring)
    assert ready(app) == ["a", "b", "c"]
    assert [d.deliveries for d in fetch(app, "next")] == [1, 0, 0]


@pytest.mark.promise("D14")
def test_what_had_finished_is_settled_from_the_ring(app: Talo, options: WorkerOptions, share: Share) -> None:
    for name in "ab":
        app.send_task("add", (1, 2), task_id=name)
    first, second = fetch(app, "dead")
    share.ring.append(Settlement(lease=first.lease))
    undertaker = make_undertaker(app, options)
    undertaker.bury(death_of("dead", [second]), share.ring)
    assert ready(app) == ["b"]
    # And to bury again changes nothing
    undertaker.bury(death_of("dead", [second]), share.ring)
    assert ready(app) == ["b"]


@pytest.mark.promise("D05")
def test_the_third_death_is_the_last(app: Talo, options: WorkerOptions, share: Share) -> None:
    app.send_task("add", (1, 2), task_id="a")
    undertaker = make_undertaker(app, options)
    for number in range(3):
        undertaker.bury(death_of(f"dead{number}", fetch(app, f"dead{number}")), share.ring)
    assert ready(app) == []
    [letter] = app.store.broker.dead()
    assert letter.death.reason == "worker_lost"
    facts = letter.death.detail
    assert (facts["deliveries"], facts["status"], facts["exit_code"], facts["peak_kib"]) == (3, "SIGKILL", -9, 4321)
    assert app.AsyncResult("a").state == "FAILURE"
    with pytest.raises(errors.WorkerLostError):
        app.AsyncResult("a").get(timeout=1)


@pytest.mark.promise("D05")
def test_of_several_that_ran_together_none_is_blamed_for_sure(app: Talo, options: WorkerOptions, share: Share) -> None:
    for name in "abc":
        app.send_task("add", (1, 2), task_id=name)
    a, b, _c = fetch(app, "dead", slots=2)
    make_undertaker(app, options).bury(death_of("dead", [a, b]), share.ring)
    # They are charged, and are to run alone; what waited is not suspected
    assert [(d.deliveries, d.suspect) for d in fetch(app, "next")] == [(1, True), (1, True), (0, False)]


@pytest.mark.promise("D04")
def test_at_most_once_is_recorded_as_lost(app: Talo, options: WorkerOptions, share: Share) -> None:
    app.tasks["once"].apply_async(task_id="a")
    undertaker = make_undertaker(app, options)
    undertaker.bury(death_of("dead", fetch(app, "dead")), share.ring)
    assert ready(app) == []
    assert [letter.death.reason for letter in app.store.broker.dead()] == ["worker_lost"]
    assert app.AsyncResult("a").state == "FAILURE"


@pytest.mark.promise("D04")
def test_at_most_once_that_had_not_started_runs(app: Talo, options: WorkerOptions, share: Share) -> None:
    app.tasks["once"].apply_async(task_id="a")
    fetch(app, "dead")
    make_undertaker(app, options).bury(death_of("dead"), share.ring)
    assert ready(app) == ["a"]


@pytest.mark.promise("D04")
def test_at_most_once_that_we_killed_ourselves_is_lost_too(app: Talo, options: WorkerOptions, share: Share) -> None:
    app.tasks["once"].apply_async(task_id="a")
    app.send_task("add", (1, 2), task_id="b")
    death = death_of("dead", fetch(app, "dead"), deliberate=True)
    make_undertaker(app, options).bury(death, share.ring)
    assert ready(app) == ["b"]
    assert [letter.death.task_id for letter in app.store.broker.dead()] == ["a"]


@pytest.mark.promise("L01")
def test_a_task_over_its_limit_fails_and_its_neighbours_go_back_unharmed(
    app: Talo, options: WorkerOptions, share: Share
) -> None:
    app.tasks["limited"].apply_async(task_id="a")
    app.send_task("add", (1, 2), task_id="b")
    both = fetch(app, "dead")
    death = death_of("dead", both, victim=both[0].lease.token, why="time_limit", deliberate=True)
    make_undertaker(app, options).bury(death, share.ring)
    with pytest.raises(errors.TimeLimitExceeded) as caught:
        app.AsyncResult("a").get(timeout=1)
    assert caught.value.args == (7,)
    assert [(d.message and d.message.id, d.deliveries) for d in fetch(app, "next")] == [("b", 0)]


def test_handlers_of_a_dead_run_see_its_request(app: Talo, options: WorkerOptions, share: Share) -> None:
    # Given
    seen: list[tuple[str, Any]] = []

    class Noted(Task[Any, Any]):
        def on_failure(self, exc: BaseException, *args: Any) -> None:
            seen.append(("on_failure", self.request.id))

        def after_return(self, status: str, *args: Any) -> None:
            seen.append((status, self.request.id))

    app.task(lambda: None, name="noted", base=Noted, at_most_once=True).apply_async(task_id="a")
    # When
    make_undertaker(app, options).bury(death_of("dead", fetch(app, "dead")), share.ring)
    # Then
    assert seen == [("on_failure", "a"), ("FAILURE", "a")]


@pytest.mark.parametrize("handler", ["on_failure", "after_return"])
def test_a_handler_that_raises_costs_nothing_but_itself(
    app: Talo, options: WorkerOptions, share: Share, handler: str
) -> None:
    # Given
    def breaks(*args: Any) -> None:
        raise LookupError(handler)

    base = type("Fragile", (Task,), {handler: breaks})
    app.task(lambda: None, name="fragile", base=base, at_most_once=True).apply_async(task_id="a")
    app.send_task("add", (1, 2), task_id="b")
    # When the process dies that had both, and ran the first
    both = fetch(app, "dead")
    make_undertaker(app, options).bury(death_of("dead", both[:1]), share.ring)
    # Then it has failed by its handler, as a living one would have, and the other goes on
    with pytest.raises(LookupError, match=handler):
        app.AsyncResult("a").get(timeout=1)
    assert ready(app) == ["b"]
    assert [letter.death.task_id for letter in app.store.broker.dead()] == ["a"]


def test_the_delay_after_a_death_is_the_task_s_own_back_off(app: Talo, options: WorkerOptions, share: Share) -> None:
    app.tasks["backs_off"].apply_async(task_id="a")
    make_undertaker(app, options).bury(death_of("dead", fetch(app, "dead")), share.ring)
    [stats] = app.store.broker.stats(QUEUES)
    assert (stats.ready, stats.delayed) == (0, 1)


def test_what_is_no_message_dies_too_when_it_kills(app: Talo, options: WorkerOptions, share: Share) -> None:
    app.store.broker.push_raw("celery", b"\x00junk")  # type: ignore[attr-defined]
    undertaker = make_undertaker(app, options)
    for number in range(3):
        undertaker.bury(death_of(f"dead{number}", fetch(app, f"dead{number}")), share.ring)
    assert [letter.death.reason for letter in app.store.broker.dead()] == ["worker_lost"]


@pytest.mark.promise("T05")
def test_an_expired_owner_is_reaped_without_its_worker(app: Talo, options: WorkerOptions) -> None:
    # Given a machine that died with one task begun and two fetched
    for name in "abc":
        app.send_task("add", (1, 2), task_id=name)
    app.store.broker.open("gone", worker="other@host", slots=1, lease=0.05)
    app.store.broker.turn([], "gone", QUEUES, 10)
    undertaker = make_undertaker(app, options)

    def reaped() -> None:
        undertaker.reap(spare=set())
        assert ready(app) == ["a", "b", "c"]

    eventually(reaped)
    # Then only the oldest is charged, and all are suspect
    assert [(d.deliveries, d.suspect) for d in fetch(app, "next")] == [(1, True), (0, True), (0, True)]


def test_relief_settles_what_is_finished_and_returns_what_has_not_started(app: Talo, options: WorkerOptions) -> None:
    for name in "abcd":
        app.send_task("add", (1, 2), task_id=name)
    a, b, c, d = fetch(app, "busy")
    make_undertaker(app, options).relieve("busy", [c.lease.token, d.lease.token], [Settlement(lease=a.lease)])
    assert ids(app.store.broker.held("busy")) == ["b"]
    assert ready(app) == ["c", "d"]
    # And the child's own repeat is refused
    assert app.store.broker.settle([Settlement(lease=Lease(owner="busy", token=a.lease.token))]) != []
    assert b.lease.token


# -- watchdog --------------------------------------------------------------------------------------------------------


@pytest.mark.promise("B04")
def test_a_child_that_does_not_look_although_there_is_work_is_stuck(app: Talo, options: WorkerOptions) -> None:
    share = Share(3, 1, Common())
    share.board.introduce(1, "o")
    share.board.note_ready()
    share.board.note_fetching(100.0 + options.idle_look)
    watchdog = Watchdog(app.store.broker, options, [share])
    # Without work nobody is stuck
    assert watchdog.stuck(200.0) == [] and watchdog.stuck(1000.0) == []
    app.send_task("add", (1, 2))
    # With work it has its time
    assert watchdog.stuck(129.0) == [] and watchdog.stuck(131.0) == []
    assert watchdog.stuck(141.0) == [3]
    # A child that has looked since is merely unlucky, however long ago
    share.board.note_fetching(165.0)
    assert watchdog.stuck(180.0) == []
    share.board.note_fetching(201.0)
    assert watchdog.stuck(212.0) == []
    # One that runs a task is busy
    share.board.note_fetching(120.0)
    share.board.start(0, 9, 1000.0, 0.0, 0.0)
    assert watchdog.stuck(1050.0) == [] and watchdog.stuck(1060.0) == []


@pytest.mark.promise("M07")
def test_the_watchdog_asks_nobody_while_children_look_by_themselves(options: WorkerOptions) -> None:
    share = Share(3, 1, Common())
    share.board.introduce(1, "o")
    share.board.note_ready()
    asked: list[str] = []

    def queues() -> list[str]:
        asked.append("queues")
        return []

    watchdog = Watchdog(Talo(broker="memory://", set_as_current=False).store.broker, options, [share], queues)
    # Given a child that looks as late as one does that waits
    for now in range(100, 200):
        if now % options.idle_look == 0:
            share.board.note_fetching(now + options.idle_look)
        watchdog.stuck(float(now))
    # Then nothing was asked for, not even what to ask for; but it is when the child has gone silent
    assert asked == []
    watchdog.stuck(300.0)
    assert asked != []


# -- options on acknowledgement --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task_options", "exc", "kept"),
    [
        ({}, ValueError("no"), False),
        ({"acks_on_failure_or_timeout": False}, ValueError("no"), True),
        ({"acks_on_failure": False}, ValueError("no"), True),
        ({"acks_on_failure": False}, errors.SoftTimeLimitExceeded(1), False),
        ({"acks_on_timeout": False}, errors.SoftTimeLimitExceeded(1), True),
        ({"acks_on_failure_or_timeout": False, "acks_on_failure": True}, ValueError("no"), False),
        ({"acks_on_failure": False, "acks_late": False}, ValueError("no"), False),
    ],
)
def test_a_failure_that_is_not_acknowledged_is_kept_though_dead_letters_are_off(
    app: Talo, task_options: dict[str, object], exc: BaseException, kept: bool
) -> None:
    # Given a task with these options whose failures make no dead letters otherwise
    @app.task(name="fails", dead_letter=False, **task_options)
    def fails() -> None:
        raise exc

    fails.apply_async()
    [delivery] = fetch(app, "me")
    # When it fails
    run = Intake(app.env, lambda _task_id: False, 1.0).admit(delivery)
    assert isinstance(run, Run)
    call_sync(run)
    app.store.broker.settle([settlement_of(run)])
    # Then its message is kept or gone
    assert [letter.death.reason for letter in app.store.broker.dead()] == (["failed"] if kept else [])


def test_a_lost_process_is_a_reason_to_retry_where_the_task_says_so(
    app: Talo, options: WorkerOptions, share: Share
) -> None:
    # Given a task that does not run again by itself, but retries
    @app.task(name="stubborn", reject_on_worker_lost=False, retry_on_worker_lost=True, default_retry_delay=0)
    def stubborn() -> None: ...

    stubborn.apply_async(task_id="a")
    # When its process dies
    make_undertaker(app, options).bury(death_of("dead", fetch(app, "dead")), share.ring)
    # Then that was its first retry
    assert app.store.broker.dead() == []
    [again] = fetch(app, "next")
    assert again.message is not None and again.message.headers["retries"] == 1


def test_the_reason_of_bytes_that_make_no_message_is_the_word_itself(app: Talo) -> None:
    # Given such bytes
    app.store.broker.push_raw("celery", b"\x00junk")  # type: ignore[attr-defined]
    [delivery] = fetch(app, "me")
    word, _, text = str(delivery.fault).partition(": ")
    # When they are looked at
    settlement = Intake(app.env, lambda _task_id: False, 1.0).admit(delivery)
    # Then they are kept under that word, as every other fault of a message is
    assert isinstance(settlement, Settlement) and settlement.death is not None
    assert (settlement.death.reason, settlement.death.text) == (word, text)
    assert word in {fault.value for fault in Fault}


def test_the_traceback_of_an_exhausted_retry_begins_with_the_task(app: Talo) -> None:
    # Given a task whose retries are used up
    @app.task(name="tries", autoretry_for=(ValueError,), max_retries=0)
    def tries() -> None:
        raise ValueError("no")

    tries.apply_async()
    [delivery] = fetch(app, "me")
    run = Intake(app.env, lambda _task_id: False, 1.0).admit(delivery)
    assert isinstance(run, Run)
    # When it fails
    call_sync(run)
    # Then nothing of Talo's own stands above it
    assert run.einfo is not None
    frames = [line for line in run.einfo.traceback.splitlines() if line.startswith("  File")]
    assert [line.partition(", in ")[2] for line in frames] == ["tries"]


def test_the_text_of_a_rejected_task_is_the_reason_it_gave(app: Talo) -> None:
    @app.task(name="rejects")
    def rejects() -> None:
        raise errors.Reject("not today")

    rejects.apply_async()
    [delivery] = fetch(app, "me")
    run = Intake(app.env, lambda _task_id: False, 1.0).admit(delivery)
    assert isinstance(run, Run)
    call_sync(run)
    settlement = settlement_of(run)
    assert settlement.death is not None
    assert (settlement.death.reason, settlement.death.text) == ("rejected", "not today")
