"""What the server refuses, in Talo's errors, told by SQLSTATE.

Owns the table of codes (PostgreSQL documentation, appendix "Error Codes"). Called by ``connection`` and ``database``.
"""

from __future__ import annotations

from talo.errors import (
    AccessRefused,
    EncodeError,
    ImproperlyConfigured,
    OperationalError,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TaloError,
)

__all__ = ["AGAIN", "DISPOSE", "LATE", "refusal"]

#: The server undid a transaction for the sake of others: it is run again.
AGAIN = frozenset({"40001", "40P01"})
#: Cancelled by a timeout of the server's, or a lock that did not become free.
LATE = frozenset({"57014", "55P03"})
#: After these another connection may lead to a better server.
DISPOSE = frozenset({"25006", "57P01", "57P02", "57P03", "25P03"})

_FULL = frozenset({"53100", "54P01"})
_ACCESS = {
    "28P01": "refuses this user or password: check the URL",
    "28000": "refuses this user from here: check the URL and pg_hba.conf",
    "42501": "denies this user a privilege that Talo needs: grant CREATE on the schema",
}
_SETUP = {
    "3D000": "does not exist: create the database, or name another",
    "3F000": "has no schema to work in: create the one that search_path names",
    "42P01": "lacks Talo's tables: run 'talo db migrate'",
    "42703": "has tables of another release: run 'talo db migrate'",
}


def refusal(code: str | None, text: str, shown: str, late: type[OperationalError] = StoreUnavailable) -> TaloError:
    """Return Talo's error for an SQLSTATE; ``text`` is the server's or the client library's own word."""
    if code is None or code.startswith("08"):
        return StoreUnavailable(f"{shown}: {text}")
    if code in _ACCESS:
        return AccessRefused(f"PostgreSQL at {shown} {_ACCESS[code]}")
    if code in _SETUP:
        return ImproperlyConfigured(f"{shown} {_SETUP[code]}")
    if code in LATE:
        return late(f"{shown} was busy: a statement or a lock did not end in time")
    if code in _FULL:
        return StoreFull(f"no room at {shown}: free some space on the server's disk")
    if code == "25006":
        return StoreUnavailable(f"{shown} is read-only, a replica perhaps: name the primary")
    if code == "53300":
        return StoreUnavailable(f"{shown} has no connection left: raise the server's max_connections or use a pooler")
    if code.startswith("22"):
        return EncodeError(f"{shown} cannot keep a value: {text}")
    if code.startswith(("42", "23", "0A", "54")):
        return StoreError(f"{shown} ({code}): {text}")
    return StoreUnavailable(f"{shown} ({code}): {text}")
