"""The servers of a measurement beside the lab's Redis: PostgreSQL, RabbitMQ and what stands in for Amazon SQS, started
when the first measure asks.

Owns starting and ending them, and an empty place in them for each measurement. How a private server is started is the
tests' to know (``tests.servers``). Called by the lab.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.servers.sqs import SqsServer

__all__ = ["STARTS", "Absent", "Server", "children", "on_cpu"]


class Absent(Exception):
    """The server is not installed; the text says what to install."""


class Server(ABC):
    """A private server with its default durability."""

    @abstractmethod
    def place(self) -> str:
        """Return the URL of an empty database or virtual host."""

    @abstractmethod
    def pids(self) -> list[int]:
        """Its processes."""

    @abstractmethod
    def end(self) -> None:
        """Stop it and delete what it kept."""

    def requests(self) -> int:
        """How many requests about messages it has had in this place; 0 where nobody counts."""
        return 0

    def cpu(self) -> float:
        """Seconds that its processes have been on a processor."""
        return sum(on_cpu(pid) for pid in self.pids())


class _Postgres(Server):
    def __init__(self) -> None:
        # The tests switch this off; who sends a task wants it kept.
        self._server = PostgresServer(fsync="on").start()
        self._numbers = itertools.count(1)

    def place(self) -> str:
        name = f"bench{next(self._numbers)}"
        self._server.run(f"CREATE DATABASE {name}")
        return self._server.url_of(name)

    def pids(self) -> list[int]:
        return [self._server.pid, *children(self._server.pid)]

    def end(self) -> None:
        self._server.remove()


class _Rabbit(Server):
    def __init__(self) -> None:
        self._server = RabbitServer().start()

    def place(self) -> str:
        return self._server.url_of(self._server.new_vhost())

    def pids(self) -> list[int]:
        pid = int((self._server.directory / "pid").read_text())
        return [pid, *children(pid)]

    def end(self) -> None:
        self._server.remove()


class _Sqs(Server):
    """The tests' stand-in: it counts, and bears the load. Amazon's own is further away."""

    def __init__(self) -> None:
        self._server = SqsServer()
        self._server.start()

    def place(self) -> str:
        self._server.restart()  # it forgets everything
        return f"sqs://key:secret@127.0.0.1:{self._server.port}"

    def pids(self) -> list[int]:
        return [self._server.pid]

    def requests(self) -> int:
        return sum(count for action, count in self._server.requests().items() if "Queue" not in action)

    def end(self) -> None:
        self._server.remove()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def on_cpu(pid: int) -> float:
    """Seconds that a process has been on a processor; 0 when it is gone."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except OSError:
            continue  # the thread has ended
    return total / 1e9


def _started(server: Callable[[], Server]) -> Server:
    try:
        return server()
    except pytest.skip.Exception as missing:
        raise Absent(str(missing)) from None


#: By the name that a measure gives.
STARTS: dict[str, Callable[[], Server]] = {
    "postgres": lambda: _started(_Postgres),
    "rabbitmq": lambda: _started(_Rabbit),
    "sqs": lambda: _started(_Sqs),
}
