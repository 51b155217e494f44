"""The libraries that are compared, one module each: its app, its tasks, and the same verbs.

A module imports its library, builds its app from the environment that the lab sets, and ends with ``peer = ...``.
Workers import the same module. Sizes are chosen so that a measurement takes a few seconds; they do not enter the
result.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from importlib.metadata import version

__all__ = ["NAMES", "Peer", "backend_url", "load", "results_wanted", "sqlite_path", "transport_options", "url"]

#: In the order in which tables show them.
NAMES = ("talo", "celery", "dramatiq", "huey", "taskiq", "streaq", "procrastinate")


def url() -> str:
    """The server of this run."""
    return os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")


def backend_url() -> str | None:
    """Where results go; None on a server that keeps none, where none are wanted."""
    return os.environ.get("BENCH_BACKEND") or (None if url().startswith(("amqp", "sqs")) else url())


def transport_options() -> dict[str, object]:
    """What Celery and Talo have to be told besides the URL."""
    return {"region": "us-east-1", "is_secure": False} if url().startswith("sqs") else {}


def sqlite_path() -> str:
    """The database file of this run, empty when it runs on Redis."""
    return os.environ.get("BENCH_SQLITE", "")


def results_wanted() -> bool:
    """Whether this run stores results."""
    return os.environ.get("BENCH_RESULTS") == "1"


class Peer(ABC):
    """One library in its own best configuration. Verbs that send may be coroutines; a run has one event loop."""

    #: As in the command line of the bench.
    name: str
    #: As in the tables.
    title: str
    #: On PyPI.
    distribution: str
    #: Measure -> how many tasks; it takes part in these.
    sizes: Mapping[str, int]
    #: Seconds that it needs to send the delayed tasks before the first falls due.
    lead: float = 6.0

    @abstractmethod
    def worker(self, measure: str) -> Sequence[Sequence[str]]:
        """The commands that start its workers for ``measure``: two processes, WARNING logging."""

    def prepare(self) -> Awaitable[None] | None:
        """Make what workers need before they start."""
        return None

    @abstractmethod
    def produce(self, n: int) -> Awaitable[None] | None:
        """Send ``n`` no-op tasks one by one."""

    @abstractmethod
    def produce_bulk(self, n: int) -> Awaitable[None] | None:
        """Send ``n`` no-op tasks in the fastest way there is."""

    def produce_group(self, n: int) -> Awaitable[None] | None:
        """Send ``n`` no-op tasks as one group."""
        raise LookupError(f"{self.name} has no part in this measure")

    def produce_naps(self, n: int) -> Awaitable[None] | None:
        """Send ``n`` tasks that sleep 10 ms."""
        raise LookupError(f"{self.name} has no part in this measure")

    def produce_due(self, dues: Sequence[float]) -> Awaitable[None] | None:
        """Send one ``mark(i)`` per moment (epoch seconds) in ``dues``, to run then."""
        raise LookupError(f"{self.name} has no part in this measure")

    def call(self, index: int) -> Awaitable[None] | None:
        """Send ``mark(index)`` and wait for its result."""
        raise LookupError(f"{self.name} has no part in this measure")

    def send_mark(self, index: int) -> Awaitable[None] | None:
        """Send ``mark(index)``."""
        raise LookupError(f"{self.name} has no part in this measure")

    def workflow(self, name: str, n: int) -> Awaitable[None] | None:
        """Send a ``chord``, ``group`` or ``chain`` of ``n`` calls and wait for its result."""
        raise LookupError(f"{self.name} has no part in this measure")

    def environment(self, measure: str) -> Mapping[str, str]:
        """What its workers want in their environment."""
        return {}

    def version(self) -> str:
        """Its version, as installed."""
        return version(self.distribution)


def load(name: str) -> Peer:
    """Import a peer; ImportError when its library is not installed."""
    peer: Peer = importlib.import_module(f"bench.peers.{name}").peer
    return peer
