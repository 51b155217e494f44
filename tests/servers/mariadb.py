"""Real MariaDB servers for tests: started from the installed binary on a private port, in a directory of their own.

``MariadbServer`` is one server that a test may stop, kill, pause and start again on the same port and data. The
fixtures: ``mariadb_server`` is one for the whole run, not to be harmed, with a database for each process that runs
tests, which ``mariadb_url`` gives every test emptied; ``own_mariadb`` is one for a single test to do anything to.
Without the binary a test is skipped, in CI it fails.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.servers.process import ServerProcess
from tests.servers.shared import lent

__all__ = ["PASSWORD", "MariadbServer", "mariadb_server", "mariadb_url", "own_mariadb"]

#: Of the user ``talo``, who may do anything.
PASSWORD = "hush/hush"


def _binary(*names: str) -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    message = "no MariaDB is installed: apt-get install mariadb-server"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _user() -> str | None:
    """Whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("mysql", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


class MariadbServer(ServerProcess):
    """One server process on a port of its own, with its data in a directory of its own, or in this one. ``options``
    become settings."""

    start_time, stop_time = 60, 30
    trouble = pymysql.MySQLError
    #: Where ``url`` leads.
    database = "talo"

    def __init__(self, directory: Path | None = None, **options: Any) -> None:
        self._own = Path(tempfile.mkdtemp(prefix="talo-mariadb-"))
        self.directory = directory or self._own / "server"
        # A place of its own: at its start a server takes away the temporary tables of all others there.
        temporary = self._own / "temporary"
        self._settings = [f"--tmpdir={temporary}"]
        self._settings += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._encrypts = "ssl_cert" in options
        self.user = _user()
        for place in (self.directory, temporary):
            place.mkdir()
        if self.user is not None:
            for place in (self._own, self.directory, temporary):
                shutil.chown(place, self.user)
        (self.directory / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS talo@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON *.* TO talo@'127.0.0.1' WITH GRANT OPTION;\n"
            "CREATE DATABASE IF NOT EXISTS talo;\n"
        )
        words = [_binary("mariadb-install-db", "mysql_install_db"), "--no-defaults", f"--datadir={self._data}"]
        words += ["--auth-root-authentication-method=normal", "--skip-test-db", *self._settings]
        done = subprocess.run(words, user=self.user, capture_output=True, text=True, check=False, cwd=self.directory)
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def words(self, port: int) -> list[str]:
        words = [_binary("mariadbd", "mysqld"), "--no-defaults", f"--datadir={self._data}"]
        words += [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={self.directory / 'socket'}"]
        words += [f"--pid-file={self.directory / 'pid'}", f"--init-file={self.directory / 'init.sql'}"]
        # What a killed process has written stays written: the machine goes on.
        words += [
            "--innodb-flush-log-at-trx-commit=2",
            "--max-connections=500",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M",
            *self._settings,
        ]
        return words

    def answers(self, port: int, pid: int) -> bool:
        return self.run("SELECT @@datadir", port) == [(f"{self._data}/",)]

    def remove(self) -> None:
        super().remove()
        shutil.rmtree(self._own, ignore_errors=True)

    def url_of(self, database: str, port: int | None = None) -> str:
        """One of its databases; ``port`` of a proxy in front of it."""
        return f"mysql://talo:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{port or self.port}/{database}"

    def run(self, statement: str, port: int | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement, over a connection beside the one under test."""
        with self._connected(port) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def end_connections(self) -> int:
        """End every connection of a client to its database but the one that asks; how many there were."""
        with self._connected() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE user = 'talo' AND id <> CONNECTION_ID() "
                f"AND db = '{self.database}'"
            )
            numbers = [row[0] for row in cursor.fetchall()]
            for number in numbers:
                with contextlib.suppress(pymysql.MySQLError):  # it may have ended by itself
                    cursor.execute(f"KILL {number}")
        return len(numbers)

    def empty(self) -> None:
        """Take the rows out of every table but the one of migrations; whoever is connected is not any more."""
        self.end_connections()
        with self._connected() as cursor:
            cursor.execute(f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{self.database}'")
            for (table,) in cursor.fetchall():
                if table != "talo_migration":
                    cursor.execute(f"DELETE FROM {self.database}.{table}")

    @contextlib.contextmanager
    def _connected(self, port: int | None = None) -> Iterator[Any]:
        with (
            pymysql.connect(
                host="127.0.0.1",
                port=port or self.port,
                user="talo",
                password=PASSWORD,
                connect_timeout=5,
                autocommit=True,
                # Where it encrypts, PyMySQL reads every certificate of the system first.
                ssl_disabled=not self._encrypts,
            ) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor

    @property
    def url(self) -> str:
        """Its database."""
        return self.url_of(self.database)


@pytest.fixture(scope="session")
def mariadb_server(pytestconfig: pytest.Config) -> MariadbServer:
    """One server for all tests that do it no harm; its database is this process's own."""
    server = lent(pytestconfig, MariadbServer)
    server.database = f"tests_{os.getpid()}"
    server.run(f"CREATE DATABASE {server.database}")
    return server


@pytest.fixture
def mariadb_url(mariadb_server: MariadbServer) -> Iterator[str]:
    """A database of the run's server, without a row. Its tables stay from test to test: making them is slow."""
    yield mariadb_server.url
    mariadb_server.empty()


@pytest.fixture
def own_mariadb() -> Iterator[MariadbServer]:
    """A server that this test may kill, pause and restart; it keeps what it has answered."""
    with MariadbServer() as server:
        yield server
