"""Which settings reach the stores that an app opens, and which an app refuses to open a store with."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from talo.app._store_options import store_options
from talo.app.app import Talo
from talo.errors import ImproperlyConfigured, StoreUnavailable
from talo.settings import Settings
from tests.servers.redis import RedisServer

URL = "redis://localhost:6379/0"


def options(url: str = URL, *, broker: bool = True, results: bool = True, **settings: Any) -> dict[str, Any]:
    return store_options(Settings(settings), url, broker=broker, results=results)


def test_a_connection_has_the_name_that_the_settings_give_it(redis_server: RedisServer, redis_url: str) -> None:
    # Given an app whose connections have a name
    with Talo("named", broker=redis_url, set_as_current=False) as app:
        app.conf.redis_client_name = "the-shop"
        # When it talks to the server
        app.store.ping(5)
        # Then the server knows it by that name
        assert b"name=the-shop" in redis_server.command("CLIENT", "LIST")


def test_without_settings_a_store_keeps_its_own_limits() -> None:
    made = options()
    assert (made["timeout"], made["connect_timeout"], made["pool_timeout"]) == (5.0, None, None)
    assert (made["max_connections"], made["client_name"], made["keyprefix"]) == (3, "talo", "")


def test_the_shortest_of_several_times_and_the_largest_of_several_numbers_hold() -> None:
    made = options(
        redis_socket_timeout=3,
        redis_socket_connect_timeout=2,
        broker_connection_timeout=1,
        broker_pool_acquire_timeout=0.5,
        broker_pool_limit=4,
        redis_max_connections=6,
    )
    assert (made["timeout"], made["connect_timeout"], made["pool_timeout"], made["max_connections"]) == (3, 1, 0.5, 6)


def test_transport_options_are_those_of_their_own_store() -> None:
    settings: dict[str, Any] = {
        "broker_transport_options": {"socket_timeout": 2, "global_keyprefix": "b:", "client_name": "b"},
        "result_backend_transport_options": {"global_keyprefix": "r:", "max_connections": 9},
    }
    broker, results = options(results=False, **settings), options(broker=False, **settings)
    assert (broker["timeout"], broker["keyprefix"], broker["client_name"]) == (2, "b:", "b")
    assert (results["timeout"], results["keyprefix"], results["max_connections"]) == (5.0, "r:", 9)


@pytest.mark.parametrize(("limit", "most"), [(1, 2), (4, 4), (0, None), (None, None)])
def test_a_pool_limit_leaves_room_to_wait_and_to_send(limit: int | None, most: int | None) -> None:
    made = options(broker_pool_limit=limit, results=False)["max_connections"]
    assert made == most if most is not None else made > 1_000_000


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"broker_use_ssl": True}, {"ssl_cert_reqs": "required"}),
        ({"broker_use_ssl": {"ca_certs": "/ca"}}, {"ssl_ca_certs": "/ca"}),
        ({"redis_backend_use_ssl": {"ssl_ca_certs": "/ca"}}, {"ssl_ca_certs": "/ca"}),
        ({"broker_use_ssl": False, "redis_backend_use_ssl": None}, {}),
    ],
)
def test_tls_is_written_as_for_redis_or_as_for_rabbitmq(settings: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert {name: value for name, value in options(**settings).items() if name.startswith("ssl_")} == wanted


def test_tls_reaches_the_connection(redis_url: str) -> None:
    # Given a server without TLS
    with Talo("safe", broker=redis_url, set_as_current=False) as app:
        # When the settings ask for it
        app.conf.broker_use_ssl = True
        # Then nothing is said to it in clear
        with pytest.raises(StoreUnavailable):
            app.store.ping(0.5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"broker_read_url": "redis://replica/0"}, "broker_read_url names another place"),
        ({"broker_write_url": "redis://other/0"}, "broker_write_url names another place"),
        ({"broker_transport_options": {"sep": ":"}}, "broker_transport_options: sep is always"),
        ({"broker_transport_options": {"priority_steps": [0, 9]}}, "priority_steps is always"),
        ({"broker_url": "sqlite:///x.db", "broker_use_ssl": True}, "broker_use_ssl does not concern sqlite://"),
        ({"broker_url": "postgresql://h/d", "broker_use_ssl": True}, r"in the URL \(\?sslmode="),
        ({"broker_url": "mysql://h/d", "broker_use_ssl": True}, r"\?ssl_ca=\.\.\. for MySQL"),
        ({"broker_transport_options": {"max_connections": 2}, "broker_use_ssl": {"ca": "x"}}, "ssl_ca"),
    ],
)
def test_what_a_store_cannot_keep_is_refused(settings: dict[str, Any], words: str) -> None:
    with Talo("refused", set_as_current=False) as app:
        app.conf.update({"broker_url": URL, **settings})
        with pytest.raises(ImproperlyConfigured, match=words):
            _ = app.store


@pytest.mark.one_server  # of a cluster of the tests the URL names a prefix
def test_results_stand_beside_the_tasks_unless_they_are_told_another_prefix(redis_url: str) -> None:
    with Talo("prefixed", broker=redis_url, backend=redis_url, set_as_current=False) as app:
        app.conf.broker_transport_options = {"global_keyprefix": "a:"}
        assert app.result_store is app.store
    with Talo("prefixed", broker=redis_url, backend=redis_url, set_as_current=False) as app:
        app.conf.broker_transport_options = {"global_keyprefix": "a:"}
        app.conf.result_backend_transport_options = {"global_keyprefix": "b:"}
        assert app.result_store is not None and not app.result_store.same_as(app.store)


def test_connecting_ends_with_its_own_timeout() -> None:
    # Given a server that takes connections and says nothing
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Talo("silent", broker=f"redis://127.0.0.1:{port}/0", set_as_current=False) as app:
            app.conf.update(redis_socket_timeout=0.05)
            # Then an operation ends with the shortest of its times
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                app.store.broker.stats(["q"])


def test_transport_options_without_effect_are_named() -> None:
    conf = Settings({"broker_transport_options": {"visibility_timeout": 3600, "max_conections": 4, "sep": "\x06\x16"}})
    assert conf.notes() == [
        "broker_transport_options: visibility_timeout has no effect: leases tell what is lost, however long tasks run "
        "(see worker_lease)",
        "broker_transport_options: max_conections is not known here and has no effect; did you mean max_connections?",
    ]


@pytest.mark.parametrize(("levels", "shown"), [(1, "([...],)"), (3, "([[[...]]],)"), (None, "([[[[5]]]],)")])
def test_arguments_are_shown_as_deep_as_the_settings_say(levels: int | None, shown: str) -> None:
    # Given an app that shows arguments so deep
    with Talo("deep", broker="memory://", set_as_current=False) as app:
        app.conf.task_repr_maxlevels = levels
        # When a call is the first of its like, one of many, or like no other
        made = [app.prepare("t", ([[[[5]]]],), {}, more) for more in ({}, {}, {"countdown": 5})]
    # Then its header goes as deep
    assert [message.headers["argsrepr"] for message in made] == [shown] * 3
