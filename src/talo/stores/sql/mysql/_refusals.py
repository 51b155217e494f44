"""What the server refuses, in Talo's errors, told by MySQL's and MariaDB's error numbers.

Owns the table of numbers (MySQL reference manual, "Server Error Message Reference"; MariaDB, "Error Codes"). Called by
``connection`` and ``database``.
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

__all__ = ["AGAIN", "GONE", "refusal"]

#: A deadlock, or a row that changed meanwhile: the server undid the transaction, and it is run again.
AGAIN = frozenset({1213, 1020})
#: The connection is gone, or the server is going.
GONE = frozenset({2006, 2013, 2055, 1053, 1927, 4031, 0})

_LATE = frozenset({1205, 1969, 3024, 1317})
_ACCESS = frozenset({1044, 1045, 1142, 1227, 1370, 1698})
_FULL = frozenset({1021, 1114, 1041, 1037})
_READ_ONLY = frozenset({1290, 1792, 1836})
_VALUE = frozenset({1264, 1366, 1406, 3140, 3988})


def refusal(number: int, text: str, shown: str, late: type[OperationalError] = StoreUnavailable) -> TaloError:
    """Return Talo's error for an error number; ``text`` is the server's or the client library's own word."""
    if number in _ACCESS:
        return AccessRefused(f"the server at {shown} refuses this user, password or privilege: check them")
    if number == 1049:
        return ImproperlyConfigured(f"{shown} does not exist: create the database, or name another")
    if number in (1054, 1146):
        return ImproperlyConfigured(f"{shown} has no tables of this release: run 'talo db migrate'")
    if number in _LATE:
        return late(f"{shown} was busy: a statement or a lock did not end in time")
    if number in _FULL:
        return StoreFull(f"no room at {shown}: free some space on the server's disk")
    if number in _READ_ONLY:
        return StoreUnavailable(f"{shown} is read-only, a replica perhaps: name the primary")
    if number in _VALUE:
        return EncodeError(f"{shown} cannot keep a value: {text}")
    if number == 1153:
        return StoreError(f"{shown} takes no statement so large: raise its max_allowed_packet")
    return StoreUnavailable(f"{shown} ({number}): {text}")
