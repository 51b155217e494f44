"""What holds for the whole suite: its servers, its options, and order by cost (the quick suites speak first).

A fixture that is imported twice is two, each with a server of its own: those of servers are imported here only.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from types import ModuleType

import pytest

from tests.servers.mariadb import mariadb_server, mariadb_url, own_mariadb  # noqa: F401
from tests.servers.moto import moto_endpoint  # noqa: F401
from tests.servers.postgres import own_postgres, postgres_server, postgres_tables, postgres_url  # noqa: F401
from tests.servers.rabbitmq import own_rabbit, rabbit_server, rabbit_url  # noqa: F401
from tests.servers.redis import own_redis, redis_server, redis_url  # noqa: F401
from tests.servers.redis_cluster import own_cluster, redis_cluster  # noqa: F401
from tests.servers.shared import Keeper
from tests.servers.sqs import own_sqs, sqs_endpoint  # noqa: F401

SERVERS = ("tests.servers", "tests.places")
#: Cheap news first; folders that are not named here come last.
ORDER = ("architecture", "typing", "unit", "property", "contract", "integration", "acceptance", "chaos")

_REDIS = "with 'cluster' there is a Redis Cluster where tests expect one server, and only they are run"
_METHOD = "how every worker starts its processes that is not told by its test"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-servers", action="store_true", help="leave out the tests that start a server")
    parser.addoption("--redis", choices=("server", "cluster"), default="server", help=_REDIS)
    parser.addoption("--start-method", choices=("fork", "spawn"), help=_METHOD)


def pytest_configure(config: pytest.Config) -> None:
    Keeper.install(config)
    if method := config.getoption("--start-method"):
        # A setting, so that it reaches workers however a test starts them; their command line wins over it.
        os.environ["TALO_WORKER_POOL_START_METHOD"] = method


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _cost(item.path, item.config.rootpath))
    if config.getoption("--no-servers"):
        _leave(config, items, [item for item in items if not _needs_server(item)])
    if config.getoption("--redis") == "cluster":
        _leave(config, items, [item for item in items if _on_redis(item)])


def _leave(config: pytest.Config, items: list[pytest.Item], kept: list[pytest.Item]) -> None:
    out = set(items).difference(kept)
    if out:
        config.hook.pytest_deselected(items=list(out))
        items[:] = kept


def _on_redis(item: pytest.Item) -> bool:
    """Whether it takes a Redis from ``tests.servers.redis``, as a fixture or by a parameter that names one."""
    if not isinstance(item, pytest.Function) or item.get_closest_marker("one_server"):
        return False
    if not {"redis_server", "redis_url", "own_redis"}.isdisjoint(item.fixturenames):
        return True
    return "request" in item.fixturenames and hasattr(item, "callspec") and "redis" in item.callspec.id


@functools.cache
def _cost(path: Path, root: Path) -> int:
    parts = path.relative_to(root / "tests").parts if path.is_relative_to(root / "tests") else ()
    return ORDER.index(parts[0]) if parts and parts[0] in ORDER else len(ORDER)


def _needs_server(item: pytest.Item) -> bool:
    """Whether its module takes something from tests.servers, or one of its fixtures does."""
    if not isinstance(item, pytest.Function):
        return False
    if _uses_servers(item.module):
        return True
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return any(definition.func.__module__.startswith(SERVERS) for group in definitions for definition in group)


def _uses_servers(module: ModuleType) -> bool:
    return any(_home(value).startswith(SERVERS) for value in vars(module).values())


def _home(value: object) -> str:
    """The module that a value is, or is of; nothing of what cannot say so yet, as Django's settings without a site."""
    try:
        return value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", ""))
    except Exception:
        return ""
