"""Tasks that can be asked to stop and look for it themselves: the polite kind of cancelling.

Owns the state ABORTED and who sets and reads it. Stopping a run that does not look is ``AsyncResult.revoke``'s. Used by
``@app.task(base=AbortableTask, bind=True)``.
"""

from __future__ import annotations

from typing import Any, TypeVar

from talo.app.result import AsyncResult
from talo.app.task import Task
from talo.execution.request import Context

__all__ = ["ABORTED", "AbortableAsyncResult", "AbortableTask"]

R = TypeVar("R")

#: The state of a task that was asked to stop and has not ended.
ABORTED = "ABORTED"


class AbortableAsyncResult(AsyncResult[R]):
    """The result of such a task."""

    def is_aborted(self) -> bool:
        """Whether the task was asked to stop."""
        return self.state == ABORTED

    def abort(self) -> None:
        """Ask the task to stop; it does so when it looks. One that has ended stays as it is."""
        if not self.ready():
            self.app.env.store_state(self.id, ABORTED, None, Context(id=self.id))


class AbortableTask(Task[Any, Any]):
    """Base of tasks that call ``self.is_aborted()`` now and then."""

    abstract = True

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AbortableAsyncResult[Any]:
        """A handle of the result of a call."""
        return AbortableAsyncResult(task_id, app=self.app, task_name=self.name, **kwargs)

    def is_aborted(self, task_id: str | None = None, **_more: Any) -> bool:
        """Whether the running call (or the one of this id) was asked to stop."""
        task_id = task_id or self.request.id
        return task_id is not None and self.AsyncResult(task_id).is_aborted()
