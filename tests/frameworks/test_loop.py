"""The event loop stays free while a store does not answer: neither a send nor a wait for a result holds it.

How late a tick of the loop comes depends on the machine, too, and on what threads do beside it. So each round has a
measure of its own, threads that just send or sleep, and there are as many as it takes for a quiet one: what Talo did on
the loop it would do in every one, and a neighbour's noise does not repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from talo import Talo
from talo.app.aio import in_thread
from talo.errors import PublishTimeout, TimeoutError
from tests.django.postgres import Postgres, postgres  # noqa: F401
from tests.django.site import Site
from tests.frameworks.watched_loop import HELD
from tests.frameworks.watched_loop import PATIENCE as WATCHED_PATIENCE
from tests.servers.proxy import Proxy
from tests.workers import ROOT

#: Seconds after which a call gives up; nothing answers for so long.
PATIENCE = 0.2
CALLS = 12
ROUNDS = 40
TICK = 0.002
#: Seconds that a call may hold the loop.
HOLD = 0.005
#: Seconds of its own work that a callback may do, on a slow machine. Loading a client library takes ten times as long.
WORK = 0.02


@contextlib.contextmanager
def silenced(
    store: str, request: pytest.FixtureRequest, folder: Path
) -> Iterator[tuple[dict[str, Any], Callable[[], object]]]:
    """The settings of an app on a store, and how to make that fall silent."""
    if store == "sqlite":
        path = folder / "talo.sqlite3"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
            yield {"broker": f"sqlite:///{path}"}, lambda: holder.execute("BEGIN EXCLUSIVE")
        return
    if store == "django":
        server: Postgres = request.getfixturevalue("postgres")
        database = server.database()
        with Proxy("127.0.0.1", database["PORT"]) as proxy:
            databases = {"default": {**database, "PORT": proxy.port}}
            publish_timeout = {"TALO_PUBLISH_TIMEOUT": WATCHED_PATIENCE}
            yield {"databases": databases, "settings": publish_timeout}, proxy.black_hole
            proxy.reset()
        return
    url: str = request.getfixturevalue("sqs_endpoint" if store == "sqs" else f"{store}_url")
    with Proxy("127.0.0.1", *(int(port) for port in re.findall(r":(\d+)", url))) as proxy:
        url = proxy.through(url)
        settings: dict[str, Any] = {"broker": url}
        if store == "rabbit":
            settings["backend"] = "rpc://"
        elif store == "sqs":
            options = {"region": "us-east-1", "endpoint_url": url, "queue_name_prefix": uuid.uuid4().hex[:8]}
            settings = {
                "broker": "sqs://key:secret@",
                "backend": f"sqlite:///{folder}/results.sqlite3",
                "broker_transport_options": options,
            }
        yield settings, proxy.black_hole
        proxy.reset()  # nothing that still waits has to wait any longer


async def worst_lag(work: Awaitable[object]) -> float:
    """The most seconds by which a tick of the loop came late while ``work`` went on."""
    late = 0.0
    going = asyncio.ensure_future(work)
    while not going.done():
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        late = max(late, time.perf_counter() - due)
    await going
    return late


@pytest.mark.parametrize("store", ["sqlite", "redis", "postgres", "rabbit", "sqs"])
def test_sends_and_waits_leave_the_loop_free_while_the_store_is_silent(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with silenced(store, request, tmp_path) as (settings, hush):
        # Given a store that answered once and does not any more
        app = Talo("loop", **settings, set_as_current=False, publish_timeout=PATIENCE)

        @app.task
        def add(x: int) -> int:
            return x

        async def sends() -> None:
            ends = await asyncio.gather(*(add.adelay(n) for n in range(CALLS)), return_exceptions=True)
            assert {type(end) for end in ends} == {PublishTimeout}

        async def waits() -> None:
            ends = await asyncio.gather(
                *(app.AsyncResult(f"id{n}").aget(timeout=PATIENCE) for n in range(CALLS)), return_exceptions=True
            )
            assert {type(end) for end in ends} <= {TimeoutError}

        def send(n: int) -> None:
            with contextlib.suppress(PublishTimeout):
                add.delay(n)

        def sleep(_: int) -> None:
            time.sleep(PATIENCE / 2)

        async def threads(work: Callable[[int], None]) -> None:
            await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(CALLS)))

        async def measure() -> dict[str, float]:
            await asyncio.to_thread(add.apply_async, (0,), timeout=60)  # the first one makes queues and tables
            hush()
            over = {sends: math.inf, waits: math.inf}
            for _ in range(ROUNDS):
                for call, alike in ((sends, send), (waits, sleep)):
                    usual = await worst_lag(threads(alike))
                    over[call] = min(over[call], await worst_lag(call()) - usual)
                if max(over.values()) <= HOLD:
                    break
            return {call.__name__: seconds for call, seconds in over.items()}

        # When many calls at a time run into it
        over = asyncio.run(measure())

    # Then none of them holds the loop longer than threads that do the same
    app.close()
    assert max(over.values()) <= HOLD, over


def seen_on_the_loop(store: str, request: pytest.FixtureRequest, folder: Path, **plan: Any) -> dict[str, Any]:
    """What ``watched_loop`` saw; its store answers its first call only."""
    with silenced(store, request, folder) as (settings, hush):
        env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        if store == "django":
            site = Site(folder, broker="django://default", **settings)
            site.migrate()
            env = site.env
        whole = json.dumps({"django": store == "django", "settings": settings, **plan})
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.frameworks.watched_loop", whole], cwd=folder, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert program.stdin
        assert program.stdout
        assert program.stdout.readline() == "sent\n"
        hush()
        program.stdin.write("\n")
        program.stdin.flush()
        seen: dict[str, Any] = json.loads(program.stdout.readline())
    # The store is back: whatever still waited for it ends.
    program.communicate(timeout=60)
    assert program.returncode == 0
    return seen


@pytest.mark.promise("P06")
@pytest.mark.parametrize("store", ["sqlite", "redis", "rabbit", "sqs", "postgres", "django"])
def test_nothing_on_the_loop_s_thread_waits_for_a_store_or_takes_long(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # When a program sends and waits, for the first time and while the store is silent
    seen = seen_on_the_loop(store, request, tmp_path)

    # Then all of it ends, sends as not sent and waits as timed out
    assert seen["ends"] == [["PublishTimeout", "TimeoutError"]] * 2
    # And the loop's thread has asked neither the store nor anybody who may be asking it
    assert seen["asked"] == []
    assert seen["wall"] < HELD, seen["longest"]
    # And had little to do itself, whatever else the machine was doing
    assert seen["cpu"] <= WORK, seen["dearest"]


def test_a_send_that_is_not_awaited_would_be_noticed(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    seen = seen_on_the_loop("redis", request, tmp_path, held=True)
    assert any("_socket" in each for each in seen["asked"])
    assert seen["wall"] >= HELD


def test_a_wait_ends_in_time_although_the_store_is_silent(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    # Given a Redis that answers nobody, and somebody who has been waiting since before
    with silenced("redis", request, tmp_path) as (settings, hush):
        app = Talo("wait", **settings, set_as_current=False)

        async def wait() -> float:
            await in_thread(app.AsyncResult("any")._get_task_meta)
            hush()
            begun = time.monotonic()
            waits = [app.AsyncResult(f"id{n}").aget(timeout=PATIENCE) for n in range(CALLS)]
            ends = await asyncio.gather(*waits, return_exceptions=True)
            assert {type(end) for end in ends} == {TimeoutError}
            return time.monotonic() - begun

        # Then every wait ends by its own timeout, not by the store's, one after the other
        assert asyncio.run(wait()) < 4
    app.close()


def test_sends_that_found_no_thread_give_up_with_those_that_did(tmp_path: Path) -> None:
    # Given more sends than threads, and a file that somebody else has locked
    path = tmp_path / "talo.sqlite3"
    app = Talo("many", broker=f"sqlite:///{path}", set_as_current=False, publish_timeout=1)
    app.send_task("any")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")

        async def sends() -> tuple[list[object], float]:
            begun = time.monotonic()
            calls = [app.asend_task("any") for _ in range(200)]
            return await asyncio.gather(*calls, return_exceptions=True), time.monotonic() - begun

        # When all are sent at once, then all give up together instead of one batch after the other (200 / 32 > 6 s)
        ends, took = asyncio.run(sends())
    assert {type(end) for end in ends} == {PublishTimeout}
    assert took < 5
    app.close()


def test_a_silent_result_store_keeps_nobody_from_sending(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    # Given results in a Redis that is silent, tasks in a file, and waits that hold every thread they can get
    with silenced("redis", request, tmp_path) as (settings, hush):
        app = Talo("split", broker=f"sqlite:///{tmp_path}/b.sqlite3", backend=settings["broker"], set_as_current=False)
        hush()

        async def send() -> float:
            waits = [asyncio.ensure_future(app.AsyncResult(f"id{n}").aget(timeout=2)) for n in range(100)]
            await asyncio.sleep(0)
            begun = time.monotonic()
            await app.asend_task("any")
            took = time.monotonic() - begun
            assert not any(wait.done() for wait in waits)
            await asyncio.gather(*waits, return_exceptions=True)
            return took

        # Then a send goes through while they wait
        assert asyncio.run(send()) < 2
        [queue] = app.store.broker.stats()
        assert queue.ready == 1
    app.close()
