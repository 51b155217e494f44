"""MySQL and MariaDB beyond the contract: what is refused and how it is said."""

from __future__ import annotations

import pytest

from talo.errors import (
    AccessRefused,
    EncodeError,
    ImproperlyConfigured,
    MessageTooLarge,
    StoreUnavailable,
    TaloError,
)
from talo.stores.url import open_store
from talo.testing.contract._support import message
from tests.servers.mariadb import PASSWORD, MariadbServer

#: Generous: what is tested is that it ends.
SOON = 20.0


def refusal(url: str) -> Exception:
    """What is said of a URL."""
    with pytest.raises(TaloError) as caught:
        open_store(url, timeout=SOON).ping(SOON)
    return caught.value


def test_what_does_not_fit_is_refused_in_one_line_without_the_password(mariadb_server: MariadbServer) -> None:
    at = f"127.0.0.1:{mariadb_server.port}"
    wrong = refusal(f"mysql://talo:wr0ng@{at}/talo")
    missing = refusal(mariadb_server.url_of("nowhere"))
    nobody = refusal(f"mysql://talo:{PASSWORD.replace('/', '%2F')}@127.0.0.1:1/talo")
    assert (type(wrong), type(missing), type(nobody)) == (AccessRefused, ImproperlyConfigured, StoreUnavailable)
    assert "create the database" in str(missing)
    for error in (wrong, missing, nobody):
        assert "\n" not in str(error)
        assert "wr0ng" not in str(error)
        assert PASSWORD not in str(error)


@pytest.mark.parametrize("tail", [":notaport/db", "/", "/db?nonsense=1", "/db?max_connections=0"])
def test_a_url_that_cannot_be_read_is_refused_without_its_secret(tail: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        open_store(f"mysql://user:s3cret@host{tail}")
    assert "s3cret" not in str(caught.value)


def test_text_that_it_cannot_keep_is_an_encode_error(mariadb_url: str) -> None:
    store = open_store(mariadb_url, timeout=SOON)
    with pytest.raises(EncodeError, match="cannot keep a value"):
        store.broker.send([message(queue="q" * 300)])
    store.broker.send([message()])
    assert [each.ready for each in store.broker.stats()] == [1]
    store.close()


@pytest.mark.promise("B08")
def test_a_message_above_the_limit_is_refused_with_both_sizes_before_it_is_sent(mariadb_url: str) -> None:
    store = open_store(mariadb_url, timeout=SOON)
    limit = store.features.max_message
    with pytest.raises(MessageTooLarge, match=f"exceeds the {limit} bytes") as caught:
        store.broker.send([message(), message(body=b"x" * (limit + 1))])
    assert (caught.value.size > limit, caught.value.limit) == (True, limit)
    assert store.broker.stats() == []
    # And what is just below passes, whatever its bytes
    store.broker.send([message(body=b"\x00'" * (limit // 2 - 500))])
    assert [each.ready for each in store.broker.stats()] == [1]
    store.close()
