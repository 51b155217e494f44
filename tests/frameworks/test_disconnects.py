"""Clients that go away and servers that end while tasks are being sent: nothing hangs, nothing is left open."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask

from talo import Talo
from talo.app.aio import THREADS
from talo.errors import PublishTimeout
from talo.fastapi import lifespan, status_router
from talo.flask import Talo as FlaskTalo
from tests.servers.redis import RedisServer

REQUESTS = 200
#: Seconds in which all that is going on ends, on however busy a machine.
PATIENCE = 60


@pytest.fixture(params=["sqlite", "redis"])
def talo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Talo]:
    """An app on a store that it opens by itself."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else f"sqlite:///{tmp_path}/t.sqlite3"
    app = Talo("shop", broker=url, set_as_current=False, publish_timeout=PATIENCE)
    yield app
    app.close()


def ready(app: Talo) -> int:
    """How many tasks wait."""
    return sum(queue.ready for queue in app.store.broker.stats())


async def request(api: FastAPI, method: str, path: str, *, stays: bool) -> list[bytes]:
    """One request of a client that stays, or that has gone as soon as it has asked; what it was told."""
    came: list[bytes] = []
    incoming = iter([{"type": "http.request", "body": b""}] if stays else [
        {"type": "http.request", "body": b""}, {"type": "http.disconnect"},
    ])  # fmt: skip

    async def receive() -> Any:
        if (message := next(incoming, None)) is None:
            await asyncio.Event().wait()
        return message

    async def send(message: Any) -> None:
        came.append(message.get("body", b""))

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "server": ("test", 80), "client": ("test", 1), "root_path": "",
        "asgi": {"version": "3.0"},
    }  # fmt: skip
    await api(scope, receive, send)
    return came


def service(app: Talo) -> FastAPI:
    """What sends a task for each POST, and tells of tasks."""
    api = FastAPI(lifespan=lifespan(app))
    api.include_router(status_router(app, prefix="/tasks"))

    @api.post("/send")
    async def send() -> str:
        return (await app.asend_task("any")).id

    return api


def test_clients_that_go_away_leave_nothing_behind(talo: Talo) -> None:
    async def serve() -> tuple[int, int]:
        api, before = service(talo), asyncio.all_tasks()
        async with api.router.lifespan_context(api):
            # Given clients that send, of whom some stay, some go, and some are cancelled by their server
            calls = [asyncio.ensure_future(request(api, "POST", "/send", stays=n % 2 == 0)) for n in range(REQUESTS)]
            await asyncio.sleep(0)
            for call in calls[::5]:
                call.cancel()
            # And clients that go while they are told of tasks that will never end
            await asyncio.gather(*(request(api, "GET", f"/tasks/{n}/events", stays=False) for n in range(50)))
            await asyncio.gather(*calls, return_exceptions=True)
        # Then nothing goes on in the loop when all has ended
        assert asyncio.all_tasks() == before
        return sum(not call.cancelled() for call in calls), sum(call.cancelled() for call in calls)

    answered, cancelled = asyncio.run(asyncio.wait_for(serve(), PATIENCE))
    # And what was answered is sent, and what was cancelled is sent once or not
    assert answered <= ready(talo) <= answered + cancelled
    assert (answered, cancelled) == (REQUESTS * 4 // 5, REQUESTS // 5)
    # And there are as many threads as there may be, not one for each client
    assert sum(thread.name.startswith("talo-") for thread in threading.enumerate()) <= 2 * THREADS + 2


def test_a_lifespan_that_ends_while_tasks_are_sent_waits_for_them_and_leaves_nothing_open(talo: Talo) -> None:
    async def live() -> tuple[int, int, int]:
        # When it ends while many sends are on their way, and nobody awaits some of them any more
        async with lifespan(talo)(None):
            sends = [asyncio.ensure_future(talo.asend_task("any")) for _ in range(REQUESTS)]
            await asyncio.sleep(0.01)
            for send in sends[::5]:
                send.cancel()
        # Then its connections are closed, and no send opens new ones
        opened = len(talo._stores._opened)
        await asyncio.gather(*sends, return_exceptions=True)
        return opened, len(talo._stores._opened), sum(not send.cancelled() for send in sends)

    before, after, sent = asyncio.run(asyncio.wait_for(live(), PATIENCE))
    assert (before, after) == (0, 0)
    assert sent <= ready(talo) <= REQUESTS


def test_a_lifespan_ends_while_the_broker_is_silent(redis_server: RedisServer, redis_url: str) -> None:
    # Given sends that a silent broker does not answer
    with redis_server.proxy() as proxy:
        app = Talo("shop", broker=proxy.through(redis_url), set_as_current=False, publish_timeout=0.5)
        proxy.black_hole()

        async def live() -> list[Any]:
            async with lifespan(app)(None):
                sends = [asyncio.ensure_future(app.asend_task("any")) for _ in range(REQUESTS)]
                await asyncio.sleep(0)
            return await asyncio.gather(*sends, return_exceptions=True)

        # When the lifespan ends, then it ends with them, by their own deadline and not by one after the other
        begun = time.monotonic()
        ends = asyncio.run(asyncio.wait_for(live(), PATIENCE))
        assert {type(end) for end in ends} == {PublishTimeout}
        assert time.monotonic() - begun < PATIENCE / 2
        proxy.reset()
    app.close()


def test_coroutine_views_of_flask_send_from_many_loops_at_once(tmp_path: Path) -> None:
    # Given a Flask application, which runs each coroutine view in a loop of its own
    web = Flask("shop")
    talo = FlaskTalo(web, set_as_current=False)
    web.config["TALO"] = {"broker_url": f"sqlite:///{tmp_path}/t.sqlite3", "publish_timeout": PATIENCE}

    @web.post("/send")
    async def send() -> str:
        return (await talo.asend_task("any")).id

    # When many are asked for at a time
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda _: web.test_client().post("/send"), range(REQUESTS)))

    # Then each has sent its task
    assert {answer.status_code for answer in answers} == {200}
    assert ready(talo) == len({answer.text for answer in answers}) == REQUESTS
    talo.close()
