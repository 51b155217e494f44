"""Databases of the run's PostgreSQL server, as Django's settings name them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.postgres import PASSWORD, PostgresServer

__all__ = ["Postgres", "postgres"]

_numbers = itertools.count(1)


class Postgres:
    """Makes empty databases, one for each that asks, and takes them away at the end of its test."""

    def __init__(self, server: PostgresServer) -> None:
        self.execute = server.run
        self._port = server.port
        self._made: list[str] = []

    def database(self, **settings: Any) -> dict[str, Any]:
        """What ``DATABASES`` says of a new, empty database."""
        name = f"shop_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        self._made.append(name)
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": "talo",
            "PASSWORD": PASSWORD,
            "HOST": "127.0.0.1",
            "PORT": self._port,
            **settings,
        }

    def remove(self) -> None:
        """Drop them, whoever is connected."""
        for name in self._made:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[Postgres]:
    """The run's server, for a test that does it no harm."""
    made = Postgres(postgres_server)
    yield made
    made.remove()
