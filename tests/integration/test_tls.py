# ruff: noqa: F811  (fixtures are imported, and named as arguments)
"""Stores over TLS, against servers that speak it; a server that nobody trusts is said in one line. (Redis: its own
tests.)"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from talo.errors import ImproperlyConfigured, StoreUnavailable
from talo.stores.base import Store
from talo.stores.url import open_store
from talo.testing.contract._support import message
from tests.servers import mariadb, postgres
from tests.servers.certificates import AUTHORITY, STRANGER, certificate  # noqa: F401
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer

#: From the file of an authority to the URL of a store that trusts it.
Trusting = Callable[[str], str]


def _owned(directory: Path, user: str | None) -> Path:
    if user is not None:
        for path in directory.iterdir():
            shutil.chown(path, user)
    return directory


@pytest.fixture
def rabbitmq(certificate: Path) -> Iterator[Trusting]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    server = RabbitServer(
        f"listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {certificate}/cert.pem\n"
        f"ssl_options.certfile = {certificate}/cert.pem\nssl_options.keyfile = {certificate}/key.pem"
    )
    try:
        server.start()
        yield lambda authority: f"amqps://guest:guest@localhost:{port}/?cacertfile={authority}"
    finally:
        server.remove()


@pytest.fixture
def postgresql(certificate: Path) -> Iterator[Trusting]:
    files = _owned(certificate, postgres._user())
    with PostgresServer(ssl="on", ssl_cert_file=files / "cert.pem", ssl_key_file=files / "key.pem") as server:
        url = server.url.replace("127.0.0.1", "localhost")
        yield lambda authority: f"{url}?sslmode=verify-full&sslrootcert={authority}"


@pytest.fixture
def mysql(certificate: Path) -> Iterator[Trusting]:
    files = _owned(certificate, mariadb._user())
    with MariadbServer(ssl_cert=files / "cert.pem", ssl_key=files / "key.pem", require_secure_transport="ON") as server:
        url = server.url
        # The user is known from 127.0.0.1, which the certificate names, too.
        yield lambda authority: f"{url}?ssl_ca={authority}"


@pytest.fixture(params=["rabbitmq", "postgresql", "mysql"])
def trusting(request: pytest.FixtureRequest) -> Trusting:
    found: Trusting = request.getfixturevalue(request.param)
    return found


def _large_messages_pass(store: Store) -> None:
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.turn([], "me", ["q"], 1)
    store.broker.send([message(body="x" * 300_000)])
    assert store.broker.wait(["q"], 20) is True
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    assert delivery.message is not None
    assert len(delivery.message.body) == 300_000


def _refused(url: str) -> str:
    with (
        pytest.raises((ImproperlyConfigured, StoreUnavailable)) as caught,
        closing(open_store(url, timeout=5.0)) as store,
    ):
        store.ping(5)
    return str(caught.value)


def test_messages_pass_over_tls_and_a_stranger_is_refused_in_one_line(trusting: Trusting) -> None:
    # Given a server whose authority is known, when messages are sent and awaited, then they pass
    store = open_store(trusting(AUTHORITY), timeout=20.0)
    _large_messages_pass(store)
    store.close()
    # But where another authority is trusted, it is said what is wrong and what mends it
    text = _refused(trusting(STRANGER))
    assert "certificate" in text
    assert any(name in text for name in ("ssl_ca", "sslrootcert"))
    assert "\n" not in text and "guest" not in text.replace("guest:**", "") and "hush" not in text
    # And so it is where the file is not there
    text = _refused(trusting("/nowhere.pem"))
    assert "/nowhere.pem" in text and "\n" not in text
