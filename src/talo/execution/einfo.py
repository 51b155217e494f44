"""A caught exception with its traceback as text: what hooks and signals get as ``einfo``."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Any

__all__ = ["ExceptionInfo"]


class ExceptionInfo:
    """One failure. ``exception`` is the object, ``traceback`` the text from the task's first frame on, ``tb`` the
    frames."""

    __slots__ = ("exception", "internal", "tb", "traceback", "type")

    def __init__(self, exception: Any = None, *, skip: int = 0, internal: bool = False) -> None:
        """``exception`` may also be what ``sys.exc_info()`` returns; left out, it is the one that is being handled."""
        if not isinstance(exception, BaseException):
            exception = (exception or sys.exc_info())[1]
        self.exception = exception
        self.type = type(exception)
        self.internal = internal
        self.tb = _below(exception.__traceback__, skip)
        # A failure that was never raised (a dead process) has no frames; its class and text are all there is to tell.
        lines = traceback.format_exception(self.type, exception, self.tb)
        self.traceback = "".join(lines)

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"


def _below(tb: TracebackType | None, skip: int) -> TracebackType | None:
    for _ in range(skip):
        if tb is None or tb.tb_next is None:
            break
        tb = tb.tb_next
    return tb
