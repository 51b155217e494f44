"""Shared by the acceptance tests: a place on either store for a whole module, and the URLs of a broker and a result
store for those that run on every one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.kit import full
from tests.either import app, broker  # noqa: F401  fixtures
from tests.servers.redis import empty_database

#: Every broker, with a store beside it where it keeps no state itself.
STATEFUL = ["redis", "postgres", "mariadb", "sqlite", ("rabbit", "redis"), ("sqs", "sqlite")]
#: One of each way to keep a message, for what takes long and does not depend on more.
ONE_OF_EACH = full(STATEFUL, ["redis", "sqlite", ("rabbit", "redis")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the worker of a module writes."""
    return tmp_path_factory.mktemp("worker")


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty store, for a whole module on each store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('store')}/talo.sqlite3"
        return
    with empty_database(request.getfixturevalue("redis_server")) as url:
        yield url


def named(pair: str | tuple[str, str]) -> str:
    """The name of a parameter of ``urls``."""
    return pair if isinstance(pair, str) else "-".join(pair)


@pytest.fixture(params=STATEFUL, ids=named)
def urls(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str | None]:  # fmt: skip
    """The URLs of a broker and of a result store, both empty; None where the broker is both."""

    def url_of(name: str, part: str) -> str:
        if name == "sqlite":
            return f"sqlite:///{tmp_path}/{part}.sqlite3"
        if name == "rpc":
            return "rpc://"
        if name == "sqs":
            # An emulator is found as any program of AWS finds it.
            monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", request.getfixturevalue("sqs_endpoint"))
            monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            return "sqs://key:secret@"
        return str(request.getfixturevalue(f"{name}_url"))

    if isinstance(request.param, str):
        return url_of(request.param, "store"), None
    sends, keeps = request.param
    return url_of(sends, "broker"), url_of(keeps, "results")
