"""What pages cost over a long history: nothing that happened long ago is looked at again.

Cost is counted in SQLite's own steps and read from PostgreSQL's plans, so that no machine is too slow for these tests.
At full size, with times, on every store: ``TALO_SOAK=1 pytest -m soak tests/web/test_costs.py``; per page:
``python -m bench.dashboard``."""

from __future__ import annotations

import html
import math
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from talo.app.app import Talo as App
from talo.control.history import found as find
from talo.stores.history import RunQuery, RunRecord
from talo.stores.redis import scripts
from talo.stores.redis.scripts import Script
from talo.stores.redis.store import RedisStore
from talo.stores.sql.dialect import Statement, asking
from talo.stores.sql.history import values_of
from talo.stores.sql.sqlite import SqliteSession
from talo.stores.sql.store import SqlStore
from tests.contract.test_django import DjangoPlace
from tests.web import past
from tests.web.past import DAY, TASKS
from tests.web.support import Client, dashboard_of, shop

#: Runs of the short past, and how much longer the long one is: as much happens in a day of it.
RUNS, LONGER = 1500, 4
#: Steps of SQLite between two counts.
_EVERY = 50
#: Runs that a search of this size looks at at once.
_STEP = 1000

#: Searches as people make them; none of them says until when.
SEARCHES: dict[str, RunQuery] = {
    "everything": RunQuery(),
    "a task": RunQuery(name=TASKS[0]),
    "a task in a state": RunQuery(name=TASKS[0], states=("SUCCESS",)),
    "a state": RunQuery(states=("FAILURE",)),
    "a queue": RunQuery(queue="mail"),
    "a worker": RunQuery(worker="worker3@host3"),
    "an error": RunQuery(text="no such order"),
    "a kind": RunQuery(fingerprint=f"{TASKS[0]}/Conne"),
    "an id": RunQuery(id="nobody"),
    "a workflow": RunQuery(root="flow-3"),
}
#: Pages that tell of the last days.
PAGES = (
    *("/", "/?window=6h", "/?window=24h", "/?window=7d", "/tasks", "/tasks?window=7d", "/queues", "/queue?queue=mail"),
    *("/workers", "/schedules", "/workflows", "/failures", "/failures?window=7d", "/dead", "/api/pulse"),
    *(
        "/runs?since=2d",
        f"/runs?since=2d&name={TASKS[0]}",
        "/runs?since=2d&state=FAILURE",
        "/runs?since=2d&state=waiting",
    ),
    f"/runs?since=2d&name={TASKS[0]}&argument=order",
    *("/run?id=nobody", "/explain?id=nobody"),
)


class Steps:
    """Counts the steps of SQLite's machine that a store takes."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many."""
        return self._taken * _EVERY

    def of(self, work: Callable[[], object]) -> int:
        """The steps of some work."""
        before = self.taken
        work()
        return self.taken - before

    def watch(self) -> None:
        """Begin."""

        def begin(tx: Any) -> None:
            assert isinstance(tx, SqliteSession)
            tx.connection.set_progress_handler(self._count, _EVERY)

        self._store.database.read(begin)

    def _count(self) -> int:
        self._taken += 1
        return 0


def _lived(url: str, number: int, days: float) -> App:
    """A shop with a past of so many days."""
    app = shop(url)
    now = time.time()
    past.keep(app, past.runs(number, now, days))
    past.backlog(app, waiting=50, delayed=50, letters=5)
    return app


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, App]]:
    """A shop with a short past and one with a long past, which are the same lately."""
    folder = tmp_path_factory.mktemp("past")
    short = _lived(f"sqlite:///{folder}/short.sqlite3", RUNS, 10.0)
    long = _lived(f"sqlite:///{folder}/long.sqlite3", LONGER * RUNS, LONGER * 10.0)
    yield short, long
    short.close()
    long.close()


def _steps(app: App) -> Steps:
    assert isinstance(app.store, SqlStore)
    steps = Steps(app.store)
    steps.watch()
    return steps


@pytest.mark.parametrize("what", SEARCHES)
def test_a_search_looks_at_no_more_because_there_is_more(lives: tuple[App, App], what: str) -> None:
    # When the latest that fit are asked for
    taken = []
    for app in lives:
        history = app.store.history
        assert history is not None
        taken.append(_steps(app).of(lambda: history.runs(SEARCHES[what], 20)))
    # Then it takes as long in a long past
    assert taken[1] <= 1.5 * taken[0] + 2000


def test_a_search_that_looks_at_everything_would_be_seen(lives: tuple[App, App]) -> None:
    # Given what nobody is spared: deleting and recounting all
    taken = []
    for app in lives:
        history = app.store.history
        assert history is not None
        taken.append(_steps(app).of(lambda: history.count(RunQuery(), 10**9)))
    # Then the measure tells
    assert taken[1] > 2 * taken[0] + 2000


def test_what_is_counted_up_to_a_number_costs_no_more_than_that(lives: tuple[App, App]) -> None:
    taken = []
    for app in lives:
        history = app.store.history
        assert history is not None
        steps = _steps(app)
        for query in (RunQuery(), RunQuery(name=TASKS[0])):
            taken.append(steps.of(lambda: history.count(query, 100)))
            assert sum(history.count(query, 100).values()) == 100
    assert max(taken) < 100 * 100


@pytest.mark.anyio
async def test_no_page_looks_at_what_is_long_over(lives: tuple[App, App]) -> None:
    # When each page is asked for
    costs: dict[str, list[int]] = {page: [] for page in PAGES}
    for app in lives:
        steps = _steps(app)
        async with Client(dashboard_of(app)) as client:
            for page in PAGES:
                before = steps.taken
                answer = await client.page(page)
                assert answer.status_code == 200, page
                costs[page].append(steps.taken - before)
    # Then it takes as long in a long past
    grown = {page: cost for page, cost in costs.items() if cost[1] > 1.6 * cost[0] + 5000}
    assert grown == {}


def test_a_look_at_what_waits_costs_no_more_because_more_waits(tmp_path: Path) -> None:
    # Given queues in which little and much waits, of two priorities
    taken: list[list[int]] = []
    for number in (300, 3000):
        app = shop(f"sqlite:///{tmp_path}/{number}.sqlite3")
        app.send_many(("shop.add", (at,), {}, {"priority": at % 2}) for at in range(number))
        broker, steps = app.store.broker, _steps(app)
        # When some of it is looked at: at the head, where one priority ends, and for a task that is not among it
        taken.append([steps.of(lambda: broker.peek("celery", 100, offset)) for offset in (0, 100)])
        taken[-1].append(steps.of(lambda: broker.peek("celery", 200, about="nobody")))
        app.close()
    # Then what waits behind is not looked at
    assert all(much <= 1.2 * little + 200 for little, much in zip(*taken, strict=True)), taken


@pytest.fixture(params=["sqlite", "redis", "postgres", "django"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store of each kind that keeps history. Django's apps are not loaded here."""
    if request.param == "django":
        made = DjangoPlace(ENGINE="django.db.backends.sqlite3", NAME=str(tmp_path / "django.sqlite3"))
        yield made.url
        made.close()
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/talo.sqlite3"
    else:
        yield request.getfixturevalue(f"{request.param}_url")


class Looks:
    """Counts what a history on Redis looks at while it searches: places in its scripts, and records."""

    def __init__(self, store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        run, call = store._client.run, store._client.call

        def running(script: Script, *arguments: Any, **more: Any) -> Any:
            answer = run(script, *arguments, **more)
            self.taken += int(answer[2]) if script is scripts.RUNS_FIND else 1
            return answer

        def calling(*command: Any) -> Any:
            self.taken += len(command)
            return call(*command)

        monkeypatch.setattr(store._client, "run", running)
        monkeypatch.setattr(store._client, "call", calling)

    def of(self, work: Callable[[], object]) -> int:
        """What some work looks at."""
        before = self.taken
        work()
        return self.taken - before


class Buffers:
    """Counts the pages of tables and indexes that PostgreSQL looks at for the statement of a search."""

    def __init__(self, store: SqlStore) -> None:
        self._database = store.database
        self._database.write(lambda tx: tx.execute(Statement("ANALYZE talo_history", ()), []))

    def of_search(self, query: RunQuery) -> int:
        """How many."""

        def plan(tx: Any) -> list[str]:
            text = None if query.argument is None else query.argument.encode()
            values = [*values_of(query, tx.now), None, None, _STEP, text]
            [statement] = self._database.dialect.queries[asking("history", values)]
            rows, _ = tx.execute(statement._replace(text=f"EXPLAIN (ANALYZE, BUFFERS) {statement.text}"), values)
            return [row[0] for row in rows]

        told = self._database.read(plan)
        # The line of the whole comes first.
        whole = next(line for line in told if "Buffers:" in line)
        return sum(int(number) for number in re.findall(r"(?:hit|read)=(\d+)", whole))


def _cost(app: App, monkeypatch: pytest.MonkeyPatch) -> Callable[[RunQuery], int]:
    """What a search looks at, as its store counts."""
    store, history = app.store, app.store.history
    assert history is not None
    if isinstance(store, RedisStore):
        looks = Looks(store, monkeypatch)
        return lambda query: looks.of(lambda: find(history, query, 50))
    assert isinstance(store, SqlStore)
    if store.database.dialect.name == "postgres":
        return Buffers(store).of_search
    steps = _steps(app)
    return lambda query: steps.of(lambda: find(history, query, 50))


@pytest.mark.promise("R06")
def test_a_search_by_task_argument_and_time_looks_at_that_time_only(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a past, and what a search for a run of the busiest task in a week of it looks at
    app = shop(place, history_max_runs=100_000)
    now = time.time()
    week = RunQuery(name=TASKS[0], argument="nobody", since=now - 8 * DAY, until=now - DAY)
    ever = RunQuery(name=TASKS[0], argument="nobody")
    past.keep(app, past.runs(RUNS, now, 10.0))
    cost = _cost(app, monkeypatch)
    short = cost(week), cost(ever)
    # When the past grows far back
    past.keep(app, past.runs(LONGER * RUNS, now - 10 * DAY, LONGER * 10.0, seed=3))
    cost = _cost(app, monkeypatch)
    long = cost(week), cost(ever)
    app.close()
    # Then this search looks at no more, and one through everything, which has to, does
    assert long[0] <= 1.5 * short[0] + 20, (short, long)
    assert long[1] > 2.5 * short[1], (short, long)


@pytest.mark.anyio
async def test_a_search_that_reads_stops_after_a_while_and_goes_on_when_asked(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given runs of which a page may look at some only, and has no time for more
    app = shop(place)
    now = time.time()
    kept = list(past.runs(3000, now, 10.0))
    past.keep(app, iter(kept))
    failed = next(run for run in kept if run.error is not None)
    for wanted, asked, looks in (
        (kept[0], {"argument": "'order': 0,"}, 400),
        (failed, {"error": failed.error}, 50),
    ):
        for name in ("sql.history._LOOKS", "sql.history._STEP", "redis.history._LOOKS"):
            monkeypatch.setattr(f"talo.stores.{name}", looks)
        monkeypatch.setattr("talo.stores.redis.history._MOST_LOOKS", (("", 500),))
        monkeypatch.setattr("talo.web.operations.runs.PATIENCE", 0.0)
        async with Client(dashboard_of(app)) as client:
            # When the oldest of them is looked for
            answer = await client.page(f"/runs?{urlencode(asked)}")
            pages = 1
            # Then the page says that nothing is found yet, and how far back it has looked
            assert "Nothing found yet" in answer.text
            assert "Looked back to" in answer.text
            # And looking further finds it
            while wanted.id not in answer.text:
                answer = await _further(client, answer)
                pages += 1
            assert 1 < pages < 20
            # And so does one page that has the time
            monkeypatch.setattr("talo.web.operations.runs.PATIENCE", math.inf)
            assert wanted.id in (await client.page(f"/runs?{urlencode(asked)}")).text
    app.close()


async def _further(client: Client, answer: httpx.Response) -> httpx.Response:
    """What the page asks for by itself where it has not found enough."""
    link = re.search(r'data-further=.*href="([^"]+)">Look further', answer.text)
    assert link is not None, "it has looked at everything"
    return await client.page(html.unescape(link[1]))


class Found:
    """Seconds that searches took: the store's answers, and the dashboard's."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.shown: list[float] = []


async def _search(url: str, number: int) -> dict[str, Found]:
    """Keep so many runs of thirty days and look for single ones by task, argument and time: of any task, and of the one
    that runs most."""
    app = shop(url, history_max_runs=10 * number)
    now = time.time()
    kept = [run for run in past.runs(number, now) if run.state == "SUCCESS"]
    busy = [run for run in kept if run.name == TASKS[0]]
    past.keep(app, past.runs(number, now))
    found = {"any": Found(), "busy": Found()}
    async with Client(dashboard_of(app)) as client:
        for what, some in (("any", kept), ("busy", busy)):
            for run in (some[len(some) * at // 40] for at in range(3, 40, 6)):
                await _find(app, client, run, found[what])
    app.close()
    return found


async def _find(app: App, client: Client, run: RunRecord, found: Found) -> None:
    """Look for a run, knowing the order's number, the task, and about the week."""
    history = app.store.history
    assert history is not None
    # Given
    since, until = run.ended - 3.5 * DAY, run.ended + 3.5 * DAY
    words = {"name": run.name, "argument": run.kwargs.split(",")[0][1:], "since": since, "until": until}
    # When it is looked for
    began = time.perf_counter()
    page = find(history, RunQuery(**words), 50)
    found.asked.append(time.perf_counter() - began)
    began = time.perf_counter()
    answer = await client.page("/runs", params=words)
    while run.id not in answer.text:
        answer = await _further(client, answer)
    found.shown.append(time.perf_counter() - began)
    # Then it is found, and all of that time has been looked at
    assert run.id in [each.id for each in page.runs]
    assert all(each.name == run.name and since <= each.ended < until for each in page.runs)
    assert page.cursor is None
    assert answer.status_code == 200


@pytest.mark.anyio
async def test_a_run_is_found_by_task_argument_and_time(place: str) -> None:
    await _search(place, 2000)


@pytest.mark.promise("R06")
@pytest.mark.soak
@pytest.mark.anyio
@pytest.mark.timeout(1800)
async def test_a_run_is_found_among_a_million_at_once(place: str) -> None:
    for what, found in (await _search(place, 1_000_000)).items():
        assert statistics.median(found.asked) < 0.2, (what, found.asked)
        assert statistics.median(found.shown) < 1.0, (what, found.shown)


@pytest.mark.parametrize("what", SEARCHES)
def test_postgres_finds_by_index_in_the_order_of_time(postgres_url: str, what: str) -> None:
    # Given
    app = shop(postgres_url)
    past.keep(app, past.runs(500, time.time()))
    assert isinstance(app.store, SqlStore)

    # When PostgreSQL is asked how it would search
    queries = app.store.database.dialect.queries

    def plan(tx: Any) -> list[str]:
        values = [*values_of(SEARCHES[what], tx.now), None, None, 20, None]
        [statement] = queries[asking("history", values)]
        rows, _ = tx.execute(statement._replace(text=f"EXPLAIN {statement.text}"), values)
        return [row[0] for row in rows]

    told = app.store.database.read(plan)
    app.close()
    # Then it reads no table as a whole, and puts nothing into order but what ended at the same moment
    assert not [line for line in told if "Seq Scan" in line], told
    if what not in ("an id", "a workflow"):
        assert not [line for line in told if line.strip(" ->").startswith("Sort  ")], told
