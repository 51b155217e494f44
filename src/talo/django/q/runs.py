"""Running what was sent Django Q's way.

Owns Talo's two tasks for it: one that runs a function by its path and keeps what became of it, and one that collects
the results of ``async_iter``. Attempts, hooks and how many successes are kept are decided here.
Called by the worker; sent by ``tasks``.
"""

from __future__ import annotations

import datetime as dt
import logging
import traceback
from typing import TYPE_CHECKING, Any

import msgspec
from django.core.cache import cache
from django.utils import timezone

from talo import shared_task
from talo.django.q import conf, signals
from talo.django.q.packing import pack, unpack
from talo.errors import EncodeError, Retry
from talo.util.names import import_path

if TYPE_CHECKING:
    from talo.django.q.models import Task

__all__ = ["COLLECT", "RUN", "Call", "cache_key", "run_here"]

log = logging.getLogger("talo.django")

RUN, COLLECT = "talo.django.q.run", "talo.django.q.collect"


class Call(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One call as its message carries it; values are packed."""

    id: str
    name: str
    func: str
    args: str = "[]"
    kwargs: str = "{}"
    hook: str | None = None
    group: str | None = None
    cluster: str | None = None
    save: bool = True
    #: Seconds in the cache, or True for its default; False: kept in the database.
    cached: bool | float = False
    ack_failure: bool = False
    #: A part of an ``async_iter``: its result goes to who collects.
    part: bool = False


def cache_key(kind: str, name: str) -> str:
    """Where the cache keeps a task (``task``), or what belongs to a group (``group``)."""
    return f"talo.django.q:{kind}:{name}"


@shared_task(name=RUN, bind=True, ignore_result=False, max_retries=None)
def _run(self: Any, call: dict[str, Any]) -> Any:
    """Run one call. A failure is tried again as Q_CLUSTER says."""
    wanted = msgspec.convert(call, Call)
    attempt = self.request.retries + 1
    row, again = _ended(wanted, attempt)
    if wanted.part:
        return [row.success, row.packed_result]
    cluster = conf.read(wanted.cluster)
    if again is not None and not wanted.ack_failure and (attempt < cluster.max_attempts or not cluster.max_attempts):
        _keep(wanted, row)
        raise self.retry(exc=again, countdown=cluster.retry)
    _finish(wanted, row)
    if again is not None:
        raise again
    return None


@shared_task(name=COLLECT)
def _collect(parts: list[Any], call: dict[str, Any], began: str) -> None:
    """Make one result of the parts of an iteration, in their order."""
    wanted = msgspec.convert(call, Call)
    results = [unpack(result) for _, result in parts]
    row = _row(wanted, dt.datetime.fromisoformat(began), results, all(well for well, _ in parts), 1)
    _finish(wanted, row)


def run_here(wanted: Call) -> bool:
    """Run it in this process, as with ``sync``; a failure is kept, and not raised. Return whether it ended well."""
    row, _ = _ended(wanted, 1)
    _finish(wanted, row)
    return bool(row.success)


def _ended(wanted: Call, attempt: int) -> tuple[Task, Exception | None]:
    """Call the function; return the row of what became of it, and what it raised."""
    began = timezone.now()
    func, task, fault = None, {}, None
    try:
        func, task = import_path(wanted.func), signals.task_of(wanted, began)
        signals.pre_execute.send(signals.SENDER, func=func, task=task)
        row = _row(wanted, began, func(*task["args"], **task["kwargs"]), True, attempt)
    except Retry:
        raise
    except Exception as exc:  # noqa: BLE001  told by the row, and raised again by whoever asked
        fault = exc
        row = _row(wanted, began, f"{exc} : {''.join(traceback.format_exception(exc))}", False, attempt)
    if func is not None:
        signals.executed(task, func, row)
    return row, fault


def _row(wanted: Call, began: dt.datetime, answer: Any, success: bool, attempt: int) -> Task:
    # The models are there once Django's apps are ready.
    from talo.django.q.models import Task

    try:
        packed = pack(answer)
    except EncodeError as exc:
        packed, success = pack(str(exc)), False
    return Task(
        id=wanted.id,
        name=wanted.name,
        func=wanted.func,
        hook=wanted.hook,
        packed_args=wanted.args,
        packed_kwargs=wanted.kwargs,
        packed_result=packed,
        group=wanted.group,
        cluster=wanted.cluster,
        started=began,
        stopped=timezone.now(),
        success=success,
        attempt_count=attempt,
    )


def _finish(wanted: Call, row: Task) -> None:
    _keep(wanted, row)
    if wanted.hook:
        try:
            import_path(wanted.hook)(row)
        except Exception:
            # The task itself has ended as it has; a redelivery would not mend its hook.
            log.exception("The hook %s of %s failed", wanted.hook, row, extra={"task_id": wanted.id})


def _keep(wanted: Call, row: Task) -> None:
    """Store what became of it, and tell. A repeat writes the same row again."""
    if wanted.cached:
        _cache(wanted, row)
    else:
        _save(wanted, row)
    signals.kept(wanted, row)


def _save(wanted: Call, row: Task) -> None:
    limit = conf.read(wanted.cluster).save_limit
    if row.success and (not wanted.save or limit < 0):
        return
    row.save()
    if row.success and limit > 0:
        _trim(row, limit, conf.read(wanted.cluster).save_limit_per)


def _trim(row: Task, limit: int, per: str | None) -> None:
    """Delete the oldest successes beyond the limit."""
    kept = type(row).objects.filter(success=True)
    if per is not None:
        kept = kept.filter(**{per: getattr(row, per)})
    for last in kept.order_by("-stopped").values_list("stopped", flat=True)[limit - 1 : limit]:
        kept.filter(stopped__lt=last).delete()


def _cache(wanted: Call, row: Task) -> None:
    timeout = {} if wanted.cached is True else {"timeout": wanted.cached}
    if wanted.group:
        # Places are drawn one by one, so that two who end at once do not forget each other. Whoever sees that a task
        # has ended finds it in its group, too.
        count = cache_key("group", wanted.group)
        cache.add(count, 0, **timeout)
        cache.set(f"{count}:{cache.incr(count)}", wanted.id, **timeout)
    cache.set(cache_key("task", wanted.id), row, **timeout)
