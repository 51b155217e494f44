"""Every id that a send returned runs, though the broker is killed at random while the sends go on.

Each server keeps what it has answered: Redis with a file that is synced before, RabbitMQ with a quorum queue that it
has written down. Amazon keeps its own servers; their stand-in forgets everything when it ends, so there it is the
connections that are cut, at any byte: what a send returned must have got through all the same.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from talo.app.app import Talo
from tests.chaos.kit import HANGS, LONG, SEED, Fleet, Judge, check, for_seconds, full
from tests.chaos.place import Place, confirmed
from tests.servers.proxy import Proxy
from tests.servers.sqs import SqsServer
from tests.support import eventually
from tests.workers import client

#: How many are sent, and about how often the broker fails meanwhile.
COUNT, FAILURES = full(100_000, 600), full(40, 2)
#: Sent at once by every other producer.
BATCH = 50


class Broker(NamedTuple):
    """A broker that can be made to fail, and that comes back when what ``fail`` returned is called."""

    url: str
    results: str | None
    fail: Callable[[], Callable[[], object]]
    options: Mapping[str, Any] = {}

    def app(self) -> Talo:
        return client(self.url, self.results, **self.options)


@pytest.fixture
def sqs(own_sqs: SqsServer, tmp_path: Path) -> Iterator[Broker]:
    with Proxy("127.0.0.1", own_sqs.port) as proxy:
        options = {
            "region": "us-east-1",
            "endpoint_url": f"http://127.0.0.1:{proxy.port}",
            "ledger": str(tmp_path / "ledger.sqlite3"),
            "wait_time_seconds": 2,
        }

        def fail() -> Callable[[], object]:
            proxy.reset()
            return proxy.pass_on

        results = f"sqlite:///{tmp_path}/results.sqlite3"
        yield Broker("sqs://key:secret@", results, fail, {"broker_transport_options": options})


@pytest.fixture(params=["redis", "postgres", "mariadb", "rabbit", "sqs"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    if request.param == "sqs":
        yield request.getfixturevalue("sqs")
        return
    server = request.getfixturevalue(f"own_{request.param}")
    with server.proxy() as proxy:
        place = Place(server, proxy, tmp_path)
        place.remember()

        def fail() -> Callable[[], object]:
            server.kill()
            return server.start  # type: ignore[no-any-return]

        yield Broker(server.url, place.results, fail)


@pytest.mark.promise("B07")
@pytest.mark.timeout(HANGS)
def test_every_id_that_a_send_returned_runs_though_the_broker_fails_at_random(broker: Broker, tmp_path: Path) -> None:
    sent: list[str] = []
    enough = threading.Event()
    rng = random.Random(SEED)

    def produce(batch: int) -> None:
        with broker.app() as app:
            while not enough.is_set():
                sent.extend(confirmed(app, batch, batch))

    # Given producers that send one by one and in bulk, when the broker fails again and again under them
    with ThreadPoolExecutor(2) as producers:
        coming = [producers.submit(produce, batch) for batch in (1, BATCH)]
        try:
            while len(sent) < COUNT:
                goal = len(sent) + rng.randint(1, 2 * COUNT // FAILURES)
                eventually(lambda goal=goal: check(len(sent) >= goal), LONG, 0.001)
                mend = broker.fail()
                for_seconds(rng.uniform(0.0, 0.5))
                mend()
        finally:
            enough.set()
        for each in coming:
            each.result()
    assert len(set(sent)) == len(sent)
    # Then whatever was confirmed runs
    env = {f"TALO_{name.upper()}": json.dumps(value) for name, value in broker.options.items()}
    with (
        broker.app() as app,
        Fleet(broker.url, tmp_path, "-c", "2", results=broker.results, env=env) as fleet,
    ):
        judge = Judge(app, fleet.trace, sent)
        judge.wait()
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(sent)}
    assert set(sent) <= set(fleet.trace.count("end"))
