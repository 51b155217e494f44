"""What the dashboard shows and does, one module for each of its sections.

Owns the table; the form of its rows is ``operation``'s. Read by ``dashboard``, ``pages`` and ``openapi``."""

from __future__ import annotations

from talo.web.operation import Operation
from talo.web.operations import (
    bulk,
    configuration,
    dead,
    failures,
    overview,
    queues,
    runs,
    schedules,
    tasks,
    workers,
    workflows,
)

__all__ = ["TABLE"]

TABLE: tuple[Operation, ...] = (
    overview.overview,
    runs.runs,
    runs.run,
    runs.explain,
    runs.revoke,
    runs.reschedule,
    bulk.bulk,
    bulk.bulk_apply,
    tasks.tasks,
    tasks.task_pause,
    tasks.task_resume,
    tasks.task_rate_limit,
    queues.queues,
    queues.waiting,
    queues.queue_pause,
    queues.queue_resume,
    queues.queue_purge,
    workers.workers,
    workers.worker_quiet,
    workers.worker_consume,
    workers.worker_pool,
    workers.worker_stop,
    schedules.schedules,
    schedules.schedule,
    schedules.schedule_add,
    schedules.schedule_edit,
    schedules.schedule_pause,
    schedules.schedule_resume,
    schedules.schedule_run,
    schedules.schedule_remove,
    workflows.workflows,
    workflows.workflow,
    failures.failures,
    dead.dead_letters,
    dead.dead_letter,
    dead.dead_replay,
    dead.dead_edit,
    dead.dead_drop,
    configuration.configuration,
    configuration.audit_log,
)
