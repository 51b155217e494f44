"""Redis' error replies as Talo's errors, by their code word.

Owns the table. Called by ``connection`` and by whoever reads replies of a pipeline.
"""

from __future__ import annotations

from talo.errors import AccessRefused, LeaseLost, StoreError, StoreFull, StoreUnavailable, TaloError

__all__ = ["Misdirected", "Refusal", "as_error"]


class Refusal(Exception):
    """An error reply as it came: its code word and the whole line."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.code = line.split(" ", 1)[0]
        self.line = line


class Misdirected(StoreUnavailable):
    """The server refused because of where it stands; it did nothing. ``hint``: host:port of who would do it, if it
    named one. ``later``: it may do it itself after a while."""

    def __init__(self, text: str, *, hint: str = "", later: bool = False) -> None:
        super().__init__(text)
        self.hint = hint
        self.later = later


_FULL = frozenset({"OOM", "MISCONF"})
_LATER = frozenset({"LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS"})
#: Whether to ask the same server again after a while.
_MISDIRECTED = {
    "MOVED": False,
    "READONLY": False,
    "UNBLOCKED": False,  # a master that steps down ends the waits of its clients
    "CLUSTERDOWN": False,
    "ASK": True,
    "TRYAGAIN": True,
}
_LOGIN = {
    "NOAUTH": "wants a password: put it into the URL, as in redis://:PASSWORD@HOST:6379/0",
    "WRONGPASS": "does not accept this user name and password: correct them in the URL",
    "DENIED": "is in protected mode: give it a password, or connect from its own machine",
    "NOPROTO": "does not speak RESP3: Talo needs Redis 6.2 or newer",
}


def as_error(refusal: Refusal, shown: str) -> TaloError:
    """The error that ``refusal`` means, to be raised from it. ``shown`` names the server without its password."""
    code = refusal.code
    if code == "LEASELOST":
        return LeaseLost(f"owner {refusal.line[len(code) + 1 :]} is not open")
    if code in _FULL:
        return StoreFull(f"{shown} has no room: {refusal.line}")
    if code in _MISDIRECTED:
        hint = refusal.line.rpartition(" ")[2] if code == "MOVED" else ""
        return Misdirected(f"{shown} cannot do it now: {refusal.line}", hint=hint, later=_MISDIRECTED[code])
    if code in _LATER:
        return StoreUnavailable(f"{shown} cannot do it now: {refusal.line}")
    if code == "NOPERM":
        return AccessRefused(f"{shown} does not let this user do what Talo needs: {refusal.line}")
    if code in _LOGIN:
        return AccessRefused(f"{shown} {_LOGIN[code]}")
    return StoreError(f"{shown} refused: {refusal.line}")
