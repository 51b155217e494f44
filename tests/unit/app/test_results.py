"""What the handle of a result tells, and how it waits."""

from __future__ import annotations

import copy
import datetime as dt
import inspect
import pickle
import threading
import time
from typing import Any

import pytest

from talo import AsyncResult, Talo, Task, states
from talo.app import EagerResult, allow_join_result, denied_join_result
from talo.app.result import results_from_tuples
from talo.errors import IncompleteStream, NotSupported, TimeoutError
from talo.execution.request import Context, enter, leave
from tests.support import eventually
from tests.unit.app.conftest import FarSide


def test_an_unknown_id_is_pending(app: Talo) -> None:
    # Given an id that nobody knows
    result = app.AsyncResult("nobody")

    # Then it reads as pending everywhere
    assert (result.state, result.result, result.ready(), result.exists()) == (states.PENDING, None, False, False)
    assert (result.children, result.traceback, result.date_done) == (None, None, None)


def test_get_returns_what_the_task_returned(app: Talo, far: FarSide) -> None:
    # Given a task that has ended
    far.end("a", {"x": 1}, date_done=1_700_000_000.0, extended={"name": "n", "args": [1], "worker": "w", "retries": 2})
    result = app.AsyncResult("a")
    got: list[Any] = []

    # Then value and facts are there
    assert result.get(timeout=5, callback=lambda id, value: got.append((id, value))) == {"x": 1}
    assert got == [("a", {"x": 1})]
    assert (result.successful(), result.failed(), result.state) == (True, False, "SUCCESS")
    assert (result.name, result.args, result.worker, result.retries) == ("n", [1], "w", 2)
    assert result.date_done == dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)


def test_get_waits_for_the_end(app: Talo, far: FarSide) -> None:
    # Given a wait that begins before the end
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(app.AsyncResult("a").get(timeout=20)))
    thread.start()

    # When the task ends, then the waiter has its value
    far.end("a", 42)
    thread.join(20)
    assert got == [42]


def test_get_gives_up_after_its_timeout(app: Talo) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        app.AsyncResult("a").get(timeout=0.05)
    assert time.monotonic() - began < 10


def test_get_raises_what_the_task_raised_or_returns_it(app: Talo, far: FarSide) -> None:
    # Given a failed task
    far.end("a", ValueError("bad", 3), state="FAILURE", traceback="Traceback: here")
    result = app.AsyncResult("a")

    # Then the error comes with the far traceback as a note
    with pytest.raises(ValueError, match="bad") as caught:
        result.get(timeout=5)
    assert "Traceback: here" in caught.value.__notes__[0]

    # And is returned where that was asked for
    value = result.get(timeout=5, propagate=False)
    assert isinstance(value, ValueError)
    assert value.args == ("bad", 3)
    assert result.failed()


def test_an_intermediate_state_shows_its_data_and_does_not_end_the_wait(app: Talo, far: FarSide) -> None:
    # Given progress
    far.end("a", {"done": 3}, state="PROGRESS")
    result = app.AsyncResult("a")

    # Then it can be read, and is not ready
    assert (result.state, result.info, result.ready()) == ("PROGRESS", {"done": 3}, False)
    assert result._get_task_meta()["result"] == {"done": 3}
    with pytest.raises(TimeoutError):
        result.get(timeout=0.05)


def test_update_state_stores_it(app: Talo) -> None:
    # Given a running task
    @app.task
    def work() -> None: ...

    token = enter(work, Context(id="me", called_directly=False))
    try:
        # When it tells of its progress
        work.update_state(state="PROGRESS", meta={"n": 1})
    finally:
        leave(token)

    # Then it can be read; outside of a run an id is needed
    assert app.AsyncResult("me").info == {"n": 1}
    with pytest.raises(ValueError, match="task_id"):
        work.update_state(state="PROGRESS")


def test_waiting_inside_a_task_is_refused_unless_allowed(app: Talo, far: FarSide) -> None:
    # Given a running task, and a result that is there
    far.end("a", 1)

    @app.task
    def work() -> None: ...

    token = enter(work, Context(id="me", called_directly=False))
    try:
        # Then get is refused, by default only
        with pytest.raises(RuntimeError, match="within a task"):
            app.AsyncResult("a").get()
        assert app.AsyncResult("a").get(disable_sync_subtasks=False) == 1
        with allow_join_result():
            assert app.AsyncResult("a").get() == 1
    finally:
        leave(token)
    with denied_join_result(), pytest.raises(RuntimeError):
        app.AsyncResult("a").get()


def test_the_failure_of_a_parent_ends_the_wait(app: Talo, far: FarSide) -> None:
    # Given a chain whose first step has failed
    far.end("first", KeyError("lost"), state="FAILURE")
    last = app.AsyncResult("last", parent=app.AsyncResult("middle", parent=app.AsyncResult("first")))

    # Then waiting for the last one raises it
    with pytest.raises(KeyError):
        last.get(timeout=20, interval=0.01)
    assert last.as_list() == ["last", "middle", "first"]
    assert last.as_tuple() == (("last", (("middle", (("first", None), None)), None)), None)


def test_on_interval_is_called_while_waiting(app: Talo, far: FarSide) -> None:
    # Given a wait that ends itself at its third interval
    calls: list[int] = []

    def tick() -> None:
        calls.append(1)
        if len(calls) == 3:
            far.end("a", "late")

    assert app.AsyncResult("a").get(timeout=20, interval=0.01, on_interval=tick) == "late"
    assert len(calls) == 3


def test_children_and_what_follows_them(app: Talo, far: FarSide) -> None:
    # Given a task that sent two, one of them in a group
    far.end("a", 1, children=[[["b", None], None], [["g", None], [[["c", None], None]]]])
    far.end("b", 2)
    result = app.AsyncResult("a")

    # Then both are its children; what is not ready is no complete tree
    assert [child.id for child in result.children or ()] == ["b", "c"]
    with pytest.raises(IncompleteStream):
        list(result.iterdeps())
    far.end("c", 3)
    assert [(r.id, value) for r, value in result.collect()] == [("a", 1), ("b", 2), ("c", 3)]
    assert result.get_leaf() == 3


def test_then_calls_back_once_it_is_ready(app: Talo, far: FarSide) -> None:
    # Given callbacks on one that will succeed and one that will fail
    told: list[tuple[str, str]] = []
    app.AsyncResult("a").then(lambda r: told.append(("ok", r.id)))
    app.AsyncResult("b").then(lambda r: told.append(("ok", r.id)), on_error=lambda r: told.append(("error", r.id)))

    # When they end, then each has been told its own way
    far.end("a", 1)
    far.end("b", ValueError(), state="FAILURE")

    def both() -> None:
        assert sorted(told) == [("error", "b"), ("ok", "a")]

    eventually(both)


def test_forget_deletes_it_and_its_parents(app: Talo, far: FarSide) -> None:
    # Given a result with a parent
    far.end("a", 1)
    far.end("b", 2)
    result = app.AsyncResult("b", parent=app.AsyncResult("a"))
    assert result.get(timeout=5) == 2

    # When it is forgotten, then both are gone
    result.forget()
    assert not result.exists()
    assert not app.AsyncResult("a").exists()


def test_revoke_marks_the_id_and_tells_the_workers(app: Talo) -> None:
    # Given a worker that listens
    with_ear = app.store.bus.subscribe(["talo.revoked"])
    try:
        # When a task is revoked
        app.AsyncResult("a").revoke(terminate=True)

        # Then it is marked, and the worker hears of it
        assert app.store.locks.marked("revoked", ["a", "b"]) == {"a"}
        assert app.store.locks.marked("terminated", ["a"]) == {"a"}
        assert with_ear.get(10) == ("talo.revoked", b"")
    finally:
        with_ear.close()


def test_a_result_that_is_ignored_is_not_waited_for(app: Talo) -> None:
    # Given a task that keeps no result
    @app.task(ignore_result=True)
    def work() -> int:
        return 1

    # Then get returns at once, with nothing
    assert work.delay().get() is None


def test_without_a_result_backend_asking_is_an_error() -> None:
    with Talo("t", broker="memory://nobackend", backend="disabled://", set_as_current=False) as app:
        assert app.result_store is None
        with pytest.raises(NotSupported, match="result_backend"):
            app.AsyncResult("a").get(timeout=1)


def test_results_are_equal_by_id_and_travel(app: Talo) -> None:
    # Given handles of the same id
    one, two = app.AsyncResult("a", task_name="n"), AsyncResult("a")

    # Then they are one, in sets, copies and pickles
    assert one == two == copy.copy(one) == pickle.loads(pickle.dumps(one)) == "a"
    assert {one, two} == {one}
    assert (str(one), repr(one)) == ("a", "<AsyncResult: a>")
    assert [r.id for r in results_from_tuples([one.as_tuple(), "b"], app)] == ["a", "b"]


def test_a_task_may_have_its_own_result_class(app: Talo) -> None:
    # Given a base task that overrides AsyncResult
    class Mine(AsyncResult[Any]):
        pass

    class Base(Task[..., Any]):
        def AsyncResult(self, task_id: str, **kwargs: Any) -> Any:
            return Mine(task_id, app=self.app)

    @app.task(base=Base)
    def work() -> None: ...

    # Then sending returns it
    assert type(work.delay()) is Mine


def test_an_eager_result_has_the_same_face() -> None:
    # Given eager results of both kinds
    good, bad = EagerResult("a", 3, "SUCCESS"), EagerResult("b", ValueError("x"), "FAILURE", traceback="tb")

    # Then they are ready, and raise or return as the others do
    assert (good.get(), good.ready(), good.successful(), good.state) == (3, True, True, "SUCCESS")
    assert (bad.failed(), bad.traceback, type(bad.get(propagate=False))) == (True, "tb", ValueError)
    with pytest.raises(ValueError, match="x"):
        bad.get()
    assert inspect.signature(EagerResult.get) == inspect.signature(AsyncResult.get)
