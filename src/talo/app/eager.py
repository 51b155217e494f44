"""The result of a task that was run here and now.

Owns ``EagerResult``; running is ``execution.eager``'s. Made by ``Task.apply``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from talo import states
from talo.app.result import AsyncResult, assert_will_not_block
from talo.wire.results import ResultDoc

__all__ = ["EagerResult"]

R = TypeVar("R")


class EagerResult(AsyncResult[R]):
    """The result of a task that was run here and now. It is always ready and asks no store."""

    def __init__(
        self, id: str | None, ret_value: Any, state: str, traceback: str | None = None, name: str | None = None
    ) -> None:
        super().__init__(id or "", task_name=name)
        # A plug-in that sends nothing says so with None.
        self.id = id  # type: ignore[assignment]
        self._value = ret_value
        self._state = state
        self._doc = ResultDoc(task_id=id or "", status=state, result=None, traceback=traceback, name=name)

    def _begin_get(self, disable_sync_subtasks: bool) -> bool:
        if disable_sync_subtasks:
            assert_will_not_block()
        return True

    @property
    def result(self) -> Any:
        """What the task returned, or the exception it raised."""
        return self._value

    info = result

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise what the task raised if it failed (and ``propagate``), else return the value."""
        if propagate and self._state in states.PROPAGATE_STATES:
            raise self._value if isinstance(self._value, BaseException) else Exception(self._value)
        if callback is not None:
            callback(self.id, self._value)
        return self._value

    maybe_reraise = maybe_throw

    def _get_task_meta(self) -> dict[str, Any]:
        return {"task_id": self.id, "status": self._state, "result": self._value, "traceback": self.traceback}

    def ready(self) -> bool:
        """True."""
        return True

    def forget(self) -> None:
        """Nothing is stored."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """It has run already: it only reads REVOKED from now on."""
        del args, kwargs
        self._state = states.REVOKED
        if self._doc is not None:
            self._doc.status = states.REVOKED

    def then(self, callback: Any, on_error: Any = None, weak: bool = False) -> EagerResult[R]:
        """Call ``callback`` (or ``on_error``) with this result at once."""
        del weak
        (on_error if on_error is not None and self.failed() else callback)(self)
        return self

    def __copy__(self) -> EagerResult[R]:
        return EagerResult(self.id, self._value, self._state, self.traceback, self._name)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.id, self._value, self._state, self.traceback, self._name)

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"
