"""Workers with nothing to do: what they say to the server, and what they leave there when they are all killed."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import redis

from tests.chaos.kit import HANGS, for_seconds, full
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.workers import Worker

#: The promise: operations a second, of one worker.
QUIET = 0.5
WORKERS = full(200, 4)
#: Seconds for which they are watched; more than any of their rhythms in a soak.
WATCHED = full(120.0, 12.0)
#: Seconds after which PostgreSQL has counted what an idle connection did; it has ten for that.
COUNTED_WITHIN = 12.0
#: What belongs to the queue that the workers consume, as Celery keeps it, and to the store: the counter of tokens, and
#: which generation of Talo's keys it holds.
LASTING = {b"_kombu.binding.celery", b"_kombu.binding_permanent.celery", b"talo:queues", b"talo:token"}
LASTING |= {b"talo:generation"}
#: A line of MONITOR: time, database and where from (``lua``: from within a script), the command's words.
_LINE = re.compile(r"(?P<time>[\d.]+) \[\d+ (?P<source>[^\]]+)\] (?P<words>.*)")


def fleet(stack: ExitStack, url: str, tmp_path: Path) -> list[Worker]:
    """Workers as anybody starts them; of very many each has one process less."""
    arguments = full(("-P", "solo"), ("-c", "2"))
    workers: list[Worker] = []
    # A few at a time: each start keeps a processor busy.
    for number in range(WORKERS):
        workers.append(stack.enter_context(Worker(url, tmp_path, *arguments, name=f"w{number}").start(number % 4 == 3)))
    for worker in workers:
        worker.wait_ready()
    return workers


def heard(server: RedisServer, seconds: float) -> tuple[float, list[str]]:
    """Listen to a Redis for so long; how long it was, and the commands that came over connections."""
    with ThreadPoolExecutor(len(server.ports)) as ears:
        listened = list(ears.map(lambda port: _heard(port, seconds), server.ports))
    return max(took for took, _ in listened), [words for _, commands in listened for words in commands]


def _heard(port: int, seconds: float) -> tuple[float, list[str]]:
    commands: list[str] = []
    with redis.Redis(port=port, socket_timeout=seconds).monitor() as monitor:
        began, now = time.monotonic(), time.time()
        while (left := began + seconds - time.monotonic()) > 0:
            monitor.connection._sock.settimeout(left)
            try:
                line = monitor.connection.read_response()
            except redis.TimeoutError:
                break
            found = _LINE.match(line.decode(errors="replace") if isinstance(line, bytes) else line)
            if found and found["source"] != "lua" and float(found["time"]) >= now:
                commands.append(found["words"])
    return time.monotonic() - began, commands


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.promise("M07")
@pytest.mark.timeout(HANGS)
def test_idle_workers_are_quiet_and_killed_ones_leave_nothing_for_ever(
    own_redis: RedisServer, tmp_path: Path, stack: ExitStack
) -> None:
    # Given workers that have come to rest
    workers = fleet(stack, own_redis.url, tmp_path)
    clients = [stack.enter_context(redis.Redis(port=port)) for port in own_redis.ports]
    # When the server is watched, then each of them causes at most half an operation a second
    took, commands = heard(own_redis, WATCHED)
    said = Counter(words.partition(" ")[0].strip('"') for words in commands)
    assert len(commands) / len(workers) / took <= QUIET, said
    # And what they publish has no hearer, another worker least of all
    published = {words.split('"')[3] for words in commands if words.startswith('"PUBLISH"')}
    assert published.isdisjoint(channel.decode() for client in clients for channel in client.pubsub_channels())
    # When all are killed at one moment, then all that stays without an end is the queue's own
    for worker in workers:
        worker.signal(signal.SIGKILL, group=True)
    for worker in workers:
        worker.wait()
    keys = own_redis.command("KEYS", "*").split(b"\r\n")[2::2]
    assert {key for key in keys if own_redis.command("TTL", key) == b":-1\r\n"} <= LASTING


@pytest.fixture
def roomy_postgres() -> Iterator[PostgresServer]:
    """A server with connections for many workers, on which nothing runs but what they ask for."""
    with PostgresServer(max_connections=500, autovacuum="off") as server:
        yield server


@pytest.mark.soak
@pytest.mark.promise("M07")
@pytest.mark.timeout(HANGS)
def test_idle_workers_are_quiet_on_postgres(roomy_postgres: PostgresServer, tmp_path: Path, stack: ExitStack) -> None:
    # Given workers at rest, as many as a server has connections for
    workers = [
        stack.enter_context(Worker(roomy_postgres.url, tmp_path, "-P", "solo", name=f"w{number}").start())
        for number in range(full(40, 4))
    ]
    client = stack.enter_context(psycopg.connect(roomy_postgres.url, autocommit=True))

    def transactions() -> int:
        """All in this database since its beginning, those that only listen included."""
        client.execute("SELECT pg_stat_clear_snapshot()")
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        [(number,)] = client.execute(query)
        return int(number)

    # And the server has counted what they said at their start: a connection tells what it did when it has rested
    for_seconds(COUNTED_WITHIN)
    # When the server is watched
    before, began = transactions(), time.monotonic()
    for_seconds(full(120.0, 30.0))
    # Then each of them causes at most half a transaction a second
    assert (transactions() - before) / len(workers) / (time.monotonic() - began) <= QUIET
