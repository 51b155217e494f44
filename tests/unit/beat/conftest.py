"""Apps with periodic tasks over a private database in memory."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from talo.app.app import Talo
from talo.beat import Service
from talo.stores.schedules import Change, Plan, Run, Schedules

MakeApp = Callable[..., Talo]


@pytest.fixture
def make_app() -> Iterator[MakeApp]:
    """Makes apps over one database: each as another process would have it."""
    url = f"memory://{uuid.uuid4().hex}"
    made: list[Talo] = []

    def make(entries: dict[str, Any] | None = None, **settings: Any) -> Talo:
        app = Talo("proj", broker=url, set_as_current=False, **settings)

        @app.task(name="proj.add")
        def add(x: int = 0, y: int = 0) -> int:
            return x + y

        app.conf.beat_schedule = entries or {}
        made.append(app)
        return app

    # The database lives as long as somebody has it.
    make().store.ping(5)
    yield make
    for app in made:
        app.close()


@contextlib.contextmanager
def running(*apps: Talo, **options: Any) -> Iterator[list[Service]]:
    """One beat per app, each in a thread."""
    services = [Service(app, **options) for app in apps]
    threads = [threading.Thread(target=service.start, daemon=True) for service in services]
    for thread in threads:
        thread.start()
    try:
        yield services
    finally:
        for service in services:
            service.stop()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)


def schedules(app: Talo) -> Schedules:
    assert app.store.schedules is not None
    return app.store.schedules


class Plans(dict[str, Plan]):
    """Plans by name; one that is not there yet fails an assertion, so that a test can wait for it."""

    def __missing__(self, name: str) -> Plan:
        raise AssertionError(f"there is no plan {name!r}")


def plans(app: Talo) -> Plans:
    return Plans({plan.name: plan for plan in schedules(app).read("proj").changed})


def runs(app: Talo, name: str) -> list[Run]:
    """The ledger of an entry, earliest first."""
    return schedules(app).runs("proj", name, 200)[::-1]


def alter(app: Talo, name: str, **fields: Any) -> None:
    """Change a plan behind the back of every scheduler."""
    plan = plans(app)[name]
    version = plan.version
    for field, value in fields.items():
        setattr(plan, field, value)
    assert schedules(app).change("proj", [Change(name=name, version=version, plan=plan)])[0]


def sent(app: Talo, queue: str = "celery") -> list[Any]:
    """The messages that wait in a queue; they are taken out."""
    app.store.broker.open("reader", worker="reader", slots=1, lease=60)
    turn = app.store.broker.turn([], "reader", [queue], 1000)
    return [delivery.message for delivery in turn.deliveries]
