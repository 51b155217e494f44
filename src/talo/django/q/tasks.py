"""The functions of Django Q: send a task by its path, ask for results, groups, iterations, chains, schedules.

Owns their arguments; what runs is ``runs``'s. Importing it needs no models, so that workers and projects may
import it at any time.
"""

from __future__ import annotations

import ast
import datetime as dt
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from django.apps import apps
from django.core.cache import cache
from django.utils import timezone

from talo import chain as talo_chain
from talo import chord
from talo.app.app import Talo
from talo.django.q import conf, signals
from talo.django.q.packing import pack
from talo.django.q.runs import COLLECT, RUN, Call, cache_key, run_here
from talo.errors import ImproperlyConfigured
from talo.util.names import import_path, nearest
from talo.wire import new_id
from talo.wire.repr import saferepr

if TYPE_CHECKING:
    from talo.django.q.models import Schedule, Task

__all__ = [
    "async_chain",
    "async_iter",
    "async_task",
    "count_group",
    "delete_cached",
    "delete_group",
    "fetch",
    "fetch_group",
    "result",
    "result_group",
    "schedule",
]

#: Names that are options of the call, not arguments of the function.
OPTIONS = (
    "hook", "group", "save", "sync", "cached", "task_name", "timeout", "ack_failure", "cluster", "broker",
)  # fmt: skip
#: Seconds between two looks for a result: at first, and at most.
_LOOK, _LONGEST_LOOK = 0.01, 0.25
#: Seconds that a task has to end by itself once its time is over.
_GRACE = 5.0


def app() -> Talo:
    """The project's app. ``ImproperlyConfigured`` if there is none."""
    try:
        found: Talo = apps.get_app_config("talo_django").app
    except LookupError as exc:
        raise ImproperlyConfigured("'talo.django' is not in INSTALLED_APPS, which 'talo.django.q' needs") from exc
    return found


# -- sending


def async_task(func: str | Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Send ``func`` (a function or its dotted path) with its arguments; return the task's id.

    Options among the keywords: ``hook`` (a function or path that gets the ended task), ``group``, ``save``, ``sync``,
    ``cached``, ``task_name``, ``timeout`` (seconds), ``ack_failure``, ``cluster`` (the queue), or all of them in
    ``q_options``. ``ValueError`` for a function without a path, ``EncodeError`` for arguments that cannot be sent.
    """
    options = _options(kwargs)
    return _send(*_call(func, args, kwargs, options), options)


def send_again(task_id: str, func: str, args: Any, kwargs: Any, options: dict[str, Any]) -> str:
    """Send a call that has its id already. Errors: as ``async_task``."""
    call, cluster = _call(func, args, dict(kwargs), _options({"q_options": options}))
    return _send(msgspec.structs.replace(call, id=task_id), cluster, options)


def _send(call: Call, cluster: conf.Cluster, options: dict[str, Any]) -> str:
    if options.get("sync", cluster.sync):
        run_here(call)
    else:
        app().tasks[RUN].apply_async((msgspec.to_builtins(call),), **_sending(call, options, cluster))
    return call.id


def async_iter(func: str | Callable[..., Any], args_iter: Iterable[Any], **kwargs: Any) -> str:
    """Send one task for each item (a tuple is several arguments); return the id of the one result: the list of what
    they returned, in their order."""
    options = _options(kwargs)
    call, cluster = _call(func, (), kwargs, options)
    began = timezone.now().isoformat()
    parts = []
    for item in args_iter:
        packed = pack(list(item) if isinstance(item, tuple) else [item])
        parts.append(msgspec.structs.replace(call, id=new_id(), args=packed, hook=None, group=None, part=True))
    sending = _sending(call, options, cluster)
    task_id = sending.pop("task_id")
    run, collect = app().tasks[RUN], app().tasks[COLLECT]
    if options.get("sync", cluster.sync) or not parts:
        collect([run(msgspec.to_builtins(part)) for part in parts], msgspec.to_builtins(call), began)
        return call.id
    header = [run.signature((msgspec.to_builtins(part),), **sending, task_id=part.id) for part in parts]
    body = collect.signature((msgspec.to_builtins(call), began), queue=sending["queue"], task_id=task_id)
    chord(header, app=app())(body)
    return call.id


def async_chain(
    chain: Sequence[Any],
    group: str | None = None,
    cached: bool | float | None = None,
    sync: bool | None = None,
    broker: Any = None,
) -> str:
    """Send calls ``(func, args, kwargs)`` that run one after the other, each if the one before ended well; return the
    name of their group."""
    group = group or new_id()
    calls = []
    for step in chain:
        func, *more = step if isinstance(step, tuple | list) else (step,)
        args, kwargs = more[0] if more else (), dict(more[1]) if len(more) > 1 else {}
        options = {**_options(kwargs), "group": group, "cached": cached, "sync": sync, "broker": broker}
        options = {name: value for name, value in options.items() if value is not None}
        calls.append((*_call(func, tuple(args), kwargs, options), options))
    if any(options.get("sync", cluster.sync) for _, cluster, options in calls):
        # ``all`` ends at the first that fails.
        all(run_here(call) for call, _, _ in calls)
        return group
    run = app().tasks[RUN]
    steps = [
        run.signature((msgspec.to_builtins(call),), immutable=True, **_sending(call, options, cluster))
        for call, cluster, options in calls
    ]
    if steps:
        talo_chain(*steps, app=app()).apply_async()
    return group


def _options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take the options out of the keywords; those in ``q_options`` first. ``ValueError`` for unknown ones there."""
    given = dict(kwargs.pop("q_options", None) or {})
    for name in given:
        if name not in OPTIONS:
            near = nearest(name, OPTIONS)
            raise ValueError(f"q_options: unknown option {name!r}" + (f"; did you mean {near!r}?" if near else ""))
    for name in OPTIONS:
        if name in kwargs:
            value = kwargs.pop(name)
            given.setdefault(name, value)
    if given.get("broker") is not None:
        raise ValueError("broker: tasks go to the broker of the project's settings; to choose a queue pass cluster")
    return given


def _call(func: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> tuple[Call, conf.Cluster]:
    cluster = conf.read(options.get("cluster"))
    task_id, path = new_id(), path_of(func)
    cached = options.get("cached", cluster.cached)
    call = Call(
        id=task_id,
        name=options.get("task_name") or f"{path.rpartition('.')[2]}-{task_id[:8]}",
        func=path,
        args=pack(list(args)),
        kwargs=pack(kwargs),
        hook=path_of(options["hook"]) if options.get("hook") else None,
        group=options.get("group"),
        cluster=options.get("cluster"),
        save=options.get("save") is not False,
        cached=cached if cached is True or cached is False else float(cached),
        ack_failure=bool(options.get("ack_failure", cluster.ack_failures)),
    )
    return signals.enqueued(call, timezone.now()), cluster


def _sending(call: Call, options: dict[str, Any], cluster: conf.Cluster) -> dict[str, Any]:
    timeout = options.get("timeout", cluster.timeout)
    limits = {} if not timeout else {"soft_time_limit": timeout, "time_limit": timeout + _GRACE}
    return {
        "task_id": call.id,
        "queue": options.get("cluster"),
        "shadow": call.func,
        "argsrepr": saferepr(call.args),
        "kwargsrepr": saferepr(call.kwargs),
        **limits,
    }


def path_of(func: str | Callable[..., Any]) -> str:
    """The dotted path of a function. ``ValueError`` for one that a worker could not import."""
    if isinstance(func, str):
        return func
    path = f"{func.__module__}.{func.__qualname__}"
    try:
        found = import_path(path)
    except (ImportError, AttributeError):
        found = None
    if found is not func:
        raise ValueError(f"{path} cannot be imported by a worker: define the function in a module, or pass its path")
    return path


# -- asking


def fetch(task_id: str, wait: float = 0, cached: bool | None = None) -> Task | None:
    """Return the ended task of this id or name, waiting for ``wait`` milliseconds at most (-1: without end); None if
    there is none."""
    found: Task | None = _waited(wait, lambda: _found(task_id, _from_cache(cached)))
    return found


def result(task_id: str, wait: float = 0, cached: bool | None = None) -> Any:
    """Return what the task of this id or name returned, the text of its failure, or None if it has not ended (or is
    not known), waiting as ``fetch`` does."""
    found = fetch(task_id, wait, cached)
    return found.result if found is not None else None


def fetch_group(
    group_id: str, failures: bool = True, wait: float = 0, count: int | None = None, cached: bool | None = None
) -> list[Task] | None:
    """Return the ended tasks of a group; with ``count`` as soon as there are so many, or the time is over."""
    return _group(group_id, failures, wait, count, cached)


def result_group(
    group_id: str, failures: bool = False, wait: float = 0, count: int | None = None, cached: bool | None = None
) -> list[Any] | None:
    """Return the results of a group, as ``fetch_group`` its tasks."""
    found = _group(group_id, failures, wait, count, cached)
    return None if found is None else [row.result for row in found]


def count_group(group_id: str, failures: bool = False, cached: bool | None = None) -> int:
    """How many of a group have ended, or (``failures``) have failed."""
    rows = _members(group_id, _from_cache(cached))
    return sum(not row.success for row in rows) if failures else len(rows)


def delete_group(group_id: str, tasks: bool = False, cached: bool | None = None) -> int | None:
    """Forget a group, with ``tasks`` (and always in the cache) what became of its tasks, too; return how many there
    were."""
    if _from_cache(cached):
        key = cache_key("group", group_id)
        rows = _members(group_id, True)
        places = [f"{key}:{number}" for number in range(1, (cache.get(key) or 0) + 1)]
        cache.delete_many([key, *places, *(cache_key("task", row.id) for row in rows)])
        return len(rows)
    found = _rows().filter(group=group_id)
    return found.delete()[0] if tasks else found.update(group=None)


def delete_cached(task_id: str) -> bool:
    """Forget a task that the cache keeps; whether there was one."""
    return bool(cache.delete(cache_key("task", task_id)))


def _rows() -> Any:
    from talo.django.q.models import Task

    return Task.objects.all()


def _from_cache(cached: bool | None) -> bool:
    return bool(conf.read().cached if cached is None else cached)


def _found(task_id: str, cached: bool) -> Any:
    if cached:
        return cache.get(cache_key("task", task_id))
    return _rows().filter(pk=task_id).first() or _rows().filter(name=task_id).first()


def _members(group_id: str, cached: bool) -> list[Any]:
    if not cached:
        return list(_rows().filter(group=group_id).order_by("started"))
    key = cache_key("group", group_id)
    ids = cache.get_many([f"{key}:{number}" for number in range(1, (cache.get(key) or 0) + 1)]).values()
    rows = cache.get_many([cache_key("task", each) for each in dict.fromkeys(ids)]).values()
    return sorted(rows, key=lambda row: row.started)


def _group(group_id: str, failures: bool, wait: float, count: int | None, cached: bool | None) -> list[Any] | None:
    def look() -> list[Any] | None:
        rows = _members(group_id, _from_cache(cached))
        if count is not None and len(rows) < count:
            return None
        return [row for row in rows if failures or row.success] or None

    found: list[Any] | None = _waited(wait, look)
    if found is None and count is not None:
        count = None  # what there is when the time is over
        found = look()
    return found


def _waited(wait: float, look: Callable[[], Any]) -> Any:
    """What ``look`` finds within ``wait`` milliseconds (-1: without end)."""
    until = float("inf") if wait < 0 else time.monotonic() + wait / 1000
    pause = _LOOK
    while (found := look()) is None and time.monotonic() < until:
        time.sleep(min(pause, max(0.0, until - time.monotonic())))
        pause = min(pause * 1.5, _LONGEST_LOOK)
    return found


# -- schedules


def schedule(
    func: str | Callable[..., Any],
    *args: Any,
    name: str | None = None,
    hook: Any = None,
    schedule_type: str = "O",
    minutes: int | None = None,
    repeats: int = -1,
    next_run: dt.datetime | None = None,
    cron: str | None = None,
    cluster: str | None = None,
    intended_date_kwarg: str | None = None,
    q_options: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Schedule:
    """Keep a schedule of this function; return it. ``ValidationError`` for a cron expression that is none, or a name
    that is taken; ``ValueError`` for arguments that cannot be written as literals."""
    from django.core.exceptions import ValidationError

    from talo.django.q.models import Schedule

    if name and Schedule.objects.filter(name=name).exists():
        raise ValidationError(f"there is a schedule {name!r} already")
    if q_options:
        kwargs["q_options"] = q_options
    made = Schedule(
        name=name,
        func=path_of(func),
        hook=path_of(hook) if hook else None,
        args=_literal(args) if args else None,
        kwargs=_literal(kwargs) if kwargs else None,
        schedule_type=schedule_type,
        minutes=minutes,
        repeats=repeats,
        next_run=next_run or timezone.now(),
        cron=cron,
        cluster=cluster,
        intended_date_kwarg=intended_date_kwarg,
    )
    if schedule_type == Schedule.CRON and next_run is None:
        made.clean_fields(exclude=["func"])
        made.next_run = made.calculate_next_run(timezone.now())
    made.full_clean(exclude=["func"])
    made.save()
    return made


def _literal(value: Any) -> str:
    text = repr(value)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError):
        same = False
    if not same:
        raise ValueError(f"{text} cannot be kept in a schedule: use numbers, texts, lists and dictionaries")
    return text
