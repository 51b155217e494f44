"""What waits for its time is given another one while it waits, on every store that can reach it."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from talo.errors import NotSupported
from talo.states import REVOKED
from talo.stores.base import delayed_in
from tests.chaos.kit import HANGS, LONG, Judge, call, check, full, send_all
from tests.places import STORES, Place, a_place  # noqa: F401  fixture
from tests.support import eventually
from tests.workers import Worker

#: Seconds ahead in which what is brought forward falls due. On SQS a worker looks every 5 s for what does.
FIRST, LAST = full((60.0, 180.0), (8.0, 12.0))
#: Seconds by which one in a hundred may be late: the promise, and what a busy machine does not miss.
LATE = full(2.0, 20.0)
#: Tasks of one call.
BATCH = 100


def memory(worker: Worker) -> int:
    """Bytes of all processes of a worker, shared pages counted once."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in [worker.pid, *worker.descendants()]]
    return 1024 * sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("Pss:"))


@pytest.mark.promise("D07")
@pytest.mark.parametrize("place", STORES, indirect=True)
@pytest.mark.timeout(HANGS)
def test_what_waits_is_given_another_time_and_starts_once(place: Place) -> None:
    count = full(1_000_000, 2_000)
    # RabbitMQ cannot reach what waits in it; another store keeps it.
    rabbit = place.broker.startswith("amqp")
    env = {"TALO_BROKER_DELAYS_IN_RESULT_BACKEND": "1"} if rabbit else {}
    app = place.client(broker_delays_in_result_backend=rabbit)
    with app, place.worker("-c", "2", env=env) as worker:
        Judge(app, worker.trace, [app.send_task("tests.apps.traced.noop").id]).wait()
        before = memory(worker)
        # Given tasks due one to two hours ahead, all of which wait in the store
        ids = send_all(app, [call("noop", countdown=3600 * (1 + n / count)) for n in range(count)])
        assert memory(worker) - before < 10e6
        # When some are brought forward, a few to this moment, others put off, others revoked and then brought forward
        # What stands in for SQS takes some tasks a second.
        most = full(1_000, 40) if place.broker.startswith("sqs") else count
        sooner, now, later, revoked = ids[::10][:most], ids[1::100][:most], ids[2::10], ids[3::100][:most]
        dues: dict[str, float] = {}
        for at in range(0, len(sooner), BATCH):
            some = sooner[at : at + BATCH]
            due = time.time() + FIRST + (LAST - FIRST) * at / len(sooner)
            assert app.control.reschedule(some, eta=due) == some
            dues.update(dict.fromkeys(some, due))
        assert app.control.reschedule(later, countdown=3 * 3600) == later
        app.control.revoke(revoked)
        assert app.AsyncResult(now[0]).reschedule(countdown=0)
        moved = time.time()
        assert app.control.reschedule(now[1:], countdown=0) == now[1:]
        dues.update(dict.fromkeys(now, moved))
        assert app.control.reschedule(revoked, countdown=0) == revoked
        # Then each starts when it is due by its new time, and once; what is revoked does not, and the rest still waits
        eventually(lambda: check({*sooner, *now} <= worker.trace.count("end").keys()), LONG, 0.1)
        eventually(lambda: check({app.AsyncResult(each).state for each in revoked} == {REVOKED}), LONG, 0.1)
        assert memory(worker) - before < 10e6
        started = worker.trace.times("start")
        assert all(started[each] >= dues[each] - 0.1 for each in sooner)
        late = sorted(started[each] - dues[each] for each in dues)
        assert late[math.ceil(0.99 * len(late)) - 1] < LATE
        starts = worker.trace.count("start")
        assert {each: starts[each] for each in ids if each in starts} == dict.fromkeys([*sooner, *now], 1)
        keeper = app.result_store if rabbit else app.store
        assert keeper is not None
        assert delayed_in(keeper.broker.stats()) == count - len(dues) - len(revoked)
        # And what has run is left alone
        assert app.control.reschedule(sooner[:BATCH], countdown=0) == []
        assert worker.stop() == 0


@pytest.mark.parametrize("place", ["rabbit_url"], indirect=True)
def test_where_a_waiting_task_cannot_be_reached_it_is_said(place: Place) -> None:
    with place.client() as app:
        result = app.send_task("tests.apps.traced.noop", countdown=60)
        with pytest.raises(NotSupported, match="broker_delays_in_result_backend"):
            result.reschedule(countdown=0)
