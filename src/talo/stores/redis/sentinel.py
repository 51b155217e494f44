"""The master of a name, as Redis Sentinel knows it.

Owns asking the sentinels and remembering their answer until it is doubted. The connection to the master itself is
``connection``'s business. Called by ``store``, which builds it from ``sentinel://`` URLs."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from talo.errors import ImproperlyConfigured, StoreUnavailable
from talo.stores.redis.address import Address, parse_url
from talo.stores.redis.connection import Connecting, Connection, DeadlinePassed, pack
from talo.stores.redis.place import Fixed, Place, shared

__all__ = ["Sentinel", "sentinel_place"]

PORT = 26379
_KNOWN = frozenset({"username", "password", "ssl", "socket_timeout", "socket_connect_timeout"})


class Sentinel(Place):
    """The master called ``name``. ``master`` carries what it takes to log in there; host and port are asked for."""

    def __init__(self, sentinels: Sequence[Address], name: str, master: Address, made: Connecting) -> None:
        self._sentinels = list(sentinels)
        self._name = name
        self._master = master
        self.db = master.db
        self._made = made
        self._found: Address | None = None
        self._lock = threading.Lock()

    @property
    def shown(self) -> str:
        hosts = ";".join(f"sentinel://{address.host}:{address.port}" for address in self._sentinels)
        return f"{hosts}/{self._master.db} (master {self._name})"

    @property
    def identity(self) -> Hashable:
        return frozenset(address.place[0] for address in self._sentinels), self._name, self._master.db

    def find(self, deadline: float) -> Address:
        found = self._found
        return found if found is not None else self._ask_all(deadline)

    def doubt(self, address: Address, hint: str = "") -> None:
        del hint
        if self._found == address:
            self._found = None
            self.epoch += 1

    def _ask_all(self, deadline: float) -> Address:
        trouble: StoreUnavailable | None = None
        sentinels = tuple(self._sentinels)
        for at, sentinel in enumerate(sentinels):
            try:
                answer = self._ask(sentinel, shared(deadline, len(sentinels) - at))
            except StoreUnavailable as error:
                if monotonic() >= deadline:
                    raise DeadlinePassed(f"{self.shown} did not say in time who is the master") from error
                trouble = error
                continue
            if answer is None:
                continue
            with self._lock:
                # The one that answers is asked first the next time.
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
            self._found = answer
            return answer
        if trouble is not None:
            raise StoreUnavailable(f"no sentinel of {self.shown} knows the master now: {trouble}") from trouble
        raise ImproperlyConfigured(f"the sentinels of {self.shown} watch no master {self._name}: correct master_name")

    def _ask(self, sentinel: Address, deadline: float) -> Address | None:
        connection = Connection(Fixed(sentinel), self._made)
        connection.connect(deadline)
        try:
            found = connection.call(pack("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name), deadline)
        finally:
            connection.close()
        return replace(self._master, host=found[0].decode(), port=int(found[1])) if found else None


def sentinel_place(
    urls: Sequence[str],
    made: Connecting,
    tls: Mapping[str, Any],
    master_name: str | None,
    sentinel_kwargs: Mapping[str, Any] | None,
) -> Sentinel:
    """The place that Celery's form describes: ``sentinel://[USER:PASSWORD@]HOST:PORT/DB``, several joined by ``;``,
    with user, password and database of the master; ``sentinel_kwargs`` logs in at the sentinels."""
    if not master_name:
        raise ImproperlyConfigured(
            'sentinel:// needs the name of the master: broker_transport_options = {"master_name": "mymaster"}'
        )
    login = dict(sentinel_kwargs or {})
    for key in login:
        if key not in _KNOWN and not key.startswith("ssl_"):
            raise ImproperlyConfigured(f"sentinel_kwargs: {key} is not known; there are {', '.join(sorted(_KNOWN))}")
    own_tls = {key: value for key, value in login.items() if key.startswith("ssl_")}
    if login.get("ssl") and not own_tls:
        own_tls = {"ssl_cert_reqs": "required"}
    addresses = [parse_url(url, tls) for url in urls]
    plain = [parse_url(url, own_tls) for url in urls]
    sentinels = [
        replace(
            address,
            db=0,
            port=address.port if _names_port(url) else PORT,
            username=login.get("username"),
            password=login.get("password"),
        )
        for url, address in zip(urls, plain, strict=True)
    ]
    # Celery takes the login from the first URL that has one.
    master = next((address for address in addresses if address.password), addresses[0])
    master = replace(master, db=max(address.db for address in addresses))
    patience = [login[key] for key in ("socket_timeout", "socket_connect_timeout") if login.get(key)]
    return Sentinel(sentinels, master_name, master, Connecting(made.name, min(patience, default=made.timeout)))


def _names_port(url: str) -> bool:
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    return host.rpartition("]")[2].count(":") == 1
