"""Telling: dispatcher and receiver over a real bus, the bounded list, the clock."""

from __future__ import annotations

import itertools
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from talo import Talo
from talo.events.teller import Teller
from talo.stores.base import Post
from talo.util.clock import LamportClock
from tests.support import eventually

_names = (f"memory://events{n}" for n in itertools.count())


@pytest.fixture
def app() -> Iterator[Talo]:
    with Talo("t", broker=next(_names), set_as_current=False) as app:
        yield app


class Listening:
    """A receiver in a thread."""

    def __init__(self, app: Talo, **handlers: Any) -> None:
        self.receiver = app.events.Receiver(None, handlers=handlers or {"*": self._note})
        self.events: list[dict[str, Any]] = []
        begun = threading.Event()

        def run() -> None:
            with self.receiver._listen() as ear:
                begun.set()
                while not self.receiver.should_stop:
                    self.receiver._next(ear, 0.05)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert begun.wait(10)

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def kinds(self, count: int) -> list[str]:
        def enough() -> list[str]:
            assert len(self.events) >= count
            return [event["type"] for event in self.events]

        return eventually(enough)

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *exc: object) -> None:
        self.receiver.stop()
        self._thread.join(5)


def test_what_a_dispatcher_sends_is_heard_with_what_every_event_carries(app: Talo) -> None:
    with Listening(app) as heard:
        with app.events.default_dispatcher(hostname="me@h") as dispatcher:
            dispatcher.send("task-progress", uuid="a", done=3)
            dispatcher.disable()
            dispatcher.send("task-progress", uuid="b")
        assert heard.kinds(1) == ["task-progress"]
    [event] = heard.events
    assert event.keys() >= {"hostname", "utcoffset", "pid", "clock", "timestamp", "uuid", "local_received"}
    assert (event["hostname"], event["uuid"], event["done"]) == ("me@h", "a", 3)


def test_a_task_tells_of_itself_and_nonsense_is_passed_over(app: Talo) -> None:
    @app.task(bind=True)
    def work(self: Any) -> None:
        self.send_event("task-halfway", percent=50)

    with Listening(app) as heard:
        exchange = app.conf.event_exchange
        for body in (b"junk", b"7", b'{"no": "type"}', b'[{"type": 3}]'):
            app.store.bus.post([Post(exchange=exchange, kind="topic", key="task.x", body=body)])
        pickled = Post(
            exchange=exchange, kind="topic", key="a", body=b"x", content_type="application/x-python-serialize"
        )
        app.store.bus.post([pickled])
        work.apply(task_id="a")
        assert heard.kinds(1) == ["task-halfway"]
        assert heard.events[0]["uuid"] == "a"


def test_sent_tasks_are_told_when_that_is_set(app: Talo) -> None:
    app.conf.task_send_sent_event = True
    with Listening(app) as heard:
        result = app.send_task("t.add", (1, 2))
        app.send_many([("t.add", (n,)) for n in range(3)])
        assert heard.kinds(4) == ["task-sent"] * 4
        assert (heard.events[0]["uuid"], heard.events[0]["args"], heard.events[0]["queue"]) == (
            result.id, "(1, 2)", "celery",
        )  # fmt: skip


def test_a_receiver_ends_after_its_limit_or_its_time(app: Talo) -> None:
    receiver = app.events.Receiver(None)
    with pytest.raises(TimeoutError):
        receiver.capture(limit=1, timeout=0.05, wakeup=False)


def test_more_events_than_fit_are_dropped_and_counted(app: Talo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talo.events.teller._MOST", 5)
    teller = Teller(app, "w@h")
    # Given that nobody takes them
    monkeypatch.setattr(teller, "_start", lambda: None)
    for n in range(8):
        teller.tell("task-started", {"uuid": str(n)})
    assert teller.dropped == 3
    teller.stop()


def test_what_waits_goes_together_before_the_end(app: Talo) -> None:
    teller = Teller(app, "w@h")
    with Listening(app) as heard:
        for n in range(500):
            teller.tell("task-started", {"uuid": str(n)})
        teller.stop(10)
        assert heard.kinds(500) == ["task-started"] * 500
        clocks = [event["clock"] for event in heard.events]
        assert clocks == sorted(clocks)
        assert teller.dropped == 0


def test_a_clock_counts_on_from_what_it_hears_and_is_shared() -> None:
    memory = bytearray(8)
    one, two = LamportClock(), LamportClock(5)
    assert (one.forward(), one.adjust(10), one.adjust(3), one.adjust(-1), one.adjust(2**80)) == (1, 11, 12, 13, 14)
    one.share(memoryview(memory))
    two.share(memoryview(memory))
    assert (two.forward(), one.forward(), two.forward()) == (15, 16, 17)
    assert struct.unpack("<Q", memory) == (17,)
