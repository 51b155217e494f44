"""Parking, from one message to the marks by which workers know of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talo.app.app import Talo
from talo.app.revocations import PAUSED
from talo.control.dead import new_run
from talo.errors import WorkerLostError
from talo.execution.run import Run
from talo.execution.settle import settlement_of_lost
from talo.stores.base import Delivery, Settlement, Verdict
from talo.stores.parking import at_home, home_of, is_parking, parked, parking_of, unparked
from talo.wire.message import COPY
from talo.wire.queues import Broadcast, Queue
from talo.worker.brakes import brakes_of
from talo.worker.bulletin import Standing
from talo.worker.handover import Handover
from talo.worker.intake import Intake
from talo.worker.marks import with_marks
from talo.worker.opening import Opening
from talo.worker.parking import Parking
from talo.worker.share import Common

PARKING = parking_of("celery", "add") or ""


@pytest.fixture
def app() -> Iterator[Talo]:
    queues = [Queue("celery"), Queue("short", expires=60.0), Broadcast("all", queue="mine")]
    with Talo("parking", broker=f"memory://{uuid.uuid4().hex}", task_queues=queues, set_as_current=False) as app:

        @app.task(name="add", rate_limit="1000/s")
        def add(x: int) -> int:
            return x

        app.store.broker.open("me", worker="t", slots=1, lease=60.0)
        yield app


def standing_of(app: Talo) -> Standing:
    return with_marks(Standing(queues=("celery", "short", "mine")), app.store.locks)


class Child:
    """What decides in a child, without its process."""

    def __init__(self, app: Talo) -> None:
        self.app = app
        locks = app.store.locks
        self.intake = Intake(
            app.env, lambda _task_id: False, 1.0, first=lambda of, copy: locks.acquire(f"copy:{of}", copy, 60.0)
        )
        self.intake.parking = self.parking = Parking(app)
        self.read()

    def read(self, standing: Standing | None = None) -> None:
        """Go by the marks as they are now."""
        self.standing = standing or standing_of(self.app)
        self.intake.brakes = brakes_of(self.standing, {}, Common().rates, limited=True)
        self.parking.note(self.standing.parked)

    def put_aside(self, *numbers: int) -> None:
        """Have the type paused, and park these of it."""
        self.app.control.pause(tasks=["add"])
        self.read()
        send(self.app, *numbers)
        self.take()

    def fetch(self, *queues: str) -> list[Delivery]:
        return self.app.store.broker.turn([], "me", queues or self.standing.open_queues, 10).deliveries

    def take(self, *queues: str) -> list[int]:
        """Fetch and settle; return what would run now, in its order."""
        runs = []
        for delivery in self.fetch(*queues):
            admitted = self.intake.admit(delivery)
            if isinstance(admitted, Run):
                runs.append(admitted.call.args[0])
                assert admitted.delivery is not None
                assert admitted.delivery.queue == admitted.delivery.message.queue == "celery"
                admitted = Settlement(lease=delivery.lease)
            self.app.store.broker.settle([admitted])
        return runs


def send(app: Talo, *numbers: int, queue: str = "celery") -> None:
    for number in numbers:
        app.send_task("add", (number,), queue=queue)


def ready(app: Talo, queue: str = PARKING) -> int:
    return app.store.broker.stats([queue])[0].ready


def judge(app: Talo) -> Opening:
    return Opening(app, "agent", lambda: standing_of(app))


# -- names and messages ------------------------------------------------------------------------------------------------


@given(st.text(), st.text(min_size=1))
def test_queue_and_type_are_read_from_the_name(queue: str, task: str) -> None:
    name = parking_of(queue.encode(errors="replace").decode(), task.encode(errors="replace").decode())
    if name is not None:
        assert is_parking(name) and len(name.encode()) <= 240
        assert home_of(name) == (queue.encode(errors="replace").decode(), task.encode(errors="replace").decode())


def test_names_that_no_broker_takes_are_none() -> None:
    assert parking_of("q" * 120, "t" * 120) is None
    assert home_of("celery") == ("celery", "") and not is_parking("celery")


def test_a_message_comes_home_as_it_went(app: Talo) -> None:
    message = msgspec.structs.replace(app.prepare("add", (1,), {}, {}), exchange="x", routing_key="k", priority=3)
    aside = parked(message, PARKING, named=False)
    assert (aside.queue, aside.exchange, aside.priority, aside.due) == (PARKING, "", 3, None)
    assert unparked(aside) == message
    assert unparked(message) is message
    # What somebody else has put there does no harm
    strange = msgspec.structs.replace(aside, headers={**message.headers, "talo-parked": 5})
    assert unparked(strange) is strange


def test_of_one_sending_that_is_parked_twice_both_are_copies(app: Talo) -> None:
    message = app.prepare("add", (1,), {}, {"task_id": "a"})
    one, two = (parked(message, PARKING, named=True).headers[COPY].split(" ") for _ in range(2))
    assert one[1] == two[1] and one[0] != two[0]
    # Another attempt, or another sending under the same id, is no copy
    for header in ("retries", "talo-sent"):
        other = msgspec.structs.replace(message, headers={**message.headers, header: 7})
        assert parked(other, PARKING, named=True).headers[COPY].split(" ")[1] != one[1]
    # One that is a copy keeps its name, one that does not say when it was sent gets none
    copy = message.copied("step")
    assert parked(copy, PARKING, named=True).headers[COPY] == copy.headers[COPY]
    foreign = {name: value for name, value in message.headers.items() if name != "talo-sent"}
    assert COPY not in parked(msgspec.structs.replace(message, headers=foreign), PARKING, named=True).headers


def test_what_was_parked_twice_starts_once(app: Talo) -> None:
    child = Child(app)
    message = app.prepare("add", (1,), {}, {})
    # Given a sending that was parked by a process which died before its delivery had ended, and by the next one
    app.store.broker.send([parked(message, PARKING, named=True) for _ in range(2)])
    assert child.take(PARKING) == [1]
    assert ready(app) == 0


# -- one child ---------------------------------------------------------------------------------------------------------


def test_tasks_of_a_paused_type_wait_aside_and_go_on_in_order(app: Talo) -> None:
    child = Child(app)
    app.control.pause(tasks=["add"])
    child.read()
    # Given some that wait aside
    send(app, 1, 2, 3)
    assert child.take() == []
    assert (ready(app), ready(app, "celery")) == (3, 0)
    child.read()
    assert child.standing.open_queues == ("celery", "short", "mine")
    # When the type goes on, and more has come
    app.control.resume(tasks=["add"])
    send(app, 4, 5)
    child.read()
    assert child.standing.open_queues == ("celery", "short", "mine", PARKING)
    # Then what has waited begins, and what has come waits behind it
    assert child.take("celery") == []
    send(app, 6)
    assert child.take(PARKING) == [1, 2, 3, 4, 5]
    assert child.take("celery") == [] and child.take(PARKING) == [6]


def test_paused_again_what_was_fetched_goes_back_ahead_of_what_waits(app: Talo) -> None:
    child = Child(app)
    child.put_aside(1, 2, 3)
    app.control.resume(tasks=["add"])
    child.read()
    [first, *_] = fetched = child.fetch(PARKING)
    app.control.pause(tasks=["add"])
    child.read()
    ends = [child.intake.admit(each) for each in fetched]
    assert ends[0] == Settlement(lease=first.lease, verdict=Verdict.AGAIN)
    app.store.broker.settle([each for each in ends if isinstance(each, Settlement)])
    app.control.resume(tasks=["add"])
    child.read()
    assert child.take(PARKING) == [1, 2, 3]


def test_a_child_that_has_not_heard_of_the_end_parks_where_it_is_found(app: Talo) -> None:
    late, child = Child(app), Child(app)
    app.control.pause(tasks=["add"])
    late.read()
    # Given one that is told of nothing since, while the type goes on
    app.control.resume(tasks=["add"])
    send(app, 1)
    assert late.take("celery") == []
    # Then others know of the place
    child.read()
    assert child.take(PARKING) == [1]


@pytest.mark.parametrize("queue", ["short", "mine"])
def test_a_queue_that_ends_keeps_its_own(app: Talo, queue: str) -> None:
    child = Child(app)
    app.control.pause(tasks=["add"])
    child.read()
    app.store.broker.send([msgspec.structs.replace(app.prepare("add", (1,), {}, {}), queue=queue)])
    [delivery] = child.fetch(queue)
    end = child.intake.admit(delivery)
    assert isinstance(end, Settlement)
    assert end.verdict is Verdict.AGAIN and end.delay >= 5.0


def test_what_a_limit_sends_away_goes_home(app: Talo) -> None:
    child = Child(app)
    child.put_aside(1, 2)
    app.control.resume(tasks=["add"])
    child.read(msgspec.structs.replace(standing_of(app), rate_limits={"add": "1/h"}))
    one, two = (child.intake.admit(each) for each in child.fetch(PARKING))
    assert isinstance(one, Run) and isinstance(two, Settlement)
    [message] = two.follow
    assert (two.verdict, message.queue) == (Verdict.DONE, "celery") and message.due is not None


def test_a_dead_letter_and_its_replay_are_of_its_own_queue(app: Talo) -> None:
    child = Child(app)
    child.put_aside(1)
    [delivery] = child.fetch(PARKING)
    assert at_home(delivery).queue == "celery"
    run = child.intake.recall(delivery)
    assert run is not None
    app.store.broker.settle([settlement_of_lost(run, WorkerLostError("gone"), "worker_lost", {})])
    [letter] = app.store.broker.dead(queue="celery")
    again = new_run(letter, app.env.accept)
    assert again.queue == "celery"
    assert unparked(again) is again and again.routing_key == "celery"


# -- opening -----------------------------------------------------------------------------------------------------------


def test_a_type_is_open_when_two_looks_have_found_nothing(app: Talo) -> None:
    child, opening = Child(app), judge(app)
    child.put_aside(1)
    # Given a type that is paused: nobody looks
    opening.look(0.0)
    opening.look(10.0)
    assert standing_of(app).parked == {PARKING}
    # When it goes on, and what waits begins between two looks
    app.control.resume(tasks=["add"])
    child.read()
    opening.look(20.0)
    assert child.take(PARKING) == [1]
    opening.look(30.0)
    assert standing_of(app).resuming == (PARKING,)
    # Then the next look but one opens it,
    opening.look(40.0)
    assert (standing_of(app).resuming, standing_of(app).watched) == ((), (PARKING,))
    child.read()
    send(app, 2)
    assert child.take("celery") == [2]
    # and one that comes late is found.
    late = Child(app)
    late.read(Standing(queues=("celery",), paused_tasks=frozenset({"add"}), parked=frozenset({PARKING})))
    send(app, 3)
    assert late.take("celery") == [] and ready(app) == 1
    opening.look(50.0)
    child.read()
    assert child.take(PARKING) == [3]


def test_a_parking_queue_is_forgotten_when_nothing_can_come(app: Talo) -> None:
    child, opening, locks = Child(app), judge(app), app.store.locks
    child.put_aside(1)
    app.control.resume(tasks=["add"])
    child.read()
    [delivery] = child.fetch(PARKING)
    for now in (0.0, 10.0):
        opening.look(now)
    assert app.control.parkings() == [PARKING]
    # Given one that runs long, and a day that has gone by
    locks.unmark(PAUSED, [f"recent:{PARKING}"])
    opening.look(20.0)
    assert standing_of(app).watched == (PARKING,)
    # When it has ended
    app.store.broker.settle([Settlement(lease=delivery.lease)])
    opening.look(30.0)
    # Then nothing is left of it
    assert app.control.parkings() == [] and locks.all_marked(PAUSED) == set()


def test_of_a_fleet_one_agent_looks(app: Talo) -> None:
    child = Child(app)
    child.put_aside(1)
    app.control.resume(tasks=["add"])
    child.read()
    child.take(PARKING)
    one, other = judge(app), Opening(app, "other", lambda: standing_of(app))
    one.look(0.0)
    other.look(0.0)
    other.look(10.0)
    assert standing_of(app).resuming == (PARKING,)
    one.look(10.0)
    assert standing_of(app).resuming == ()


def test_the_way_back_takes_along_what_waits_aside(redis_url: str) -> None:
    with Talo("parking", broker=redis_url, set_as_current=False) as app:
        app.task(name="add")(lambda x: x)
        app.store.broker.open("me", worker="t", slots=0, lease=60.0)
        child = Child(app)
        app.control.pause(tasks=["add"])
        child.read()
        send(app, 1, 2)
        [before, _] = app.store.broker.peek("celery", 2)
        child.take("celery")
        app.store.broker.close_owner("me")
        # When workers of Celery's are to go on
        done = Handover(app).run()
        # Then they find it in its own queue, as it was
        assert (done.moved, done.left, ready(app), ready(app, "celery")) == (2, 0, 0, 2)
        [after, _] = app.store.broker.peek("celery", 2)
        assert (after.headers, after.body) == (before.headers, before.body)
