"""Amazon SQS for tests: moto's server in a process of its own, on a private port.

The fixture ``sqs_endpoint`` is one server for the whole session; tests tell themselves apart by their queue prefix.
``own_sqs`` is a server for a single test to kill, pause and start again; it forgets everything when it ends."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.process import ServerProcess

__all__ = ["SqsServer", "own_sqs", "sqs_endpoint"]

#: What makes a request one for the list of queues (API reference, "Making API requests"); nobody checks the signature.
_LIST_QUEUES = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "AmazonSQS.ListQueues",
    "Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/sqs/aws4_request, Signature=0",
}


class SqsServer(ServerProcess):
    """One moto server."""

    start_time = 60

    def __init__(self) -> None:
        if importlib.util.find_spec("moto") is None:
            message = "moto is not installed: pip install 'moto[server,sqs]'"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        self.directory = Path(tempfile.mkdtemp(prefix="talo-moto-"))
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def words(self, port: int) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]

    def answers(self, port: int, pid: int) -> bool:
        """Whether it answers for SQS. What that takes it loads at the first request, longer than any client waits on a
        busy machine."""
        request = urllib.request.Request(f"http://127.0.0.1:{port}", data=b"{}", headers=_LIST_QUEUES)
        urllib.request.urlopen(request, timeout=60).close()
        return True

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


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
