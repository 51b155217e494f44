"""A workflow is cancelled by its root, on every store that keeps shared state."""

from __future__ import annotations

import time

import pytest

from talo import chain, group
from talo.states import FAILURE, REVOKED
from tests.chaos.kit import HANGS, LONG, call, check, full, kill, send_all
from tests.places import APP, STORES, Place, a_place  # noqa: F401  fixture
from tests.support import eventually

#: Tasks of the workflow, in chains of three.
NODES = full(1000, 60)


@pytest.mark.promise("W05")
@pytest.mark.parametrize("place", STORES, indirect=True)
@pytest.mark.timeout(HANGS)
def test_when_the_root_is_revoked_nothing_of_its_workflow_starts_any_more(place: Place) -> None:
    with place.client() as app, place.worker("-c", "3") as worker:
        # Given a workflow of which some tasks have run, one runs for long, and others are still to be sent
        noop, nap = app.signature(f"{APP}.noop", immutable=True), app.signature(f"{APP}.nap", (0.01,), immutable=True)
        long = app.signature(f"{APP}.nap", (LONG,), immutable=True).set(task_id="long")
        members = [chain(nap.clone(), nap.clone(), nap.clone()) for _ in range(NODES // 3)]
        root = flow = chain(noop.clone(), group(long, *members), noop.clone()).apply_async()
        while root.parent is not None:
            root = root.parent
        trace = worker.trace
        eventually(lambda: check(len(trace.count("end")) > NODES // 6 and "long" in trace.count("start")), LONG, 0.01)
        # When its root is revoked
        root.revoke(terminate=True, timeout=LONG)
        returned = time.time()
        # Then what runs of it is stopped, and what waits is gone through
        eventually(lambda: check(app.AsyncResult("long").state == REVOKED), LONG)
        others = send_all(app, [call("noop") for _ in range(5)])
        eventually(lambda: check(trace.count("end").keys() >= {*others}), LONG)
        eventually(lambda: check(sum(queue.ready for queue in app.store.broker.stats()) == 0), LONG)
        # And whoever waits for the whole is told
        eventually(lambda: check(flow.state in (FAILURE, REVOKED)), LONG)
        # And nothing of it has started since, but what a process had let pass and not begun at that very moment
        starts = [
            (pid, float(at)) for word, task, pid, at, *_ in trace.lines() if word == "start" and task not in others
        ]
    late = [pid for pid, at in starts if at > returned]
    assert len(late) == len(set(late)), late
    assert len(starts) < NODES


@pytest.mark.parametrize("place", STORES, indirect=True)
@pytest.mark.timeout(HANGS)
def test_every_process_that_fetches_is_waited_for(place: Place) -> None:
    # With a lease so long that nobody goes because its time is over
    with place.client() as app, place.worker("-c", "2", env={"TALO_WORKER_LEASE": "3600"}) as worker:

        def waited_for() -> set[int]:
            """The processes of whom an answer is awaited, which they give."""
            assert app.hearing.tell(LONG) == []
            return {int(owner.rpartition("/")[2].partition("-")[0]) for owner in app.hearing.living()}

        # When a worker has come, then its processes are waited for
        eventually(lambda: check(len(waited_for()) == 2), LONG)
        one, other = waited_for()
        assert {one, other} < set(worker.descendants())
        # When one of them dies, then its successor is, in its place
        kill(one)
        eventually(lambda: check(len(waited_for()) == 2 and one not in waited_for()), LONG)
        assert other in waited_for()
        # When the worker has gone, nobody is
        worker.stop()
        assert waited_for() == set()
