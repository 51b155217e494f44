"""Who looks changes nothing, and what is shown is so: dashboards, ``talo top``, ``talo events`` and scrapes of metrics,
on every store."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from typing import Any

import anyio
import httpx
import pytest

from talo.app.app import Talo
from talo.errors import NotSupported
from talo.stores.base import Settlement
from tests.chaos.kit import LONG, SEED, SOAK, full, kill
from tests.places import APP, STORES, Place, a_place  # noqa: F401  fixture
from tests.support import eventually
from tests.unit.observe.scrape import ask
from tests.web.support import Client, dashboard_of
from tests.workers import Worker

pytestmark = [pytest.mark.soak] if SOAK else []
#: What a browser asks for.
PAGES = (
    "/",
    "/runs",
    "/runs?state=waiting",
    "/queues",
    "/queue?queue=still",
    "/workers",
    "/dead",
    "/explain?id=nobody",
)
#: Rounds of three readers each, and tasks that run meanwhile.
ROUNDS, TASKS = full(334, 3), full(3000, 60)


#: Where another process may look, and where what waits is counted exactly.
COUNTED = ("sqlite", "redis_url", "postgres_url", "django")


class Still:
    """Work that nobody does: some waits, some is delayed, some is held under a lease that goes on."""

    QUEUE, OWNER = "still", "keeper"

    def __init__(self, app: Talo) -> None:
        self._broker = app.store.broker
        self._hands_over = app.store.features.hands_over
        self.ids = [app.send_task("t", (n,), queue=self.QUEUE).id for n in range(6)]
        app.send_task("t", (6,), queue=self.QUEUE, countdown=800)
        self._broker.open(self.OWNER, worker="keeper@test", slots=2, lease=3600)
        self.held: list[Any] = []
        eventually(self._hold_two, timeout=30)

    def _hold_two(self) -> None:
        self.held += self._broker.turn([], self.OWNER, [self.QUEUE], 2 - len(self.held)).deliveries
        assert len(self.held) == 2

    def told(self) -> dict[str, Any]:
        """The delivery state, as far as the store lets anybody look: numbers, order, leases, attempts, dead letters."""
        [stats] = self._broker.stats([self.QUEUE])
        told: dict[str, Any] = {"numbers": (stats.ready, stats.delayed, stats.leased)}
        told["dead"] = [each.id for each in self._broker.dead()]
        if self._hands_over:
            held = self._broker.held(self.OWNER)
            told["held"] = [(each.lease, each.deliveries, each.suspect) for each in held]
        with contextlib.suppress(NotSupported):
            told["waits"] = [
                [(each.id, each.headers, each.due) for each in self._broker.peek(self.QUEUE, 50, delayed=delayed)]
                for delayed in (False, True)
            ]
        return told

    def end(self) -> list[tuple[str | None, int]]:
        """Settle what is held, fetch what waits, and settle that; return ids and how often each was charged."""
        done = [*self.held]
        assert self._broker.settle([Settlement(lease=each.lease) for each in self.held]) == []

        def fetch() -> None:
            found = self._broker.turn([], self.OWNER, [self.QUEUE], 10).deliveries
            assert self._broker.settle([Settlement(lease=each.lease) for each in found]) == []
            done.extend(found)
            assert len(done) >= len(self.ids)

        eventually(fetch, timeout=30)
        return sorted((each.message.id, each.deliveries) for each in done)


def _look(address: str, chance: random.Random) -> list[threading.Thread]:
    """Ask a dashboard for some pages at once."""

    def page(path: str) -> None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(address + path, timeout=20)

    threads = [threading.Thread(target=page, args=(path,)) for path in chance.sample(PAGES, 4)]
    for thread in threads:
        thread.start()
    return threads


def _round(place: Place, worker: Worker, chance: random.Random) -> None:
    """A dashboard, ``top`` and ``events`` begin; wherever they are, they are killed."""
    readers = [
        place.start("dashboard", "-p", "0", "--audit", os.devnull),
        place.start("top", "--json"),
        place.start("events"),
    ]
    looking: list[threading.Thread] = []
    try:
        if chance.random() < 0.7:
            assert readers[0].stdout is not None
            address = readers[0].stdout.readline().split()[-1].rstrip("/")
            looking = _look(address, chance)
        threading.Event().wait(chance.uniform(0, 0.5))
        assert ask(worker, "/metrics")[0] == 200
    finally:
        for reader in readers:
            kill(reader.pid)
            reader.communicate()
        for thread in looking:
            thread.join()


@pytest.mark.promise("T10")
@pytest.mark.parametrize("place", STORES, indirect=True)
@pytest.mark.timeout(full(7200, 300))
def test_readers_that_come_and_are_killed_change_no_delivery(place: Place) -> None:
    chance = random.Random(SEED)
    with place.client() as app, place.worker("-c", "2", "-E", "--http", "0") as worker:
        # Given work that stands still, and work that is done
        still = Still(app)
        before = still.told()
        sent = [each.id for each in app.send_many([(f"{APP}.nap", (0.02,), {}, {})] * TASKS)]
        # When readers come, look and are killed, again and again
        for _ in range(ROUNDS):
            _round(place, worker, chance)
        # Then what stands still stands as it was, lease for lease
        assert still.told() == before
        # And what was to be done has been done, each once
        eventually(lambda: _is(len(worker.trace.count("end")), TASKS), timeout=LONG)
        assert worker.trace.count("start") == dict.fromkeys(sent, 1)
        # And what was held can still be settled by who holds it; what waited comes for the first time
        assert still.end() == sorted((each, 0) for each in still.ids)


def _is(found: object, wanted: object) -> None:
    assert found == wanted


@pytest.mark.parametrize("place", COUNTED, indirect=True)
@pytest.mark.anyio
async def test_what_waits_and_how_old_it_is_is_shown_within_five_seconds(place: Place) -> None:
    with place.client() as app:
        # Given queues in which work waits, is delayed, is held
        broker = app.store.broker
        sent: dict[str, tuple[float, float]] = {}
        for queue, ready, delayed in (("mail", 5, 2), ("media", 3, 0), ("reports", 0, 4)):
            began = time.time()
            for number in range(ready):
                app.send_task("t", (number,), queue=queue)
                if number == 0:
                    sent[queue] = began, time.time()
            for number in range(delayed):
                app.send_task("t", (number,), queue=queue, countdown=600)
        wanted = {"mail": (5, 2, 0), "media": (3, 0, 0), "reports": (0, 4, 0)}
        async with Client(dashboard_of(app)) as web:
            await _shown(web, wanted, sent)
            # When some is fetched: the oldest of a queue, all of another
            broker.open("o", worker="w@test", slots=8, lease=60)
            fetched = 0
            while fetched < 3:
                fetched += len(broker.turn([], "o", ["media"], 3 - fetched).deliveries)
            await _shown(web, wanted | {"media": (0, 0, 3)}, {"mail": sent["mail"]})
            # And more is sent
            app.send_task("t", (9,), queue="reports")
            sent["reports"] = time.time() - 1.0, time.time()
            await _shown(web, wanted | {"media": (0, 0, 3), "reports": (1, 4, 0)}, sent | {"media": None})


@pytest.mark.parametrize("place", ["rabbit_url"], indirect=True)
@pytest.mark.anyio
async def test_what_the_broker_does_not_tell_is_shown_as_unknown(place: Place) -> None:
    with place.client() as app:
        # Given work that waits and work that is delayed, on a broker that tells neither ages nor whose the delays are
        app.send_task("t", queue="mail")
        app.send_task("t", queue="mail", countdown=600)
        async with Client(dashboard_of(app)) as web:
            # When one looks
            told = (await web.get("/api/queues")).json()["queues"]
            pages = [(await web.page(path)).text for path in ("/", "/queues", "/queue?queue=mail", "/runs?queue=mail")]
            # Then nothing is called none
            assert [(each["ready"], each["delayed"], each["oldest"]) for each in told if each["name"] == "mail"] == [
                (1, None, None)
            ]
            assert [page.count("unknown") > 0 for page in pages] == [True] * 4
            # Of this queue both, of the default one, in which nothing waits, what is delayed
            assert pages[1].count(">unknown<") == 3


async def _shown(web: Client, wanted: dict[str, tuple[int, int, int]], sent: dict[str, Any]) -> None:
    """Within five seconds the dashboard shows these numbers, and ages that fit when the oldest were sent."""
    deadline = time.monotonic() + 5.0
    while True:
        before = time.time()
        told = (await web.get("/api/queues")).json()["queues"]
        after = time.time()
        shown = {each["name"]: (each["ready"], each["delayed"], each["leased"]) for each in told}
        ages = {each["name"]: each["oldest"] for each in told}
        fits = all(
            ages[name] is None if span is None else before - span[1] - 1 <= (ages[name] or -1) <= after - span[0] + 1
            for name, span in sent.items()
            if name in ages
        )
        if fits and {name: shown.get(name) for name in wanted} == wanted:
            return
        assert time.monotonic() < deadline, (shown, ages)
        await anyio.sleep(0.1)
