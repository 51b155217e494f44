"""The store stops, hangs, breaks and comes back under a worker: work goes on by itself, and nothing is lost.

Each server keeps what it has answered: Redis with a file that is synced before, RabbitMQ with quorum queues that it has
written down. RabbitMQ carries messages only, so its results stand in a file. (SQS: ``test_sqs``. SQLite: no server.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from talo.app.app import Talo
from tests.chaos.kit import HANGS, LONG, Fleet, Judge, call, check, for_seconds, full, kill, roles, send_all
from tests.chaos.place import Place, confirmed
from tests.support import eventually
from tests.unit.observe.scrape import ask
from tests.workers import client

#: How long a fault lasts: longer than a lease, and than one operation of the store may take.
FAULT = full(8.0, 2.5)
#: The promise: consuming again so soon after the store is back.
BACK = 10.0
HTTP = ("--http", "127.0.0.1:0")


@pytest.fixture(params=["redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    server = request.getfixturevalue(f"own_{request.param}")
    with server.proxy() as proxy:
        yield Place(server, proxy, tmp_path)


@pytest.fixture
def app(place: Place) -> Iterator[Talo]:
    """A client that does not go through the proxy."""
    with client(place.server.url, place.results) as app:
        yield app


def stopped(place: Place) -> Callable[[], object]:
    place.server.stop()
    return place.server.start


def killed(place: Place) -> Callable[[], object]:
    place.server.kill()
    return place.server.start


def paused(place: Place) -> Callable[[], object]:
    place.server.pause()
    return place.server.resume


def black_holed(place: Place) -> Callable[[], object]:
    place.proxy.black_hole()
    return place.proxy.pass_on


def reset(place: Place) -> Callable[[], object]:
    place.proxy.reset()
    return place.proxy.pass_on


def refused(place: Place) -> Callable[[], object]:
    place.proxy.refuse()
    return place.proxy.pass_on


def trickled(place: Place) -> Callable[[], object]:
    place.proxy.trickle(0.01)
    return place.proxy.pass_on


def late(place: Place) -> Callable[[], object]:
    """What was asked arrives when nobody waits for the answer any more, and much has been asked since."""
    place.proxy.hold()
    return place.proxy.pass_on


def cut(place: Place) -> Callable[[], object]:
    """Answers break off in the middle."""
    place.proxy.cut_after(100)
    return place.proxy.pass_on


def torn(place: Place) -> Callable[[], object]:
    """Short answers arrive; of longer ones it is not known whether what they answer was done."""
    place.proxy.cut_after(2_000)
    return place.proxy.pass_on


FAULTS = [killed, paused, black_holed, reset, trickled, late, *full([stopped, refused, cut, torn], [])]
#: A server of SQL is trickled no statement within a second, and RabbitMQ no login.
SLOW_FAULTS = [each for each in FAULTS if each is not trickled]
Fault = Callable[[Place], Callable[[], object]]
#: Nobody reaches the server, by whatever connection.
SILENT_FAULTS = (killed, stopped, paused, black_holed, reset, refused)


def readiness(fleet: Fleet) -> tuple[int, str]:
    """What the last worker answers to ``/readyz``: status and text."""
    return ask(fleet.last, "/readyz")


def is_ready(fleet: Fleet) -> None:
    status, reasons = readiness(fleet)
    assert status == 200, reasons


def is_unready(fleet: Fleet) -> None:
    status, reasons = readiness(fleet)
    assert status == 503
    assert "the broker" in reasons


def each(**faults: list[Fault]) -> pytest.MarkDecorator:
    """Run with these faults of these servers."""
    pairs = [(server, fault) for server, several in faults.items() for fault in several]
    ids = [f"{server}-{fault.__name__}" for server, fault in pairs]
    return pytest.mark.parametrize(("place", "fault"), pairs, indirect=["place"], ids=ids)


@pytest.mark.promise("B03")
@each(
    redis=FAULTS,
    postgres=full(SLOW_FAULTS, [killed, black_holed]),
    mariadb=full(SLOW_FAULTS, [killed]),
    rabbit=full([each for each in SLOW_FAULTS if each is not late], [black_holed]),
)
@pytest.mark.timeout(HANGS)
def test_work_flows_again_soon_after_the_store_is_back(fault: Fault, place: Place, app: Talo, tmp_path: Path) -> None:
    # Given work that flows
    if fault in (killed, stopped):
        place.remember()
    ids = send_all(app, [call("nap", 0.005) for _ in range(full(20_000, 2_000 if fault is late else 600))])
    with place.fleet(tmp_path, "-c", "2", *HTTP) as fleet:
        judge = Judge(app, fleet.trace, ids)
        eventually(lambda: check(len(fleet.trace.count("end")) > 100), LONG)
        eventually(lambda: is_ready(fleet), LONG)
        # When the store is away for a while, then the worker says so, until it comes back
        with ExitStack() as end:
            end.callback(fault(place))
            for_seconds(FAULT)
            if fault in SILENT_FAULTS:
                eventually(lambda: is_unready(fleet), LONG)
        back = time.time()
        eventually(lambda: is_ready(fleet), LONG)
        # Then what was there flows again, and so does what is new
        ids += [app.send_task("tests.apps.traced.burn", (0.0,)).id]
        judge = Judge(app, fleet.trace, ids)
        judge.wait(LONG)
        judge.nothing_is_left()
    starts = [(line[2], float(line[3])) for line in fleet.trace.lines() if line[0] == "start"]
    first = {pid: min((at for by, at in starts if by == pid and at > back), default=0.0) for pid, _ in starts}
    assert len(first) == 2, "no child was replaced"
    assert max(first.values()) < back + BACK
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    if place.exact:
        assert judge.repeated_without_cause() == set()


@pytest.mark.promise("D08", "B03")
@each(
    redis=full([killed, paused, black_holed, refused], [killed, paused]),
    postgres=full([killed, paused, black_holed], [paused]),
    mariadb=full([killed, paused, black_holed], []),
)
@pytest.mark.timeout(HANGS)
def test_a_task_that_ends_while_the_store_is_away_waits_with_its_settlement(
    fault: Fault, place: Place, app: Talo, tmp_path: Path
) -> None:
    # Given tasks that run
    ids = send_all(app, [call("nap", 1.0) for _ in range(2)])
    with place.fleet(tmp_path, "-c", "2") as fleet:
        judge = Judge(app, fleet.trace, ids)
        eventually(lambda: check(len(fleet.trace.count("start")) == 2), LONG)
        with ExitStack() as end:
            # When they end while the store is away, for longer than their lease
            end.callback(fault(place))
            eventually(lambda: check(len(fleet.trace.count("end")) == 2), LONG)
            for_seconds(FAULT)
        # Then they are recorded as what they were, and did not run again
        judge.wait()
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": 2}
    assert fleet.trace.count("start") == dict.fromkeys(ids, 1)
    assert judge.dead() == []


@pytest.mark.promise("B03")
@pytest.mark.parametrize("pool", ["threads", "asyncio", "solo"])
@pytest.mark.timeout(HANGS)
def test_every_pool_says_that_it_is_not_ready_and_comes_back(
    pool: str, place: Place, app: Talo, tmp_path: Path
) -> None:
    ids = send_all(app, [call("nap", 0.005) for _ in range(400)])
    with place.fleet(tmp_path, "-P", pool, "-c", "2", *HTTP) as fleet:
        eventually(lambda: check(len(fleet.trace.count("end")) > 20), LONG)
        eventually(lambda: is_ready(fleet), LONG)
        place.server.kill()
        eventually(lambda: is_unready(fleet), LONG)
        place.server.start()
        eventually(lambda: is_ready(fleet), LONG)
        judge = Judge(app, fleet.trace, ids)
        eventually(lambda: check(judge.seem_to_have_ended()), LONG)
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    assert judge.repeated() == set()


@pytest.mark.promise("B03", "D02")
@each(
    redis=full([black_holed, late, torn], [torn]),
    postgres=full([black_holed, late, torn], []),
    mariadb=full([black_holed, late, torn], []),
)
@pytest.mark.timeout(HANGS)
def test_children_that_die_while_the_store_is_away_are_buried(
    fault: Fault, place: Place, app: Talo, tmp_path: Path
) -> None:
    # Given children that hold much
    ids = send_all(app, [call("nap", 0.005) for _ in range(full(20_000, 400))])
    with place.fleet(tmp_path, "-c", "2") as fleet:
        judge = Judge(app, fleet.trace, ids)
        eventually(lambda: check(len(fleet.trace.count("end")) > 50), LONG)
        children = roles(app, fleet.last)["child"]
        with ExitStack() as end:
            end.callback(fault(place))
            # When they die while nobody can be told
            for child in children:
                kill(child)
            for_seconds(FAULT)
        # Then what they held runs all the same, and nothing stays with the agent that took it over
        judge.wait()
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    assert len(judge.repeated()) <= 2


@pytest.mark.promise("B03")
@pytest.mark.parametrize("place", full(["postgres", "mariadb", "rabbit"], ["postgres", "rabbit"]), indirect=True)
@pytest.mark.timeout(HANGS)
def test_work_goes_on_though_every_connection_is_ended_again_and_again(place: Place, app: Talo, tmp_path: Path) -> None:
    # Given work that flows
    ids = send_all(app, [call("nap", 0.005) for _ in range(full(20_000, 600))])
    with place.fleet(tmp_path, "-c", "2") as fleet:
        judge = Judge(app, fleet.trace, ids)
        eventually(lambda: check(len(fleet.trace.count("end")) > 20), LONG)
        # When the server ends all connections, many times
        place.end_connections(full(200, 10), 0.15)
        # Then all of it runs, and what had ended is known to have
        judge.wait()
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    if place.exact:
        assert judge.repeated_without_cause() == set()


@pytest.mark.promise("B03")
@pytest.mark.parametrize("place", full(["redis", "postgres", "mariadb", "rabbit"], ["rabbit"]), indirect=True)
@pytest.mark.timeout(HANGS)
def test_nothing_confirmed_is_lost_though_the_server_is_killed_again_and_again(
    place: Place, app: Talo, tmp_path: Path
) -> None:
    place.remember()
    slowest = 0.0
    with place.fleet(tmp_path, "-c", "2") as fleet:
        sent = confirmed(app, 1)
        for _ in range(full(20, 2 if place.exact else 1)):
            # Given work that flows, when the server is killed under it while more is sent
            with ThreadPoolExecutor(1) as producer:
                coming = producer.submit(confirmed, app, 300)
                eventually(lambda: check(len(fleet.trace.count("end")) > len(sent)), LONG)
                place.server.kill()
                for_seconds(0.5)
                place.server.start()
                back = time.monotonic()
                sent += coming.result()
            # Then what is sent now ends soon
            news = confirmed(app, 10)
            eventually(lambda news=news: check(set(news) <= set(fleet.trace.count("end"))), LONG)
            slowest = max(slowest, time.monotonic() - back)
            sent += news
        # And so does all that was ever confirmed
        judge = Judge(app, fleet.trace, sent)
        judge.wait()
        judge.nothing_is_left()
    print(f"consuming again after {slowest:.1f} s at most")
    assert slowest < BACK
    assert set(sent) <= set(fleet.trace.count("end"))
