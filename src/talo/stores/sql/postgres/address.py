"""Where a PostgreSQL database is, from its URL.

Owns reading ``postgresql://user:password@host:port/database?option=value``; what follows the question mark are libpq's
own options (``sslmode``, ``sslrootcert``, ``options`` ...) and Talo's ``max_connections``. The password never leaves
``conninfo``. Called by ``database``.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field

from talo.errors import ImproperlyConfigured
from talo.stores.sql.postgres.connection import read_conninfo

__all__ = ["Address", "address"]

#: Connections of one process for transactions; those who wait hold one more each.
_CONNECTIONS = 8
#: Seconds: a server that vanished without a word is noticed by the system after about half a minute.
_KEEPALIVE = {"keepalives_idle": "15", "keepalives_interval": "5", "keepalives_count": "3"}


@dataclass(frozen=True, slots=True)
class Address:
    """One database on one server."""

    #: What libpq is given, password included.
    conninfo: dict[str, str] = field(repr=False)
    #: For people: ``host:port/database``.
    shown: str
    max_connections: int = _CONNECTIONS

    @property
    def url(self) -> str:
        """The address without password and options."""
        user = self.conninfo.get("user")
        return f"postgresql://{urllib.parse.quote(user, safe='') + '@' if user else ''}{self.shown}"


def address(url: str) -> Address:
    """Return the address that a URL means. Errors: ``ImproperlyConfigured``, without the password."""
    rest = url.partition("://")[2]
    location, _, query = rest.partition("?")
    connections = _CONNECTIONS
    options = []
    for key, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
        if key == "max_connections":
            connections = _count(key, value)
        else:
            options.append((key, value))
    text = f"postgresql://{location}"
    if options:
        text += "?" + urllib.parse.urlencode(options, quote_via=urllib.parse.quote)
    conninfo = read_conninfo(text)
    host, port = conninfo.get("host", ""), conninfo.get("port", "5432")
    shown = f"{host or 'localhost'}:{port}/{conninfo.get('dbname', '')}"
    return Address({**_KEEPALIVE, "application_name": "talo", **conninfo}, shown, connections)


def _count(key: str, value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise ImproperlyConfigured(f"{key} can be a number from 1 on, not {value!r}")
    return int(value)
