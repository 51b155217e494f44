"""A caught exception with its traceback as text: what hooks and signals get as ``einfo``."""

from __future__ import annotations

import traceback
from types import TracebackType

__all__ = ["ExceptionInfo"]


class ExceptionInfo:
    """One failure. ``exception`` is the object, ``traceback`` the text from the task's first frame on, ``tb`` the
    frames."""

    __slots__ = ("exception", "internal", "tb", "traceback", "type")

    def __init__(self, exception: BaseException, *, skip: int = 0, internal: bool = False) -> None:
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
