"""Amazon SQS as others understand it: moto's server in a process of its own, on a private port.

It is what the stand-in of ``sqs`` is checked against. It bears no load: a send takes it the longer the more messages
there are (a batch of ten 0.7 s of processor time at 2,000), and an end may lose what is sent at the same moment.
``moto_endpoint`` is one server for the whole run."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from tests.servers.process import ServerProcess
from tests.servers.shared import lent

__all__ = ["MotoServer", "moto_endpoint"]

#: What makes a request one for the list of queues (API reference, "Making API requests"); nobody checks the signature.
_LIST_QUEUES = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "AmazonSQS.ListQueues",
    "Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/sqs/aws4_request, Signature=0",
}


class MotoServer(ServerProcess):
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


@pytest.fixture(scope="session")
def moto_endpoint(pytestconfig: pytest.Config) -> str:
    """One server for all tests that do it no harm."""
    return f"http://127.0.0.1:{lent(pytestconfig, MotoServer).port}"
