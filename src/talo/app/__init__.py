"""The app and all that hangs on it: tasks, sending, routes, results.

The objects users hold. It stands on execution and canvas and is handed to the long-lived processes; it never imports
them.
"""

from talo.app.app import Talo
from talo.app.current import current_app, current_task
from talo.app.eager import EagerResult
from talo.app.groups import GroupResult, Progress, ResultSet, result_from_tuple
from talo.app.result import AsyncResult, allow_join_result, denied_join_result
from talo.app.routes import Queues, Router
from talo.app.shared import app_or_default, shared_task
from talo.app.task import Task

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "Progress",
    "Queues",
    "ResultSet",
    "Router",
    "Talo",
    "Task",
    "allow_join_result",
    "app_or_default",
    "current_app",
    "current_task",
    "denied_join_result",
    "result_from_tuple",
    "shared_task",
]
