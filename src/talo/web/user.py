"""Who uses the dashboard, and what they may do.

Owns roles and the user of one request. Made by ``access``, asked by ``api``, ``pages`` and the audit log."""

from __future__ import annotations

import enum

import msgspec

__all__ = ["Role", "User"]


class Role(enum.IntEnum):
    """Each role may do what those before it may."""

    #: Sees everything, changes nothing.
    VIEWER = 1
    #: Steers: pauses, replays, cancels, runs schedules.
    OPERATOR = 2
    #: Also deletes, stops workers and changes schedules.
    ADMIN = 3

    @classmethod
    def named(cls, name: str) -> Role:
        """Return the role of this name. ``ValueError`` lists those that there are."""
        try:
            return cls[name.upper()]
        except (KeyError, AttributeError):
            raise ValueError(f"there is no role {name!r}: it is viewer, operator or admin") from None

    def __str__(self) -> str:
        return self.name.lower()


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may come in."""

    name: str
    role: Role
    #: ``password``, ``token``, ``proxy``, ``oidc`` or ``open`` (nobody has to log in).
    via: str

    def may(self, role: Role) -> bool:
        """Whether what takes this role is allowed."""
        return self.role >= role
