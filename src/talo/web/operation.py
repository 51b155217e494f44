"""What an operation is: one thing that the dashboard shows or does.

Owns the form of the table from which JSON API, description, pages, roles and audit come. The entries are in
``operations``; ``api`` carries them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from talo.errors import TaloError
from talo.web.user import Role

if TYPE_CHECKING:
    from talo.web.desk import Desk

__all__ = ["NotFound", "Nothing", "Operation", "Unacceptable", "acts", "reads"]

A = TypeVar("A", bound=msgspec.Struct)


class NotFound(TaloError):
    """What was asked for does not exist."""


class Unacceptable(TaloError):
    """What was asked for makes no sense; says what would."""


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No arguments."""


class Operation(msgspec.Struct, kw_only=True, frozen=True):
    """One row of the table."""

    name: str
    method: Literal["GET", "POST"]
    #: Below ``/api``.
    path: str
    role: Role
    summary: str
    #: Those that a query, a form or a JSON object may hold.
    arguments: type[msgspec.Struct]
    run: Callable[[Any, Any], Any]
    #: Arguments whose values stay out of the audit log.
    hidden: frozenset[str] = frozenset()


def reads(path: str, arguments: type[A], role: Role = Role.VIEWER) -> Callable[[Callable[[Desk, A], Any]], Operation]:
    """Make a function an operation that shows something. It changes nothing."""

    def make(function: Callable[[Desk, A], Any]) -> Operation:
        return _made("GET", path, arguments, role, function, ())

    return make


def acts(
    path: str, arguments: type[A], role: Role = Role.OPERATOR, hidden: tuple[str, ...] = ()
) -> Callable[[Callable[[Desk, A], Any]], Operation]:
    """Make a function an operation that changes something. It returns facts with ``text``: what it did, for people."""

    def make(function: Callable[[Desk, A], Any]) -> Operation:
        return _made("POST", path, arguments, role, function, hidden)

    return make


def _made(method: Any, path: str, arguments: Any, role: Role, function: Any, hidden: tuple[str, ...]) -> Operation:
    return Operation(
        name=function.__name__.rstrip("_"),
        method=method,
        path=path,
        role=role,
        summary=(function.__doc__ or "").strip().partition("\n")[0],
        arguments=arguments,
        run=function,
        hidden=frozenset(hidden),
    )
