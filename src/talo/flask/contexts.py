"""A context of the Flask application around every run of a task.

Owns pushing it before ``before_start`` and popping it after ``after_return``, so that hooks share it with the task, and
what ends with it (``teardown_appcontext``) has ended before the result is told. A call of a task as a function has no
run and keeps the caller's context. Made by ``extension``; what can cut a run short: docs/internals/frameworks.md.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from flask.ctx import AppContext

from talo import signals, states
from talo.execution.request import Frame, current_frame

if TYPE_CHECKING:
    from talo.flask.extension import Talo

__all__ = ["Contexts"]

#: The runs of this thread or coroutine, the innermost last, and the context of each.
_entered: ContextVar[tuple[tuple[Frame, AppContext], ...]] = ContextVar("talo_flask_contexts", default=())


class Contexts:
    """The contexts of one extension's runs."""

    def __init__(self, extension: Talo) -> None:
        self._extension = extension

    def listen(self) -> None:
        """Push and pop from now on. Repeating it does nothing."""
        signals.task_prerun.connect(self._push)
        signals.task_postrun.connect(self._pop)

    def _push(self, task: Any, **_: Any) -> None:
        frame = current_frame()
        if task.app is not self._extension or frame is None:
            return
        _leave_unfinished(frame)
        context = self._extension.flask.app_context()
        context.push()
        _entered.set((*_entered.get(), (frame, context)))

    def _pop(self, task: Any, state: str, retval: Any, **_: Any) -> None:
        entered = _entered.get()
        if task.app is not self._extension or not entered or entered[-1][0] is not current_frame():
            return
        _entered.set(entered[:-1])
        failed = state == states.FAILURE and isinstance(retval, BaseException)
        entered[-1][1].pop(retval if failed else None)


def _leave_unfinished(frame: Frame) -> None:
    """Pop what runs of this thread have left that were cut short before their last step: they are not around
    ``frame``."""
    around = []
    outer = frame.previous
    while outer is not None:
        around.append(outer)
        outer = outer.previous
    entered = _entered.get()
    while entered and entered[-1][0] not in around:
        entered[-1][1].pop(None)
        entered = entered[:-1]
        _entered.set(entered)
