"""A real PostgreSQL server on a private port, from the installed binaries, with its data in a directory of its own.

Locally missing: skipped; in CI: failed. As root it runs as the system's user ``postgres``, which it insists on.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import eventually

__all__ = ["Postgres", "postgres"]


def _binary(name: str) -> str:
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    if found:
        return found
    message = f"no {name} is installed: apt-get install postgresql"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


class Postgres:
    """One server process. ``database()`` makes an empty database of its own for a test."""

    def __init__(self) -> None:
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.directory = Path(tempfile.mkdtemp(prefix="talo-postgres-"))
        if self._as:
            shutil.chown(self.directory, "postgres")
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def start(self) -> Postgres:
        data = str(self.directory / "data")
        words = [_binary("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N", "--locale=C.UTF-8"]
        subprocess.run(
            [*self._as, *words], check=True, capture_output=True, cwd=self.directory, stdin=subprocess.DEVNULL
        )
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "max_connections": 200,
        }
        command = [*self._as, _binary("postgres"), "-D", data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with open(self.directory / "log", "wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )

        def answers() -> None:
            try:
                self.execute("SELECT 1")
            except psycopg.Error as error:
                raise AssertionError((self.directory / "log").read_text()) from error

        eventually(answers, timeout=30)
        return self

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """The rows of one statement, outside of a transaction."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def database(self, **settings: Any) -> dict[str, Any]:
        """What Django's ``DATABASES`` says of a new, empty database."""
        self._count += 1
        name = f"shop{self._count}"
        self.execute(f"CREATE DATABASE {name}")
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": "postgres",
            "HOST": "127.0.0.1",
            "PORT": self.port,
            **settings,
        }

    def remove(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            # runuser passes it on; INT is the server's fast shutdown.
            process.send_signal(signal.SIGINT if not self._as else signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the whole session."""
    server = Postgres()
    try:
        yield server.start()
    finally:
        server.remove()
