"""One engine: the cases of ``tests.cases`` leave the same traces in test mode, with its own clock, on real workers over
real stores, and where calls are run at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections

from talo import Talo
from talo.django.transactions import OnCommit, bound
from talo.testing.clock import Clock
from talo.testing.local import LocalWorker, memory_app
from tests.apps import engine
from tests.cases import CASES, QUEUES, Case, Hand, commits, retrying, values, workflows
from tests.cases.trace import Note, Notes, letters_of, told
from tests.chaos.kit import HANGS, LONG
from tests.places import Place, a_place  # noqa: F401  fixture
from tests.support import eventually

__all__ = ["commits", "retrying", "values", "workflows"]

#: R, M, P, J, E, and what is like P.
STORES = ("sqlite", "django", "redis_url", "postgres_url", "mariadb_url", "rabbit_url")
#: Units of time after which nothing is due any more.
HORIZON = 12


@pytest.fixture(scope="module", autouse=True)
def _database() -> Iterator[None]:
    """A database of Django's to open transactions in; nothing is kept there."""
    if not settings.configured:
        settings.configure(USE_TZ=True)
    memory = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    made = connections.configure_settings({"default": {}, commits.ALIAS: memory})
    connections.settings[commits.ALIAS] = made[commits.ALIAS]
    yield
    connections[commits.ALIAS].close()
    del connections[commits.ALIAS]
    del connections.settings[commits.ALIAS]


@contextlib.contextmanager
def noting(path: Path, unit: float) -> Iterator[Notes]:
    """Within it, tasks of this process note what happens to them, and a unit of time has so many seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACE", str(path))
        patch.setenv("UNIT", str(unit))
        engine.listen()
        try:
            yield Notes(path)
        finally:
            engine.hush()


def send(app: Talo, cases: Iterable[Case]) -> None:
    """Send what the cases send; transactions hold it until their commit."""
    app.outlets.append(OnCommit(app))
    with bound():
        for each in cases:
            each.send(Hand(app, each.name))


def as_told(app: Talo, notes: Notes, cases: Iterable[Case], *, letters: bool = True) -> None:
    """AssertionError with every trace that is not as its case says; without ``letters`` there are no dead ones."""
    found, dead = notes.read(), letters_of(app) if letters else {}
    other = [
        f"{each.name}.{label}:\n  {line}\nnot\n  {said}"
        for each in cases
        for label, line in told(each, app, found, dead).items()
        if line != (said := each.trace[label] if letters else each.trace[label].partition(", dead: ")[0])
    ]
    assert not other, "\n".join(other)


def nothing_waits(app: Talo) -> None:
    """AssertionError if a message is left in a queue."""
    assert [each for each in app.store.broker.stats() if each.ready or each.leased or each.delayed] == []


@pytest.fixture(scope="module")
def in_test_mode(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Note]]:
    """All that happens to every task in test mode, where a unit is an hour that passes at once."""
    clock = Clock()
    path = tmp_path_factory.mktemp("mode") / "trace"
    with noting(path, 3600) as notes, Talo("mode", set_as_current=False, **engine.SETTINGS) as app:
        with memory_app(engine.equip(app), clock):
            send(app, CASES.values())
            worker = LocalWorker(app)
            for _ in range(HORIZON):
                worker.run_all()
                clock.advance(engine.unit())
            as_told(app, notes, CASES.values())
            nothing_waits(app)
        return notes.read()


@pytest.mark.promise("C04")
def test_test_mode_gives_the_traces_of_a_hundred_cases(in_test_mode: dict[str, list[Note]]) -> None:
    assert len(CASES) >= 100
    assert {task_id.partition(".")[0] for task_id in in_test_mode} <= set(CASES)


@pytest.mark.promise("C04")
@pytest.mark.parametrize("place", STORES, indirect=True)
@pytest.mark.timeout(HANGS)
def test_a_worker_gives_the_same_on_every_store(
    place: Place, tmp_path: Path, in_test_mode: dict[str, list[Note]]
) -> None:
    # Given what is sent before there is a worker, to which a unit is a second
    with noting(tmp_path / "trace", 1) as notes, engine.equip(place.client(**engine.SETTINGS)) as app:
        send(app, CASES.values())
        # When one slot runs everything
        words = ("-P", "solo", "-Q", ",".join(QUEUES))
        with place.worker(*words, app=engine.MODULE, env={"UNIT": "1"}):
            eventually(lambda: as_told(app, notes, CASES.values()), LONG, 0.5)
            # Then nothing has happened to any task that did not happen in test mode, and nothing is left
            eventually(lambda: nothing_waits(app), LONG)
        as_told(app, notes, CASES.values())
        assert notes.read() == in_test_mode


@pytest.mark.promise("C04")
def test_calls_that_run_at_once_give_the_same(tmp_path: Path, in_test_mode: dict[str, list[Note]]) -> None:
    cases = [each for each in CASES.values() if each.eager]
    with noting(tmp_path / "trace", 3600) as notes, Talo("eager", set_as_current=False, **engine.SETTINGS) as app:
        with memory_app(engine.equip(app)), app.conf.overridden(task_always_eager=True):
            send(app, cases)
            as_told(app, notes, cases, letters=False)
            assert letters_of(app) == {}
            nothing_waits(app)
        # Then all has happened but the arrival of messages
        names = {each.name for each in cases}
        assert notes.read() == {
            task_id: [note for note in found if note[0] != "received"]
            for task_id, found in in_test_mode.items()
            if task_id.partition(".")[0] in names
        }
