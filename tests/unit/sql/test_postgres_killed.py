"""PostgreSQL or its clients are killed anywhere: nothing is half done."""

from __future__ import annotations

from contextlib import closing

import pytest

from talo.stores.url import open_store
from talo.testing.contract._support import message
from tests.servers.postgres import PostgresServer
from tests.support import for_seconds
from tests.unit.sql.churning import KILLS, churn, fork, is_whole, stays_whole_under_kills


@pytest.mark.promise("D08", "T07")
@pytest.mark.parametrize("kills", KILLS)
def test_a_process_killed_anywhere_leaves_every_message_in_one_place(postgres_url: str, kills: int) -> None:
    stays_whole_under_kills(postgres_url, kills)


def test_a_server_killed_anywhere_leaves_every_message_in_one_place(own_postgres: PostgresServer) -> None:
    # Given messages, and two processes that settle in every way
    url = own_postgres.url
    with closing(open_store(url)) as store:
        store.broker.send([message() for _ in range(200)])
    for n in range(4):
        started = fork.Event()
        children = [
            fork.Process(target=churn, args=(url, f"owner{n}-{k}", 1_000_000, started.set), daemon=True)
            for k in range(2)
        ]
        for child in children:
            child.start()
        assert started.wait(30)
        # When all of the server's processes are killed at some moment
        for_seconds(0.02 + n * 0.017)
        own_postgres.kill()
        for child in children:
            child.join(60)
        own_postgres.start()
        # Then nothing is half done
        is_whole(url, 200)
