"""A server of a test's own that may be harmed, the proxy through which workers see it, and sends that it confirms."""

from __future__ import annotations

from pathlib import Path

from talo.app.app import Talo
from talo.errors import OperationalError
from tests.chaos.kit import Fleet, for_seconds
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.workers import client

__all__ = ["Place", "confirmed"]

ENV = {"TALO_WORKER_LEASE": "2", "TALO_STORE_TIMEOUT": "1"}


Server = RedisServer | PostgresServer | MariadbServer | RabbitServer


class Place:
    """A server of this test's own, and the proxy through which the workers see it."""

    def __init__(self, server: Server, proxy: Proxy, tmp: Path) -> None:
        self.server = server
        self.proxy = proxy
        self.url = proxy.through(server.url)
        #: A URL of its own for what a broker does not keep.
        self.results = f"sqlite:///{tmp}/results.sqlite3" if isinstance(server, RabbitServer) else None

    def fleet(self, tmp: Path, *arguments: str) -> Fleet:
        """Workers that see the server through the proxy."""
        # RabbitMQ charges a delivery whose connection ended; a task that is hit several times is no poison here.
        env = ENV if self.exact else {**ENV, "TALO_TASK_MAX_DELIVERIES": "1000"}
        return Fleet(self.url, tmp, *arguments, env=env, results=self.results)

    @property
    def exact(self) -> bool:
        """Whether a lease outlives its connection, so that a lost one repeats nothing."""
        return not isinstance(self.server, RabbitServer)

    def end_connections(self, times: int, pause: float) -> None:
        """Let the server end every connection, so many times."""
        if isinstance(self.server, RabbitServer):
            self.server.end_connections(times, pause)
            return
        assert not isinstance(self.server, RedisServer)
        for _ in range(times):
            self.server.end_connections()
            for_seconds(pause)

    def remember(self) -> None:
        """Let the server write down which queues there are, where it would forget them (see ``RabbitServer``)."""
        if isinstance(self.server, RabbitServer):
            with client(self.server.url, self.results) as app:
                app.store.broker.open("maker", worker="test", slots=1, lease=60)
                app.store.broker.turn([], "maker", ["celery"], 1)
            self.server.remember()


def confirmed(app: Talo, count: int, batch: int = 1) -> list[str]:
    """Send until so many are confirmed, so many at once; what raises was not promised."""
    sent: list[str] = []
    while len(sent) < count:
        try:
            sent += [result.id for result in app.send_many([("tests.apps.traced.noop",)] * batch, batch=batch)]
        except OperationalError:
            for_seconds(0.05)
    return sent
