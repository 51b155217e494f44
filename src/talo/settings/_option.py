"""What one setting is: the row of the table.

Owns ``Option`` and its words. The rows stand in the files of the themes, ``options`` joins them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import msgspec

from talo.settings._kinds import Kind

__all__ = ["Group", "Option", "Same", "Status"]


class Status(enum.Enum):
    """What happens to a value that is set."""

    #: It does what it says.
    EFFECTIVE = "effective"
    #: Anything but the default is an error that gives the reason.
    REFUSED = "refused"
    #: It is accepted and kept; the reason says what it waits for, and a worker says so at start.
    COMING = "coming"


class Same(msgspec.Struct, frozen=True):
    """A default that is the value of another setting."""

    name: str


#: "Celery has the same default."
_SAME_AS_TALO: Any = object()


class Option(msgspec.Struct, frozen=True):
    """One setting: its names, its type, its defaults and what becomes of it."""

    name: str
    type: Kind
    default: Any = None
    #: The upper-case names from before Celery 4.0; the first one is the documented one.
    old: tuple[str, ...] = ()
    help: str = ""
    status: Status = Status.EFFECTIVE
    #: Why it is refused or what it waits for; beside an effective one, why nothing has to be done for it.
    reason: str = ""
    #: What Celery documents.
    celery_default: Any = _SAME_AS_TALO
    #: Whether an app with Celery's defaults takes Celery's here. No where only speed differs.
    follows: bool = True
    secret: bool = False
    #: Talo's own; Celery knows no such setting.
    own: bool = False

    def __post_init__(self) -> None:
        if self.celery_default is _SAME_AS_TALO:
            msgspec.structs.force_setattr(self, "celery_default", self.default)
        if self.status is not Status.EFFECTIVE and not self.reason:
            raise ValueError(f"{self.name} is {self.status.value} without a reason")

    @property
    def differs(self) -> bool:
        """Whether Celery documents another default."""
        return bool(self.celery_default != self.default)

    def default_for(self, celery: bool) -> Any:
        """Return the default under Talo's own rules or under Celery's (a ``Same``: another setting's)."""
        return self.celery_default if celery and self.follows else self.default

    def is_default(self, value: Any) -> bool:
        """Return whether setting this value asks for nothing: it is one of the defaults, or none at all."""
        return value is None or value == self.default or value == self.celery_default


class Group(msgspec.Struct, frozen=True):
    """Settings that belong together, under one heading of the reference."""

    title: str
    options: tuple[Option, ...]

    @classmethod
    def of(cls, title: str, options: Iterable[Option]) -> Group:
        """Return a group of the given rows."""
        return cls(title, tuple(options))
