"""URLs of RabbitMQ: Celery's rules, and refusals that show no password."""

from __future__ import annotations

import ssl

import pytest

from talo.errors import ImproperlyConfigured
from talo.stores.rabbitmq import RabbitStore
from talo.stores.rabbitmq.address import parse_urls


@pytest.mark.parametrize(
    ("url", "vhost"),
    [
        ("amqp://", "/"),
        ("amqp://host", "/"),
        ("amqp://host/", "/"),
        ("amqp://host//", "/"),
        ("amqp://host/%2F", "/"),
        ("amqp://host/shop", "shop"),
        ("amqp://host//shop", "/shop"),
        ("pyamqp://host/a%20b", "a b"),
    ],
)
def test_the_virtual_host_is_what_stands_behind_the_first_slash(url: str, vhost: str) -> None:
    assert parse_urls(url)[0].vhost == vhost


def test_what_is_not_said_is_as_rabbitmq_has_it() -> None:
    [address] = parse_urls("amqp://")
    assert (address.host, address.port, address.username, address.password) == ("localhost", 5672, "guest", "guest")
    assert parse_urls("amqps://host")[0].port == 5671


def test_several_hosts_are_tried_in_their_order() -> None:
    found = parse_urls("amqp://u:p@one:1/v;u:p@two:2/v; amqps://three/v")
    assert [(each.scheme, each.host, each.port) for each in found] == [
        ("amqp", "one", 1),
        ("amqp", "two", 2),
        ("amqps", "three", 5671),
    ]


def test_names_and_passwords_are_unquoted_and_passwords_hidden() -> None:
    [address] = parse_urls("amqp://us%40er:se%2Fcret@host/v")
    assert (address.username, address.password) == ("us@er", "se/cret")
    assert "cret" not in repr(address)
    assert address.shown == "amqp://us%40er:**@host:5672/v"
    assert "cret" not in repr(RabbitStore("amqp://user:secret@host/v"))


def test_tls_is_checked_unless_told_otherwise() -> None:
    [strict] = parse_urls("amqps://host")
    assert strict.tls is not None
    assert (strict.tls.verify_mode, strict.tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    [lax] = parse_urls("amqp://host", {"ssl_cert_reqs": "none"})
    assert lax.tls is not None
    assert (lax.tls.verify_mode, lax.port) == (ssl.CERT_NONE, 5671)
    assert parse_urls("amqp://host")[0].tls is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("amqp://u:secret@host:port/", "it looks like amqp://"),
        ("amqp://host?hartbeat=3", "did you mean heartbeat"),
        ("amqps://host?cacertfile=/nowhere.pem", "/nowhere.pem"),
        ("amqps://host?ssl_cert_reqs=perhaps", "required, optional or none"),
        ("", "it looks like amqp://"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(url: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says) as caught:
        parse_urls(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", [{"heartbeet": 3}, {"queue_type": "stream"}, {"timeout": 0}])
def test_options_that_are_none_are_refused(option: dict[str, object]) -> None:
    with pytest.raises(ImproperlyConfigured):
        RabbitStore("amqp://host", **option)  # type: ignore[arg-type]
