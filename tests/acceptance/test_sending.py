"""Sending, as users do it, to one real worker on each store: every option of a call, routing, bulk, async, eager."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import threading
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from talo import Celery, Exchange, Queue, Talo, errors, signals
from tests.apps.featured import app as featured
from tests.servers.redis import RedisServer, database_of
from tests.support import eventually
from tests.workers import Worker

LONG = 30.0
T = TypeVar("T")


@pytest.fixture(scope="module")
def worker(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker with two children, who consume from the default queue and three more."""
    folder = tmp_path_factory.mktemp("worker")
    words = ("-c", "2", "-Q", "celery,routed,left,right")
    with Worker(place, folder, *words, app="tests.apps.featured") as worker:
        yield worker


@pytest.fixture
def app(place: str, worker: Worker) -> Iterator[Talo]:
    """A client without tasks, whose settings a test may change."""
    with Talo("client", broker=place, set_as_current=False) as app:
        yield app


def facts(app: Talo, *args: Any, kwargs: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """What the task saw of its message."""
    seen: dict[str, Any] = app.send_task("featured.facts", args, kwargs, **options).get(timeout=LONG)
    return seen


# -- options


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (
            {"task_id": "chosen-1/ä b"},
            {"id": "chosen-1/ä b", "root_id": "chosen-1/ä b", "correlation_id": "chosen-1/ä b"},
        ),
        ({"shadow": "nick"}, {"shadow": "nick"}),
        ({"headers": {"tenant": "a", "n": {"x": [1]}}}, {"headers": {"tenant": "a", "n": {"x": [1]}}}),
        ({"time_limit": 60, "soft_time_limit": 50}, {"timelimit": [60, 50]}),
        ({"priority": 7}, {"priority": 7}),
        ({"queue": "left"}, {"routing_key": "left", "exchange": ""}),
        ({"queue": Queue("left")}, {"routing_key": "left"}),
        ({"group_id": "g", "group_index": 3}, {"group": "g", "group_index": 3}),
        ({"root_id": "r", "parent_id": "p"}, {"root_id": "r", "parent_id": "p"}),
        ({"reply_to": "me"}, {"reply_to": "me"}),
        ({"argsrepr": "hidden"}, {"argsrepr": "hidden"}),
        ({"retries": 2}, {"retries": 2}),
        ({"serializer": "msgpack"}, {}),
        ({"compression": "gzip"}, {}),
        ({"ignore_result": False}, {"ignore_result": False}),
        ({"delivery_mode": "transient"}, {}),
        ({"retry": False}, {}),
        ({"retry": True, "retry_policy": {"max_retries": 1}}, {}),
        ({"add_to_parent": False}, {}),
        ({}, {"headers": None, "parent_id": None, "shadow": None, "timelimit": [None, None], "retries": 0}),
        ({}, {"is_eager": False, "called_directly": False, "hostname": "w@test", "routing_key": "celery"}),
    ],
)
def test_what_an_option_says_is_what_the_task_sees(app: Talo, options: dict[str, Any], seen: dict[str, Any]) -> None:
    app.conf.accept_content = ["json", "msgpack"]
    got = facts(app, 1, "two", kwargs={"three": 3}, **options)
    assert got == {**got, **seen, "args": [1, "two"], "kwargs": {"three": 3}}


def test_times_travel_with_their_zone(app: Talo) -> None:
    eta = dt.datetime.now(dt.timezone(dt.timedelta(hours=5))) + dt.timedelta(seconds=0.2)
    seen = facts(app, eta=eta, expires=60)
    assert dt.datetime.fromisoformat(seen["eta"]) == eta
    left = dt.datetime.fromisoformat(seen["expires"]) - dt.datetime.now(dt.UTC)
    assert 0 < left.total_seconds() <= 60


@pytest.mark.parametrize("form", ["countdown", "eta", "eta as text"])
def test_a_delayed_task_is_not_begun_early(app: Talo, worker: Worker, form: str) -> None:
    due = time.time() + 0.4
    when = dt.datetime.fromtimestamp(due, dt.UTC)
    options = {"countdown": {"countdown": 0.4}, "eta": {"eta": when}, "eta as text": {"eta": when.isoformat()}}[form]
    result = app.send_task("featured.begun", **options)
    result.get(timeout=LONG)
    [at] = [float(line[2]) for line in worker.trace.lines() if line[:2] == ["begun", result.id]]
    assert at >= due - 0.02


@pytest.mark.parametrize("expires", [-1, dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "2020-01-01T00:00:00+00:00"])
def test_a_task_that_is_over_is_never_begun(app: Talo, worker: Worker, expires: Any) -> None:
    result = app.send_task("featured.begun", expires=expires)
    with pytest.raises(errors.TaskRevokedError, match="expired"):
        result.get(timeout=LONG)
    assert [line for line in worker.trace.lines() if line[:2] == ["begun", result.id]] == []


def test_a_callback_gets_the_value(app: Talo, worker: Worker) -> None:
    app.send_task("featured.add", (2, 3), link=app.signature("featured.remember", ("five",)))
    eventually(lambda: _is([line for line in worker.trace.lines() if line[1] == "five"], [["remembered", "five", "5"]]))


def test_what_a_task_sends_knows_where_it_came_from(app: Talo) -> None:
    result = app.send_task("featured.parent")
    child = result.get(timeout=LONG)
    assert [node.id for node in result.children] == [child]
    assert app.AsyncResult(child).get(timeout=LONG) == 2


# -- routing


@pytest.mark.parametrize(
    "routes",
    [
        {"featured.facts": {"queue": "left"}},
        {"featured.facts": "left"},
        {"featured.f*": {"queue": "left"}},
        [("other.*", "right"), (re.compile(r"featured\.(facts|x)"), {"queue": "left"})],
        ({"other": "right"}, {"featured.facts": "left"}),
        lambda name, args, kwargs, options, task=None, **kw: {"queue": "left"} if name == "featured.facts" else None,
        "tests.acceptance.test_sending.route_to_the_left",
    ],
    ids=["dict", "text", "glob", "pairs", "several", "function", "path"],
)
def test_every_form_of_routes_leads_to_the_queue(app: Talo, routes: Any) -> None:
    app.conf.task_routes = routes
    assert facts(app)["routing_key"] == "left"
    assert facts(app, queue="right")["routing_key"] == "right"  # what the call says wins


def route_to_the_left(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    """A router, named by its path."""
    return {"queue": "left"}


def test_an_exchange_and_key_lead_to_the_queue_that_is_bound(app: Talo) -> None:
    app.conf.task_queues = [
        Queue("left", Exchange("media", type="topic"), routing_key="media.*.left"),
        Queue("right", Exchange("media", type="topic"), routing_key="media.#"),
        Queue("celery"),
    ]
    seen = facts(app, exchange="media", routing_key="media.video.right")
    assert (seen["exchange"], seen["routing_key"]) == ("media", "media.video.right")
    with pytest.raises(errors.QueueNotFound, match="no queue of task_queues is bound"):
        app.send_task("featured.facts", exchange="media", routing_key="audio")


def test_a_queue_that_is_not_configured_is_refused_when_none_may_be_made(app: Talo) -> None:
    app.conf.task_create_missing_queues = False
    with pytest.raises(errors.QueueNotFound, match="queue 'nowhere' is not in task_queues"):
        app.send_task("featured.facts", queue="nowhere")


def test_the_worker_routes_what_its_tasks_send_by_its_own_routes(app: Talo) -> None:
    assert app.send_task("featured.routed", queue="routed").get(timeout=LONG) == "routed"


# -- many, async, eager


def test_ten_thousand_are_sent_in_bulk_and_all_run(app: Talo) -> None:
    results = app.send_many(("featured.add", (n, 1)) for n in range(10_000))
    assert len({result.id for result in results}) == 10_000
    assert [result.get(timeout=LONG) for result in results] == [n + 1 for n in range(10_000)]


def test_async_twins_never_hold_the_loop(app: Talo, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    turns = 0

    async def beat(stop: asyncio.Event) -> None:
        nonlocal turns
        while not stop.is_set():
            turns += 1
            await asyncio.sleep(0)

    async def meanwhile(waiting: Awaitable[T]) -> T:
        """The loop must have gone on turning while this was waited for."""
        before = turns
        try:
            return await waiting
        finally:
            assert turns > before

    async def main() -> None:
        stop = asyncio.Event()
        beating = asyncio.create_task(beat(stop))
        held = await meanwhile(app.asend_task("featured.hold", (str(gate),)))
        sums = [await meanwhile(app.asend_task("featured.add", (n, n))) for n in range(20)]
        assert [await meanwhile(result) for result in sums] == [2 * n for n in range(20)]
        with pytest.raises(errors.TimeoutError):
            await meanwhile(app.AsyncResult("nobody-sends-this").aget(timeout=0.2))
        # Only the loop lets this one go, so it must turn while the result is waited for.
        asyncio.get_running_loop().call_later(0.05, gate.touch)
        assert await meanwhile(held.aget(timeout=LONG)) == "let go"
        stop.set()
        await beating

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "args"),
    [("add", (1, 2)), ("fails", ()), ("flaky", (1,)), ("flaky", (9,)), ("counted", ("x",)), ("shared", (4,))],
)
def test_an_eager_run_ends_as_the_worker_does(app: Talo, name: str, args: tuple[Any, ...]) -> None:
    task = featured.tasks[f"featured.{name}"]
    there = app.send_task(task.name, args)
    value = there.get(timeout=LONG, propagate=False)
    here = task.apply(args)
    assert (here.state, repr(here.result)) == (there.state, re.sub(r"^\[\d+", f"[{_calls(here)}", repr(value)))


def _calls(result: Any) -> Any:
    return result.result[0] if isinstance(result.result, list) else ""


def test_always_eager_runs_here_and_sends_nothing(place: str, worker: Worker) -> None:
    with Talo("eager", broker=place, task_always_eager=True, set_as_current=False) as app:

        @app.task(bind=True)
        def where(self: Any) -> bool:
            return bool(self.request.is_eager)

        result = where.delay()
        assert result.get() is True
        assert app.AsyncResult(result.id).state == "PENDING"


# -- results


@pytest.mark.promise("R04")
def test_a_task_without_a_result_writes_none(app: Talo, place: str, request: pytest.FixtureRequest) -> None:
    results = [app.send_task("featured.silent") for _ in range(20)]
    results += [app.send_task("featured.add", (1, 1), ignore_result=True) for _ in range(20)]
    app.send_task("featured.add", (1, 1)).get(timeout=LONG)
    eventually(lambda: _is(sum(q.ready + q.leased for q in app.store.broker.stats()), 0))
    assert app.backend.get([result.id for result in results]) == {}
    if place.startswith("redis"):
        server: RedisServer = request.getfixturevalue("redis_server")
        keys = [f"celery-task-meta-{result.id}" for result in results]
        assert server.command("EXISTS", *keys, db=database_of(place)) == b":0\r\n"


def test_a_result_is_gone_when_its_time_is_over(place: str, tmp_path: Path) -> None:
    with Talo("short", broker=place, set_as_current=False) as app:
        env = {"TALO_RESULT_EXPIRES": "1"}
        with Worker(place, tmp_path, "-c", "1", "-Q", "short", app="tests.apps.featured", env=env):
            result = app.send_task("featured.add", (1, 2), queue="short")
            assert result.get(timeout=LONG) == 3
            eventually(lambda: _is(app.AsyncResult(result.id).state, "PENDING"))


def test_a_crowd_of_threads_waits_over_few_connections(app: Talo, place: str, request: pytest.FixtureRequest) -> None:
    wrong: list[object] = []
    most = 0

    def ask(number: int) -> None:
        for n in range(20):
            try:
                value = app.send_task("featured.add", (number, n)).get(timeout=LONG)
            except Exception as exc:
                wrong.append(exc)
            else:
                if value != number + n:
                    wrong.append(value)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(64)]
    idle = _connections(place, request)
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, _connections(place, request))
        threads[0].join(0.02)
        threads[-1].join(0.02)
    assert wrong == []
    assert most - idle <= 12


def _connections(place: str, request: pytest.FixtureRequest) -> int:
    """How many connections the store has; on SQLite open files of this process stand for them."""
    if place.startswith("redis"):
        server: RedisServer = request.getfixturevalue("redis_server")
        text = server.command("INFO", "clients").decode()
        return int(re.search(r"connected_clients:(\d+)", text)[1])  # type: ignore[index]
    name = place.rpartition("/")[2]
    return sum(name in _target(link) for link in Path("/proc/self/fd").iterdir())


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


# -- signals of the client, names


@pytest.mark.promise("K07")
def test_the_client_tells_of_a_send_with_the_documented_keywords(app: Talo) -> None:
    told: dict[str, tuple[Any, list[str]]] = {}

    def before(sender: Any, signal: Any, **keywords: Any) -> None:
        told["before"] = (sender, sorted(keywords))
        keywords["headers"]["added"] = "by a receiver"

    def after(sender: Any, signal: Any, **keywords: Any) -> None:
        told["after"] = (sender, sorted(keywords))

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        seen = facts(app)
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    assert told["before"] == (
        "featured.facts",
        ["body", "declare", "exchange", "headers", "properties", "retry_policy", "routing_key"],
    )
    assert told["after"] == ("featured.facts", ["body", "exchange", "headers", "routing_key"])
    assert seen["headers"] == {"added": "by a receiver"}


def test_celery_is_a_name_of_talo() -> None:
    assert Celery is Talo


def _is(actual: object, expected: object) -> None:
    assert actual == expected
