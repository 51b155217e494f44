"""Reading Redis URLs."""

from __future__ import annotations

import ssl

import pytest

from talo.errors import ImproperlyConfigured
from talo.stores.redis import RedisStore
from talo.stores.redis.address import parse_url
from tests.unit.redis.conftest import OpenStore


@pytest.mark.parametrize(
    ("url", "host", "port", "db"),
    [
        ("redis://", "localhost", 6379, 0),
        ("redis://example.org", "example.org", 6379, 0),
        ("redis://example.org:7000/", "example.org", 7000, 0),
        ("redis://example.org/3", "example.org", 6379, 3),
        ("valkey://example.org:1/2", "example.org", 1, 2),
        ("redis://example.org?virtual_host=4", "example.org", 6379, 4),
        ("redis://[::1]:7000/5", "::1", 7000, 5),
    ],
)
def test_host_port_and_database_are_read(url: str, host: str, port: int, db: int) -> None:
    address = parse_url(url)
    assert (address.host, address.port, address.db, address.tls) == (host, port, db, None)


@pytest.mark.parametrize(
    ("url", "username", "password"),
    [
        ("redis://:secret@h", None, "secret"),
        ("redis://bob:se%40cret@h", "bob", "se@cret"),
        ("redis://h?password=secret", None, "secret"),
        ("redis+socket://:secret@/run/redis.sock", None, "secret"),
    ],
)
def test_user_and_password_are_read(url: str, username: str | None, password: str) -> None:
    address = parse_url(url)
    assert (address.username, address.password) == (username, password)


def test_a_local_socket_is_a_path_and_a_database() -> None:
    address = parse_url("redis+socket:///run/redis/redis.sock?virtual_host=2")
    assert (address.path, address.db) == ("/run/redis/redis.sock", 2)
    assert address.shown == "redis+socket:///run/redis/redis.sock?virtual_host=2"


@pytest.mark.promise("X03")
@pytest.mark.parametrize("url", ["redis://bob:canary@h:1/2", "redis://h/0?password=canary", "rediss://:canary@h"])
def test_the_password_is_never_shown(url: str, open_store: OpenStore) -> None:
    store = open_store(url)
    assert "canary" not in store.url + repr(store) + repr(parse_url(url))
    assert ":**@" in store.url


@pytest.mark.promise("X03")
@pytest.mark.parametrize("url", ["redis://:canary@h:port/0", "redis://:canary@h:99999999/0", "redis://:canary@[h/0"])
def test_an_error_shows_no_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        parse_url(url)
    assert "canary" not in str(caught.value)


def test_tls_is_verified_unless_told_otherwise() -> None:
    strict, lenient = parse_url("rediss://h").tls, parse_url("rediss://h?ssl_cert_reqs=CERT_NONE").tls
    assert strict is not None
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert lenient is not None
    assert (lenient.verify_mode, lenient.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("redis://h/zero", "number"),
        ("redis://h?virtual_hos=1", "virtual_host"),
        ("redis+socket://", "socket"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("rediss://h?ssl_ca_certs=/does/not/exist", "/does/not/exist"),
        ("http://h", "http"),
    ],
)
def test_what_cannot_work_is_said_with_the_mend(url: str, word: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=word):
        parse_url(url)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"timeuot": 3}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"priority_order": "up"}, "high-first"),
        ({"max_connections": 1}, "max_connections"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=word):
        RedisStore("redis://h", **options)  # type: ignore[arg-type]


def test_one_place_is_one_place_however_it_is_named(open_store: OpenStore) -> None:
    store = open_store("redis://localhost:6379/1")
    assert store.same_as(open_store("redis://bob:x@127.0.0.1/1"))
    assert not store.same_as(open_store("redis://localhost:6379/2"))
    assert not store.same_as(open_store("redis://localhost:6380/1"))
    assert not store.same_as(open_store("redis://localhost:6379/1", keyprefix="x:"))
