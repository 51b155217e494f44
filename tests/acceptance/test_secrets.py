"""Secret arguments: a value that was passed for one is searched in everything that Talo writes, and found nowhere.

One long day of an app (``tests.apps.secretive``) on each store: runs, retries, workflows, dead letters, schedules,
remote control, dashboard, events, traces, Sentry. The same search finds an argument that is not secret."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import secrets as random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from click.testing import CliRunner

from talo import chain, chord, group
from talo.cli.main import talo
from talo.control.schedules import ScheduleControl
from talo.web import Dashboard
from tests.apps import secretive
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.web.support import Client
from tests.workers import ROOT, Worker

APP = "tests.apps.secretive"
#: Commands that show what there is.
LOOKS = (
    "status", "runs", "runs --json", "dead list", "dead list --json", "queues", "waiting celery", "failures",
    "schedule list", "schedule list --json", "schedule history nightly", "inspect registered", "inspect conf", "report",
    "check --settings",
)  # fmt: skip
#: Commands that show one run.
RUN_LOOKS = ("run", "explain", "result", "graph")
WAIT = 60.0


class Sinks:
    """Everything that is written in one day."""

    def __init__(self, folder: Path, dump: Callable[[], bytes]) -> None:
        self.folder = folder
        self._dump = dump
        self.seen: list[tuple[str, str]] = []

    def see(self, where: str, text: object) -> str:
        """Note what somebody was shown; return it."""
        self.seen.append((where, str(text)))
        return str(text)

    def places(self) -> Iterator[tuple[str, bytes]]:
        yield "the store", self._dump()
        yield from ((str(path), path.read_bytes()) for path in self.folder.rglob("*") if path.is_file())
        yield from ((where, text.encode(errors="replace")) for where, text in self.seen)

    def holding(self, value: str) -> list[str]:
        """The places where a value stands, in clear or within base64."""
        forms = [value.encode(), *(_in_base64(value.encode(), shift) for shift in range(3))]
        return sorted({where for where, data in self.places() if any(form in data for form in forms)})


def _in_base64(value: bytes, shift: int) -> bytes:
    """The characters of base64 that no neighbour of the value changes."""
    coded = base64.b64encode(bytes(shift) + value)
    return coded[0 if shift == 0 else 4 : len(coded) - 4]


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Callable[[], bytes]]:
    """The URL of a store, and all bytes that it keeps: of Redis all that was ever written."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/talo.sqlite3", lambda: b""  # its files are in the folder
    if request.param == "redis":
        redis: RedisServer = request.getfixturevalue("own_redis")
        return redis.url, redis.appended
    url = str(request.getfixturevalue("postgres_url"))
    return url, lambda: _rows(url)


def _rows(url: str) -> bytes:
    found = b""
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
        for (table,) in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"').fetchall():  # type: ignore[arg-type]
                found += b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in row)
    return found


@pytest.fixture
def day(store: tuple[str, Callable[[], bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    url, dump = store
    canary = f"canary-{random.token_hex(8)}"
    for name, value in (("SINKS", str(tmp_path)), ("CANARY", canary), ("TALO_BROKER_URL", url)):
        monkeypatch.setenv(name, value)
    app = secretive.app
    app.conf.beat_schedule["daily"]["args"][1] = canary
    arguments = ("-c", "2", "-E", "-B", "--log-format", "json")
    places = dict.fromkeys(("broker_url", "broker_read_url", "broker_write_url"), url)
    with app.conf.overridden(**places), Worker(url, tmp_path, *arguments, app=APP, loglevel="DEBUG") as worker:
        try:
            with listener(tmp_path):
                yield Day(canary, Sinks(tmp_path, dump), tmp_path / "go", worker)
        finally:
            app.close_stores()


@contextlib.contextmanager
def listener(folder: Path) -> Iterator[None]:
    """``talo events``, into a file."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-m", "talo", "-A", APP, "events", "--dump"]
    with open(folder / "events", "wb") as out:
        process = subprocess.Popen(command, stdout=out, env=env, cwd=folder, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


class Day:
    """One app's day. The plain text arrives wherever a task ran: ``proof``."""

    def __init__(self, canary: str, sinks: Sinks, go: Path, worker: Worker) -> None:
        self.app = secretive.app
        self.canary = canary
        self.proof = secretive.proof(canary)
        self.sinks = sinks
        self.go = go
        self.worker = worker

    def succeeds(self, result: Any) -> Any:
        """Wait for a result; what it tells of itself is seen."""
        value = result.get(timeout=WAIT)
        self.sinks.see("a handle", [repr(result), value, result.args, result.kwargs, result.info])
        return value

    def runs(self) -> None:
        canary, me = self.canary, self.proof
        assert self.succeeds(secretive.login.delay("a", canary)) == f"a {me}"
        assert self.succeeds(secretive.login.delay("b", password=canary, pin=canary)) == f"b {me}"
        assert self.succeeds(self.app.send_task("login", ("c", canary))) == f"c {me}"
        assert self.succeeds(self.app.send_task("login", ("d", self.app.seal(canary)))) == f"d {me}"
        assert self.succeeds(secretive.alogin.delay("e", canary)) == f"e {me}"
        assert self.succeeds(secretive.again.delay(canary)) == me
        assert self.succeeds(secretive.replaced.delay(canary)) == f"replaced {me}"
        self.succeeds(secretive.forward.delay("f", canary))
        assert self.succeeds(secretive.login.starmap([("g", canary)]).apply_async()) == [f"g {me}"]

    def workflows(self) -> None:
        """They wait while one member holds them up, so that what comes later stands in the store."""
        canary, me = self.canary, self.proof
        held = secretive.hold.s(canary, str(self.go))
        whole = chord(group(held, secretive.login.s("a", canary)), secretive.finish.s(canary))
        steps = chain(secretive.hold.si(canary, str(self.go)), *[secretive.login.si("b", canary) for _ in range(20)])
        self.sinks.see("signatures", [repr(whole), repr(steps), str(steps), repr(held)])
        late = secretive.login.apply_async(("late", canary), countdown=3600, link=secretive.login.si("x", canary))
        ends = whole.apply_async(), steps.apply_async()
        eventually(lambda: self._looks_in(late.id), WAIT, 0.2)
        self.go.touch()
        assert self.succeeds(ends[0]) == [me, f"a {me}", me]
        assert self.succeeds(ends[1]) == f"b {me}"

    def _looks_in(self, late: str) -> None:
        look = self.app.control.inspect(timeout=5)
        told = [look.active(), look.reserved(), look.scheduled(), look.query_task(late)]
        assert "hold" in self.sinks.see("remote control", told)

    def dead_letters(self) -> None:
        for call in ((("a", self.canary), {}), (("b",), {"password": self.canary})):
            with pytest.raises(ValueError) as told:
                secretive.refuse.apply_async(*call).get(timeout=WAIT)
            assert self.proof in self.sinks.see("an exception", [repr(told.value), str(told.value)])

    async def pages(self) -> None:
        """Every page that a link leads to, every reading of the API, and an edit as the form shows it."""
        async with Client(Dashboard(self.app)) as client:
            await self._crawl(client)
            await self._edit(client)

    async def _crawl(self, client: httpx.AsyncClient) -> None:
        api = (await client.get("/api/openapi.json")).json()
        paths = ["/", *(path for path, methods in api["paths"].items() if "get" in methods)]
        known, kinds = set(paths), Counter[str]()
        for path in paths:
            answer = await client.get(path, headers={} if "/api/" in path else {"accept": "text/html"})
            text = self.sinks.see(f"page {path}", answer.text)
            for found in re.findall(r'href="(/[^"#]*)"', text):
                link = unescape(found)
                kind = link.partition("?")[0]
                if link not in known and kinds[kind] < 6:
                    known.add(link)
                    kinds[kind] += 1
                    paths.append(link)
        assert {"/dead/letter", "/run", "/schedule", "/workflow", "/configuration"} <= kinds.keys()

    async def _edit(self, client: httpx.AsyncClient) -> None:
        letters = (await client.get("/api/dead", params={"task": "refuse"})).json()["letters"]
        for letter in letters:
            facts = (await client.get("/api/dead/letter", params={"id": letter["id"]})).json()
            shown = facts["edit"]
            assert "<secret>" in self.sinks.see("the form of an edit", shown["args"] + shown["kwargs"])
            # When it is sent as it is shown
            edit = {"id": letter["id"], "args": shown["args"].replace('"a"', '"again"'), "kwargs": shown["kwargs"]}
            client.cookies.clear()  # a program has none
            answer = await client.post("/api/dead/edit", json=edit)
            assert answer.status_code == 200, answer.text
            # Then the task has the secret that the first run had
            new = self.app.AsyncResult(answer.json()["task_id"])
            with pytest.raises(ValueError, match=self.proof):
                new.get(timeout=WAIT)

    def schedules(self) -> None:
        control = ScheduleControl(self.app)
        control.add("nightly", "login", "every 1h", args=["n", self.canary])
        eventually(lambda: self._sees_schedules(control), WAIT, 0.2)
        assert self.succeeds(self.app.AsyncResult(control.run_now("nightly"))) == f"n {self.proof}"
        control.edit("nightly", kwargs={"pin": self.canary})
        assert self.succeeds(self.app.AsyncResult(control.run_now("nightly"))) == f"n {self.proof}"

    def _sees_schedules(self, control: ScheduleControl) -> None:
        names = [each.name for each in control.list()]
        self.sinks.see("schedules", control.list())
        assert names == ["daily", "nightly"]

    def commands(self) -> None:
        for line in LOOKS:
            self._command(*line.split())
        letters = self.app.store.broker.dead(limit=5)
        assert "<secret>" in self._command("dead", "show", "--json", *(letter.id for letter in letters))
        for line in RUN_LOOKS:
            self._command(line, str(letters[0].death.task_id))
        self._command("dead", "replay", "--all")

    def _command(self, *words: str) -> str:
        done = CliRunner().invoke(talo, ["-A", APP, *words])
        # That of a failed task fails.
        assert done.exit_code == (1 if words[0] == "result" else 0), f"{words}: {done.output} {done.exception!r}"
        return self.sinks.see(f"talo {words[0]}", done.output)


@pytest.mark.promise("X06")
def test_a_secret_argument_is_found_nowhere(day: Day) -> None:
    # Given a day on which everything happens to a secret, and an argument that is none
    day.runs()
    day.workflows()
    day.schedules()
    day.dead_letters()
    asyncio.run(day.pages())
    day.commands()
    open_one = f"open-{random.token_hex(8)}"
    with pytest.raises(ValueError):
        secretive.spread.delay(open_one).get(timeout=WAIT)
    # When the worker has written all that it had to write
    assert day.worker.stop() == 0
    # Then nothing shows it
    assert day.sinks.holding(day.canary) == []
    # And the search is one that finds
    found = day.sinks.holding(open_one)
    assert {Path(each).name for each in found} >= {"w.log", "spans", "sentry", "events"}
    assert any(where == "the store" or "talo.sqlite3" in where for where in found)
