"""A backend for Django's Tasks framework: ``TASKS = {"default": {"BACKEND": "talo.django.tasks.TaloBackend"}}``.

Owns enqueueing and what a result says; running is ``_task_runs``'s, records are ``_task_records``'s. It sends through
the project's app, so inside ``atomic()`` a task is enqueued with its commit. Made by the framework.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core.checks import Error
from django.utils import timezone

from talo.app.app import Talo
from talo.django._framework import (
    DEFAULT_QUEUE,
    BaseTaskBackend,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_enqueued,
)
from talo.django._task_records import HEADER, TaskRecord, as_header, keep, read, result_of
from talo.django._task_runs import name_for
from talo.errors import ImproperlyConfigured, NotSupported
from talo.wire import new_id
from talo.wire.sealed import masked

__all__ = ["TaloBackend"]

#: Talo's priorities go from 0 to 9; what is neither raised nor lowered is in the middle.
_MIDDLE, _HIGHEST = 4, 9


class TaloBackend(BaseTaskBackend):
    """Tasks of the framework are sent with Talo and run by its workers."""

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def validate_task(self, task: Any) -> None:
        """As the framework has it. A task that is defined makes itself known to workers here."""
        super().validate_task(task)
        if apps.apps_ready:
            name_for(task)

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Send a call; return its result, which is there at once. Errors: ``InvalidTask…`` of the framework, and as of
        ``Task.apply_async``."""
        self.validate_task(task)
        app = self._app()
        sent = app.tasks[name_for(task)]
        # What the task gets is what its result shows, and the framework's results show JSON.
        args, kwargs = app.secrets.call(sent.name, normalize_json(args), normalize_json(kwargs))
        result = TaskResult(
            task=task,
            id=new_id(),
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=masked(args),
            kwargs=masked(kwargs),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        record = TaskRecord(
            path=task.module_path,
            backend=self.alias,
            queue_name=task.queue_name,
            priority=task.priority,
            enqueued_at=result.enqueued_at,
            run_after=task.run_after,
            takes_context=task.takes_context,
            args=args,
            kwargs=kwargs,
        )
        keep(app, result.id, record)
        sent.apply_async(
            args,
            kwargs,
            task_id=result.id,
            eta=task.run_after,
            queue=None if task.queue_name == DEFAULT_QUEUE else task.queue_name,
            priority=_priority(app, task.priority),
            headers={HEADER: as_header(record)},
        )
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """Return what is known of a task now. ``TaskResultDoesNotExist`` for an id that is not known, or not kept any
        more (``result_expires``)."""
        app = self._app()
        if app.result_store is None:
            raise NotSupported("results are disabled: set result_backend to the URL of a store")
        return result_of(app, result_id, read(app, result_id))

    def check(self, **kwargs: Any) -> Iterable[Any]:
        """System checks: E003 without the app there is nothing to send with."""
        yield from super().check(**kwargs)
        if not apps.is_installed("talo.django"):
            yield Error(
                f"TASKS[{self.alias!r}] is a TaloBackend, but 'talo.django' is not in INSTALLED_APPS",
                hint="Add 'talo.django' to INSTALLED_APPS.",
                id="talo.E003",
            )

    @staticmethod
    def _app() -> Talo:
        try:
            app: Talo = apps.get_app_config("talo_django").app
        except LookupError as exc:
            raise ImproperlyConfigured("TaloBackend needs 'talo.django' in INSTALLED_APPS") from exc
        return app


def _priority(app: Talo, priority: int) -> int:
    """The framework's -100 to 100 as 0 to 9: order is kept, and what is above or below 0 never falls together with
    it."""
    if priority < 0:
        level = (priority + 100) * _MIDDLE // 100
    else:
        level = _MIDDLE + -(-priority * (_HIGHEST - _MIDDLE) // 100)
    return _HIGHEST - level if app.conf.redis_priority_order == "low-first" else level
