"""Redis Sentinel for tests: a master, a replica and three sentinels that watch them, on private ports.

``Sentinels`` starts all of them; a test may kill the master or have it step down. The fixture ``sentinels`` is for a
single test to do anything to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.process import free_port
from tests.servers.redis import RedisServer, binary, command
from tests.support import eventually

__all__ = ["MASTER", "Sentinels", "sentinels"]

#: What the sentinels call the master.
MASTER = "mymaster"
_PASSWORD = "s3ntinel"


class Sentinels:
    """A master, a replica of it, and three sentinels, which want a password."""

    password = _PASSWORD

    def __init__(self) -> None:
        self.master = RedisServer(durable=True)
        self.replica: RedisServer | None = None
        self.ports: list[int] = []
        self._nobody = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> Sentinels:
        """Start all; returns when the sentinels know both servers and each other."""
        self.master.start()
        self.replica = RedisServer(
            durable=True, replicaof=f"127.0.0.1 {self.master.port}", repl_diskless_sync_delay=0
        ).start()
        for _ in range(3):
            port = free_port()
            self.ports.append(port)
            self._processes.append(_launch(self.master, port))

        def known() -> None:
            for port in self.ports:
                reply = self._ask(port, "SENTINEL", "MASTER", MASTER)
                facts = [line for line in reply.split(b"\r\n") if line and line[:1] not in b"$*%"]
                pairs = dict(zip(facts[::2], facts[1::2], strict=False))
                assert pairs.get(b"num-slaves") == b"1"
                assert pairs.get(b"num-other-sentinels") == b"2"

        eventually(known, 60, 0.1)
        return self

    def _ask(self, port: int, *words: str) -> bytes:
        try:
            return command(port, *words, password=_PASSWORD, select=False)
        except OSError as error:
            raise AssertionError from error

    @property
    def url(self) -> str:
        """All sentinels, the first of which is not there."""
        return ";".join(f"sentinel://127.0.0.1:{port}/0" for port in (self._nobody, *self.ports))

    @property
    def options(self) -> dict[str, Any]:
        """What a store needs besides."""
        return {"master_name": MASTER, "sentinel_kwargs": {"password": _PASSWORD}}

    def fail_over(self) -> None:
        """Have the replica take the master's place in good order."""
        assert self.replica is not None
        replica = self.replica

        def taken() -> None:
            self._ask(self.ports[0], "SENTINEL", "FAILOVER", MASTER)
            eventually(lambda: _is_master(replica), 3, 0.05)

        eventually(taken, 60, 0.2)

    def remove(self) -> None:
        """Kill all and delete their data."""
        for process in self._processes:
            process.kill()
            process.wait(10)
        self.master.remove()
        if self.replica is not None:
            self.replica.remove()


def _launch(master: RedisServer, port: int) -> subprocess.Popen[bytes]:
    path = Path(master.directory) / f"sentinel-{port}.conf"
    path.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {master.directory}\nlogfile {master.directory}/sentinel-{port}.log\n"
        f"requirepass {_PASSWORD}\nsentinel sentinel-pass {_PASSWORD}\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {master.port} 2\nsentinel down-after-milliseconds {MASTER} 1500\n"
        f"sentinel failover-timeout {MASTER} 6000\n"
    )
    words = [binary(), str(path), "--sentinel"]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _is_master(server: RedisServer) -> None:
    assert b"role:master" in server.command("INFO", "replication")


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    """A watched pair for this test alone."""
    started = Sentinels()
    try:
        yield started.start()
    finally:
        started.remove()
