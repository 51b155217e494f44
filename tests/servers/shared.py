"""Servers that the processes of one run of the tests share: the first test that asks for one has it started, and all
of them end with the run.

Side by side the tests run in processes that end in any order, so the process that hands tests out keeps the servers. It
is asked over a local socket and answers with a copy of the server: where it is, and how it is asked. A test that runs
alone asks within its own process. What is so dear to start that it is worth it: PostgreSQL, MariaDB, RabbitMQ, moto.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
import threading
from collections import defaultdict
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import pytest

__all__ = ["Keeper", "Server", "lent"]

_NAME = "keeper of servers"


class Server(Protocol):
    """What can be shared. A copy of one that has started, made by ``copy`` or ``pickle``, owns no process."""

    def start(self) -> Any: ...

    def remove(self) -> None: ...


S = TypeVar("S", bound=Server)


class _Refused(NamedTuple):
    """Why there is no server; ``is_missing``: the test is skipped for it."""

    is_missing: bool
    why: str


class Keeper:
    """Starts one server of each class that is asked for, and ends all with the run: a plugin of the process that hands
    the tests out, or of the only one."""

    def __init__(self) -> None:
        self._servers: dict[type[Server], Server] = {}
        self._locks: defaultdict[type[Server], threading.Lock] = defaultdict(threading.Lock)
        self._listener: Listener | None = None

    @classmethod
    def of(cls, config: pytest.Config) -> Keeper:
        """The one of this run, which ``install`` has made."""
        found = config.pluginmanager.get_plugin(_NAME)
        assert isinstance(found, cls)
        return found

    @classmethod
    def install(cls, config: pytest.Config) -> None:
        """Have one for this run, unless another process has it."""
        if _address(config) is None:
            config.pluginmanager.register(cls(), _NAME)

    def lend(self, kind: type[S]) -> S:
        """A copy of the one server of this class. Errors: those of its start, each time."""
        with self._locks[kind]:
            if kind not in self._servers:
                server = kind()
                try:
                    server.start()
                except BaseException:
                    server.remove()
                    raise
                self._servers[kind] = server
            return copy.copy(self._servers[kind])  # type: ignore[return-value]

    # -- other processes ------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """A process that runs tests is about to start: tell it where servers are asked for."""
        if self._listener is None:
            self._listener = Listener(str(Path(tempfile.mkdtemp(prefix="talo-servers-"), "socket")))
            threading.Thread(target=self._listen, args=(self._listener,), name=_NAME, daemon=True).start()
        node.workerinput[_NAME] = self._listener.address

    def _listen(self, listener: Listener) -> None:
        while True:
            # Each in a thread of its own: one kind of server does not wait for the start of another.
            threading.Thread(target=self._answer, args=(listener.accept(),), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection:
            kind = connection.recv()
            try:
                answer: object = self.lend(kind)
            except BaseException as error:
                answer = _Refused(isinstance(error, pytest.skip.Exception), str(error))
            connection.send(answer)

    def pytest_unconfigure(self) -> None:
        """The run is over."""
        for server in self._servers.values():
            server.remove()
        if self._listener is not None:
            folder = Path(str(self._listener.address)).parent
            self._listener.close()
            shutil.rmtree(folder)


def _address(config: pytest.Config) -> str | None:
    """Where the keeper is that another process has."""
    return getattr(config, "workerinput", {}).get(_NAME)


def lent(config: pytest.Config, kind: type[S]) -> S:
    """A copy of the server of this class that all processes of the run share. It may be used, and never harmed."""
    address = _address(config)
    if address is None:
        return Keeper.of(config).lend(kind)
    with Client(address) as connection:
        connection.send(kind)
        answer = connection.recv()
    if isinstance(answer, _Refused):
        (pytest.skip if answer.is_missing else pytest.fail)(answer.why)
    assert isinstance(answer, kind)
    return answer
