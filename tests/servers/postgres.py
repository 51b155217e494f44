"""Real PostgreSQL servers for tests: started from the installed binaries on private ports, in directories of their own.

``PostgresServer`` is one server that a test may stop, kill, pause and start again on the same port and data. The
fixtures: ``postgres_server`` is one for the whole run, not to be harmed, with a database for each process that runs
tests, in which ``postgres_url`` gives every test a schema of its own, dropped at its end, and ``postgres_tables`` one
with Talo's tables, emptied at its end; ``own_postgres`` is one for a single test to do anything to. Without the
binaries a test is skipped, in CI it fails.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers.process import ServerProcess
from tests.servers.shared import lent

__all__ = ["PASSWORD", "PostgresServer", "own_postgres", "postgres_server", "postgres_tables", "postgres_url"]

#: Of the superuser ``talo``.
PASSWORD = "hush/hush"
#: Where distributions keep what is not on the path.
_PLACES = "/usr/lib/postgresql/*/bin"


def _binary(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        found = sorted(Path("/").glob(f"{_PLACES.lstrip('/')}/{name}"))
        path = str(found[-1]) if found else None
    if path:
        return path
    message = "no PostgreSQL is installed: apt-get install postgresql"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _user() -> str | None:
    """Whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


class PostgresServer(ServerProcess):
    """One server process on a port of its own, with its data in a directory of its own. ``options`` become settings."""

    #: A TERM would wait until the last client has left.
    farewell = signal.SIGINT
    start_time, stop_time = 30, 20
    trouble = psycopg.OperationalError
    #: Where ``url`` leads.
    database = "postgres"

    def __init__(self, **options: Any) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="talo-postgres-"))
        # What a killed process has written stays written: the machine goes on.
        self._options = {"fsync": "off", "max_connections": 500, "unix_socket_directories": "", **options}
        self.user = _user()
        self._initialise()

    def _initialise(self) -> None:
        secret = self.directory / "secret"
        secret.write_text(PASSWORD)
        if self.user is not None:
            for path in (self.directory, secret):
                shutil.chown(path, self.user)
        words = [_binary("initdb"), "-D", str(self.directory / "data"), "-U", "talo", f"--pwfile={secret}", "-A"]
        words += ["scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        done = subprocess.run(words, user=self.user, capture_output=True, text=True, check=False, cwd=self.directory)
        assert done.returncode == 0, done.stderr

    def words(self, port: int) -> list[str]:
        words = [_binary("postgres"), "-D", str(self.directory / "data"), "-p", str(port), "-h", "127.0.0.1"]
        for name, value in self._options.items():
            words += ["-c", f"{name}={value}"]
        return words

    def answers(self, port: int, pid: int) -> bool:
        with psycopg.connect(self.url_of("postgres", port), connect_timeout=2) as connection:
            return connection.execute("SHOW data_directory").fetchone() == (str(self.directory / "data"),)

    @property
    def url(self) -> str:
        """Its database."""
        return self.url_of(self.database)

    def url_of(self, database: str, port: int | None = None) -> str:
        """One of its databases; ``port`` of a proxy in front of it."""
        return f"postgresql://talo:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{port or self.port}/{database}"

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of one statement in its database, over a connection beside the one under test."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def tablespace(self, name: str, at: Path) -> None:
        """Make a place for tables in a directory that is made."""
        at.mkdir()
        if self.user is not None:
            shutil.chown(at, self.user)
        self.run(f"CREATE TABLESPACE {name} LOCATION '{at}'")

    def end_connections(self) -> int:
        """End every connection to the database but the one that asks; how many there were."""
        rows = self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(rows)

    def empty(self, schema: str) -> None:
        """Take the rows out of every table but the one of migrations; whoever is connected is not any more."""
        self.end_connections()
        self.run(
            f"DO $$ DECLARE name text; BEGIN FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' "
            f"AND tablename <> 'talo_migration' LOOP EXECUTE 'DELETE FROM {schema}.' || name; END LOOP; END $$"
        )


_schemas = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> PostgresServer:
    """One server for all tests that do it no harm; its database is this process's own."""
    server = lent(pytestconfig, PostgresServer)
    name = f"tests_{os.getpid()}"
    server.run(f"CREATE DATABASE {name}")
    server.database = name
    return server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty schema of the run's server."""
    schema = f"test_{next(_schemas)}"
    postgres_server.run(f"CREATE SCHEMA {schema}")
    yield f"{postgres_server.url}?options=-csearch_path%3D{schema}"
    postgres_server.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
        "AND application_name = 'talo' AND datname = current_database()"
    )
    postgres_server.run(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def postgres_tables(postgres_server: PostgresServer) -> Iterator[str]:
    """A schema of the run's server, without a row. Its tables stay from test to test: making them is slow."""
    postgres_server.run("CREATE SCHEMA IF NOT EXISTS kept")
    yield f"{postgres_server.url}?options=-csearch_path%3Dkept"
    postgres_server.empty("kept")


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that this test may kill, pause and restart; it keeps what it has answered."""
    with PostgresServer() as server:
        yield server
