"""A process that does nothing but turn, and whether a database is whole: for tests that kill half-way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest

from talo.stores.base import Settlement, Verdict
from talo.stores.url import open_store
from talo.testing.contract._support import document, message
from tests.support import for_seconds

__all__ = ["KILLS", "churn", "fork", "is_whole", "stays_whole_under_kills"]

#: How often a test kills: at the promised size in a soak.
KILLS = [12, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
fork = multiprocessing.get_context("fork")


def churn(url: str, owner: str, turns: int, started: Callable[[], None]) -> int:
    """Turn that many times: whatever is fetched ends in one of four ways, of which each leaves one message behind."""
    store = open_store(url)
    store.broker.open(owner, worker="w", slots=1, lease=600)
    started()
    settlements: list[Settlement] = []
    fetched = 0
    for n in range(turns):
        turn = store.broker.turn(settlements, owner, ["q"], 8)
        fetched += len(turn.deliveries)
        ways = [
            {"follow": [message()], "result": document(f"{owner}-{n}")},
            {"verdict": Verdict.AGAIN, "charge": True},
            {"verdict": Verdict.AGAIN, "delay": 0.001},
            {"verdict": Verdict.DEAD, "follow": [message("dead-follow")]},
        ]
        settlements = [Settlement(lease=each.lease, **ways[k % 4]) for k, each in enumerate(turn.deliveries)]  # type: ignore[arg-type]
    store.close()
    return fetched


def _rows(url: str, statements: list[str]) -> list[list[Any]]:
    """The first column of each of the statements, all of one moment."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("BEGIN")
            return [[row[0] for row in connection.execute(each)] for each in statements]
    with psycopg.connect(url) as server:
        server.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return [[row[0] for row in server.execute(each.encode())] for each in statements]


def is_whole(url: str, count: int) -> None:
    """Each message is ready, delayed or leased, and each that died is followed by one."""
    messages, ready, delayed, leased, [dead], [follows] = _rows(
        url,
        [
            "SELECT id FROM talo_message",
            *(f"SELECT message FROM talo_{table}" for table in ("ready", "delayed", "lease")),
            "SELECT count(*) FROM talo_dead",
            "SELECT count(*) FROM talo_ready WHERE queue = 'dead-follow'",
        ],
    )
    assert sorted([*ready, *delayed, *leased]) == sorted(messages)
    assert dead == follows
    assert len(messages) == count


def stays_whole_under_kills(url: str, kills: int) -> None:
    """Kill a process that settles in every way, at one moment after the other: nothing is half done."""
    # Given messages, and a process that settles in every way
    with closing(open_store(url)) as store:
        store.broker.send([message() for _ in range(200)])
    for n in range(kills):
        started = fork.Event()
        child = fork.Process(target=churn, args=(url, f"owner{n}", 1_000_000, started.set), daemon=True)
        child.start()
        assert started.wait(30)
        # When it is killed at some moment
        for_seconds(0.01 + n % 12 * 0.004 + n * 0.00001)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join(30)
        # Then nothing is half done
        is_whole(url, 200)
