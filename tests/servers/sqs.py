"""Amazon SQS for tests: the stand-in of ``sqs_server`` in a process of its own, on a private port.

``sqs_endpoint`` is one server for the whole session; tests tell themselves apart by their queue prefix. ``own_sqs`` is
a server for a single test to pause, kill and start again: it keeps what it has when it is stopped, and forgets it when
it is killed. What the contract says of SQS is checked against ``moto``, too."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.process import ServerProcess

__all__ = ["SqsServer", "own_sqs", "sqs_endpoint"]

_PROGRAM = Path(__file__).with_name("sqs_server.py")


class SqsServer(ServerProcess):
    """One server. ``refuses``: the part of the requests about messages that it does not do."""

    def __init__(self, refuses: float = 0.0) -> None:
        self.refuses = refuses
        self.directory = Path(tempfile.mkdtemp(prefix="talo-sqs-"))
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def words(self, port: int) -> list[str]:
        return [sys.executable, str(_PROGRAM), str(port), str(self.refuses), str(self.directory / "kept")]

    def answers(self, port: int, pid: int) -> bool:
        urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=10).close()
        return True

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def requests(self) -> Counter[str]:
        """How many requests there have been, by action."""
        with urllib.request.urlopen(self.endpoint, timeout=10) as answer:
            return Counter(json.load(answer))


@pytest.fixture(scope="session")
def sqs_endpoint() -> Iterator[str]:
    """One server for all tests that do it no harm."""
    with SqsServer() as server:
        yield server.endpoint


@pytest.fixture
def own_sqs() -> Iterator[SqsServer]:
    """A server that this test may pause and kill."""
    with SqsServer() as server:
        yield server
