"""Names of Celery's that stand for nothing in Talo: why, and what to do instead.

Owns data only. A name covers all below it.
"""

from __future__ import annotations

_POOL = "-P threads is for blocking calls, -P asyncio for async def; Talo does not patch the standard library"
_BACKEND = "Talo's stores keep results: set result_backend to a redis://, postgresql:// or sqlite:// URL"
_WORKER = "Talo's worker is built otherwise; use signals, bootsteps or app.control"
_MIGRATE = "messages keep their form, so queues need no conversion; let workers drain the old broker"

ABSENT: dict[str, str] = {
    "celery.task": "Celery 5 has no such module either; use app.task or shared_task",
    "celery.decorators": "Celery 5 has no such module either; use app.task or shared_task",
    "celery.concurrency.eventlet": _POOL,
    "celery.concurrency.gevent": _POOL,
    "celery.concurrency.asynpool": _POOL,
    "celery.backends.database": _BACKEND,
    "celery.backends.redis": _BACKEND,
    "celery.backends.rpc": _BACKEND,
    "celery.backends": _BACKEND,
    "celery.worker.loops": _WORKER,
    "celery.worker.heartbeat": _WORKER,
    "celery.worker.consumer": _WORKER,
    "celery.worker.components": _WORKER,
    "celery.worker": _WORKER,
    "celery.app.trace": "a run is not traced by Celery's functions; wrap build_tracer, task.run or use signals",
    "celery.contrib.migrate": _MIGRATE,
    "celery.contrib.testing.manager": "it serves Celery's own tests; wait for results with get()",
    "celery.contrib.testing.mocks": "it serves Celery's own tests; run tasks with apply() or celery_worker",
    "celery.contrib.sphinx": "document the functions themselves; autodoc finds them",
    "celery.security": "Talo has no `auth` serializer; restrict who reaches the broker instead",
    "celery.bin": "see talo --help for the commands that exist",
    "celery.events.cursesmon": "talo events shows what happens, live",
    "kombu.transport": "Talo's stores speak to brokers themselves; set broker_url",
    "kombu": "it is a part of kombu that Talo does not stand in for: install kombu beside it",
    "billiard": "Talo forks by itself; use multiprocessing",
    "vine": "it is a part of vine that Talo does not stand in for: install vine beside it",
}
