"""Django's Tasks framework: Django 6's own, or its backport ``django-tasks``.

Owns the choice, and the few names that differ. Called by ``backend`` and ``_task_runs``.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

__all__ = [
    "DEFAULT_QUEUE",
    "BaseTaskBackend",
    "DoesNotExist",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultStatus",
    "normalize_json",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]

_package, _json = (
    ("django.tasks", "django.utils.json")
    if importlib.util.find_spec("django.tasks")
    else ("django_tasks", "django_tasks.utils")
)
_tasks: Any = importlib.import_module(_package)
_base: Any = importlib.import_module(f"{_package}.base")
_signals: Any = importlib.import_module(f"{_package}.signals")

BaseTaskBackend: Any = importlib.import_module(f"{_package}.backends.base").BaseTaskBackend
DoesNotExist: Any = importlib.import_module(f"{_package}.exceptions").TaskResultDoesNotExist
DEFAULT_QUEUE: str = _tasks.DEFAULT_TASK_QUEUE_NAME
normalize_json: Any = importlib.import_module(_json).normalize_json
task_backends: Any = _tasks.task_backends
Task: Any = _base.Task
TaskContext: Any = _base.TaskContext
TaskError: Any = _base.TaskError
TaskResult: Any = _base.TaskResult
TaskResultStatus: Any = _base.TaskResultStatus
task_enqueued: Any = _signals.task_enqueued
task_finished: Any = _signals.task_finished
task_started: Any = _signals.task_started
