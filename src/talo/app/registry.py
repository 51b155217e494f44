"""The tasks of an app by name.

Owns nothing but the mapping and its two errors. Every app has one; the worker looks up what a message names in it, so
it is the closed list of what messages can run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from talo.errors import InvalidTaskError, NotRegistered

if TYPE_CHECKING:
    from talo.app.task import Task

__all__ = ["TaskRegistry"]


class TaskRegistry(dict[str, Any]):
    """Task name → task object."""

    NotRegistered = NotRegistered

    def __missing__(self, key: str) -> Any:
        raise NotRegistered(key)

    def register(self, task: Any) -> None:
        """Add a task, or make one of a task class and add that. ``InvalidTaskError`` if it has no name."""
        if isinstance(task, type):
            task = task()
        if not task.name:
            raise InvalidTaskError(f"task class {type(task).__name__!r} must specify .name attribute")
        self[task.name] = task

    def unregister(self, name: str | Task[..., Any]) -> None:
        """Remove a task by name or object. ``NotRegistered`` if it is not there."""
        key = name if isinstance(name, str) else name.name
        if key is None or self.pop(key, None) is None:
            raise NotRegistered(key)

    def regular(self) -> dict[str, Any]:
        """The tasks that are not of the type ``periodic``."""
        return self.filter_types("regular")

    def periodic(self) -> dict[str, Any]:
        """The tasks of the type ``periodic``, which old code defines."""
        return self.filter_types("periodic")

    def filter_types(self, type: str) -> dict[str, Any]:
        """The tasks whose ``type`` attribute reads so; it is ``regular`` where there is none."""
        return {name: task for name, task in self.items() if getattr(task, "type", "regular") == type}
