"""What holds for every SQL server beyond the contract: connections that end, a server that says nothing."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest

from talo.errors import PublishTimeout, StoreUnavailable
from talo.stores.url import open_store
from talo.testing.contract._support import bodies, message
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer

#: Generous: what is tested is that it ends.
SOON = 20.0


class Place(NamedTuple):
    """A server that others use, too, and an empty store on it."""

    server: PostgresServer | MariadbServer
    url: str


@pytest.fixture(params=["postgres", "mariadb"])
def place(request: pytest.FixtureRequest) -> Place:
    server, url = (request.getfixturevalue(f"{request.param}_{each}") for each in ("server", "url"))
    return Place(server, url)


def test_connections_that_the_server_ended_are_replaced_unnoticed(place: Place) -> None:
    store = open_store(place.url, timeout=SOON)
    store.broker.open("me", worker="w", slots=1, lease=600)
    for n in range(10):
        place.server.end_connections()
        store.broker.send([message(body=str(n))])
        place.server.end_connections()
        assert bodies(store.broker.turn([], "me", ["q"], 1)) == [str(n)]
    store.close()


def test_a_server_that_says_nothing_ends_every_verb_at_its_deadline(place: Place) -> None:
    with place.server.proxy() as proxy:
        store = open_store(proxy.through(place.url), timeout=0.5)
        store.ping(SOON)
        proxy.black_hole()
        began = time.monotonic()
        with pytest.raises(PublishTimeout):
            store.broker.send([message()], timeout=0.3)
        with pytest.raises(StoreUnavailable):
            store.broker.open("me", worker="w", slots=1, lease=30)
        with pytest.raises(StoreUnavailable):
            store.results.get(["x"])
        assert time.monotonic() - began < SOON
        proxy.pass_on()
        store.ping(SOON)
        store.close()
