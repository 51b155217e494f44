"""Outlets: asked before the broker, the last one first; what one lets go the ones below it are asked for."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from talo import Talo, chain, group
from talo.app.outlets import Outlet
from talo.errors import TimeoutError, UnsentTask
from talo.wire.message import Message


class Holding(Outlet):
    """Takes everything, and lets it go when it is told."""

    def __init__(self, takes: bool = True) -> None:
        self.takes = takes
        self.held: list[tuple[list[Message], Callable[[], None]]] = []

    def take(self, messages: list[Message], publish: Callable[[], None]) -> bool:
        if self.takes:
            self.held.append((messages, publish))
        return self.takes

    def holding(self, task_id: str) -> str | None:
        return "the test" if any(m.id == task_id for messages, _ in self.held for m in messages) else None

    def let_go(self) -> None:
        held, self.held = self.held, []
        for _, publish in held:
            publish()


def ready(app: Talo) -> int:
    return sum(queue.ready for queue in app.store.broker.stats())


@pytest.fixture
def add(app: Talo):
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    return add


def test_what_is_let_go_passes_the_outlets_below(app: Talo, add) -> None:
    # Given three outlets, of which the middle one wants nothing
    low, middle, high = Holding(), Holding(takes=False), Holding()
    app.outlets += [low, middle, high]
    # When something is sent
    add.delay(1, 2)
    # Then each that wants it has it in turn
    assert (len(high.held), len(low.held), ready(app)) == (1, 0, 0)
    high.let_go()
    assert (len(low.held), ready(app)) == (1, 0)
    low.let_go()
    assert ready(app) == 1


def test_messages_may_be_exchanged_before_they_go(app: Talo, add) -> None:
    class Marking(Outlet):
        def take(self, messages: list[Message], publish: Callable[[], None]) -> bool:
            messages[:] = [m.anew({**m.headers, "mark": 1}, m.body, m.due) for m in messages]
            publish()
            return True

    app.outlets.append(Marking())
    app.send_many([add.s(1, 2), add.s(3, 4)])
    app.store.broker.open("me", worker="t", slots=1, lease=60.0)
    found = app.store.broker.turn([], "me", ["celery"], 10).deliveries
    assert [each.message and each.message.headers["mark"] for each in found] == [1, 1]


def test_waiting_for_what_is_held_is_refused_in_every_form(app: Talo, add) -> None:
    holding = Holding()
    app.outlets.append(holding)
    result, line, many = add.delay(1, 2), chain(add.s(1, 2), add.s(3)).delay(), group([add.s(1, 2)]).delay()
    for waiting in (result.get, line.get, many.get, lambda: list(many.iterate())):
        with pytest.raises(UnsentTask, match="has not been sent: it waits for the test"):
            waiting()
    with pytest.raises(UnsentTask):
        asyncio.run(result.aget())
    # Asking is not waiting
    assert (result.state, many.ready()) == ("PENDING", False)
    holding.let_go()
    with pytest.raises(TimeoutError):
        result.get(timeout=0)


def test_waiting_inside_a_transaction_of_the_callers_own_is_refused_too(tmp_path: Path) -> None:
    # Given a task that is sent as part of a transaction
    with Talo("joined", broker=f"sqlite:///{tmp_path}/queue.db", set_as_current=False) as app:
        app.store.ping(5.0)
        with contextlib.closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with app.transaction(connection):
                result = app.send_task("any")
                # When its result is waited for there, then that is refused
                with pytest.raises(UnsentTask, match="it waits for the commit"):
                    result.get()
            connection.execute("COMMIT")
        # And after the commit it is not
        with pytest.raises(TimeoutError):
            result.get(timeout=0)
