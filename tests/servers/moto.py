"""Amazon SQS for tests: moto's server in a process of its own, on a private port.

The fixture ``sqs_endpoint`` is one server for the whole session; tests tell themselves apart by their queue prefix.
``own_sqs`` is a server for a single test to kill, pause and start again; it forgets everything when it ends."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.servers.process import free_port
from tests.support import eventually

__all__ = ["SqsServer", "own_sqs", "sqs_endpoint"]

#: What makes a request one for the list of queues (API reference, "Making API requests"); nobody checks the signature.
_LIST_QUEUES = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "AmazonSQS.ListQueues",
    "Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/sqs/aws4_request, Signature=0",
}


class SqsServer:
    """One moto server."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> SqsServer:
        """Start it, again on the same port; returns when it answers."""
        if importlib.util.find_spec("moto") is None:
            message = "moto is not installed: pip install 'moto[server,sqs]'"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        self.port = self.port or free_port()
        words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self._answers, 60, 0.05)
        return self

    def _answers(self) -> None:
        """Whether it answers for SQS. What that takes it loads at the first request, longer than any client waits on a
        busy machine."""
        request = urllib.request.Request(self.endpoint, data=b"{}", headers=_LIST_QUEUES)
        try:
            urllib.request.urlopen(request, timeout=60).close()
        except OSError as error:
            raise AssertionError from error

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def pause(self) -> None:
        """Stop it as it is: connections stay up and nothing answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(10)


@pytest.fixture(scope="session")
def sqs_endpoint() -> Iterator[str]:
    """One server for all tests that do it no harm."""
    server = SqsServer()
    try:
        yield server.start().endpoint
    finally:
        server.kill()


@pytest.fixture
def own_sqs() -> Iterator[SqsServer]:
    """A server that this test may pause and kill."""
    server = SqsServer()
    try:
        yield server.start()
    finally:
        server.kill()
