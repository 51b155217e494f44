"""Classes of ``celery.exceptions``, ``kombu.exceptions`` and ``billiard`` that Talo's own tree does not have.

Owns names only: nothing in Talo raises these, but code written for Celery catches, subclasses and pickles them.
"""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn

import click

from talo.errors import NotSupported, OperationalError, TaloError, TaloWarning
from talo.execution.einfo import ExceptionInfo

__all__ = [
    "AlwaysEagerIgnored",
    "CDeprecationWarning",
    "CPendingDeprecationWarning",
    "CeleryCommandException",
    "ChannelError",
    "ConnectionError",
    "DuplicateNodenameWarning",
    "DuplicateTaskNameWarning",
    "ExceptionInfo",
    "ExceptionWithTraceback",
    "FixupWarning",
    "HttpError",
    "LimitExceeded",
    "NotBoundError",
    "NotConfigured",
    "SecurityWarning",
    "WorkersJoined",
    "reraise",
]


class AlwaysEagerIgnored(TaloWarning):
    """``send_task`` sends although ``task_always_eager`` is set."""


class DuplicateNodenameWarning(TaloWarning):
    """Two workers have one node name."""


class DuplicateTaskNameWarning(TaloWarning):
    """Two tasks have one name."""


class FixupWarning(TaloWarning):
    """A framework could not be set up."""


class NotConfigured(TaloWarning):
    """There is no configuration."""


class SecurityWarning(TaloWarning):
    """Something insecure is in use."""


class CDeprecationWarning(DeprecationWarning):
    """Celery's own deprecation warning."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Celery's own pending deprecation warning."""


class CeleryCommandException(click.ClickException):
    """A command's failure with its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message=message)
        self.exit_code = exit_code  # type: ignore[misc]


class ConnectionError(OperationalError):
    """kombu's error for a lost connection."""


class ChannelError(OperationalError):
    """kombu's error for a refused operation."""


class LimitExceeded(TaloError):
    """kombu's error for an exhausted pool."""


class NotBoundError(NotSupported):
    """kombu's error for an object without a channel."""


class HttpError(TaloError):
    """kombu's error of its HTTP client."""


class WorkersJoined(TaloError):
    """billiard's sign that every process has ended."""


class ExceptionWithTraceback(Exception):
    """billiard's way to carry an exception with its traceback as text between processes."""

    def __init__(self, exc: BaseException, tb: object = None) -> None:
        super().__init__(exc)
        self.exc = exc
        self.tb = str(tb) if tb is not None else ""

    def __str__(self) -> str:
        return self.tb or str(self.exc)

    def __reduce__(self) -> tuple[type[ExceptionWithTraceback], tuple[BaseException, str]]:
        return ExceptionWithTraceback, (self.exc, self.tb)


def reraise(tp: object, value: BaseException, tb: TracebackType | None = None) -> NoReturn:
    """Raise an exception with a traceback."""
    del tp
    raise value.with_traceback(tb) if tb is not None and value.__traceback__ is not tb else value
