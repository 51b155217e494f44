"""What a periodic task is: the entry of a configuration, or the definition that a store keeps, ready to be run.

Owns reading entries (Celery's keys and Talo's), their JSON form, and the checks that make a bad entry a clear line
instead of a crash. When a job runs is ``fate``'s. Called by ``stored`` and ``control.schedules``.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from talo.beat.entries import ScheduleEntry
from talo.schedules.base import BaseSchedule
from talo.schedules.interval import maybe_schedule
from talo.schedules.text import describe, from_data, from_text, to_data
from talo.util.names import nearest

__all__ = ["POLICIES", "Definition", "Job", "Misfire", "digest", "job_of", "job_of_definition", "schedule_of"]

Misfire = Literal["once", "skip", "all"]

#: Seconds for which a missed run is made up by ``misfire="all"`` unless the entry says.
WINDOW = 3600.0
#: Seconds of lateness that are no misfire: the time in which another scheduler takes over, and more.
GRACE = 30.0


class Definition(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A periodic task as data. Seconds throughout."""

    task: str
    #: As ``schedules.text`` writes it; None: a class of the application's own, known from its configuration only.
    schedule: dict[str, Any] | None
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    #: Options of ``apply_async``.
    options: dict[str, Any] = {}
    #: What becomes of runs that were missed: the last is run (``once``), none is (``skip``), or ``all`` of ``window``.
    misfire: Misfire = "once"
    window: float = WINDOW
    grace: float = GRACE
    #: ``skip``: no run while one is going on. The same as ``max_instances`` 1.
    overlap: Literal["allow", "skip"] = "allow"
    max_instances: int | None = None
    #: Runs are spread over so many seconds after their due time.
    jitter: float = 0.0
    #: A run that has not started so long after its due time is dropped.
    expires: float | None = None
    #: It is paused after its first run.
    one_off: bool = False
    #: The schedule in words, for people and to tell custom schedules apart.
    shown: str = ""
    #: Something in it cannot be written as JSON: only a scheduler with this configuration can run it.
    local: bool = False

    @property
    def limit(self) -> int | None:
        """How many runs may go on at a time."""
        return 1 if self.overlap == "skip" and self.max_instances is None else self.max_instances


class Job:
    """A definition with the objects that it stands for."""

    __slots__ = ("args", "definition", "enabled", "kwargs", "name", "options", "raw", "schedule")

    def __init__(
        self,
        name: str,
        definition: Definition,
        schedule: BaseSchedule,
        call: tuple[Any, Any, Any] | None = None,
        enabled: bool = True,
    ) -> None:
        self.name = name
        self.definition = definition
        self.schedule = schedule
        self.args: Any
        self.kwargs: Any
        self.options: Any
        self.args, self.kwargs, self.options = call or (definition.args, definition.kwargs, definition.options)
        self.enabled = enabled
        #: The definition as the store keeps it; sealed arguments are texts.
        self.raw = msgspec.json.encode(definition, order="sorted", enc_hook=str)

    def __repr__(self) -> str:
        return f"<Job {self.name}: {self.definition.task} {self.definition.shown}>"


_KEYS = frozenset(
    {"task", "schedule", "args", "kwargs", "options", "relative", "name", "enabled", "timezone", "last_run_at"}
    | {"total_run_count", "app", "misfire", "window", "grace", "overlap", "max_instances", "jitter", "expires"}
    | {"one_off"}
)
#: Keys that only a scheduler with a ledger can follow.
POLICIES = frozenset(
    {"enabled", "misfire", "window", "grace", "overlap", "max_instances", "jitter", "expires", "one_off"}
)
_decode = msgspec.json.Decoder(Definition).decode


def digest(raw: bytes) -> str:
    """A short name of a definition."""
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


def job_of(app: Any, name: str, entry: Any) -> Job:
    """The job of an entry of ``beat_schedule``. ``ValueError`` or ``TypeError`` say what is wrong with it."""
    if isinstance(entry, ScheduleEntry):
        entry = {key: getattr(entry, key) for key in ("task", "schedule", "args", "kwargs", "options")}
    if not isinstance(entry, Mapping):
        raise TypeError(f"an entry is a dict, not {entry!r}")
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of an entry is a text, not {name!r}")
    for key in entry:
        if key not in _KEYS:
            near = nearest(str(key), _KEYS)
            raise ValueError(f"unknown key {key!r}" + (f"; did you mean {near}?" if near else ""))
    task = entry.get("task")
    if not isinstance(task, str) or not task:
        raise ValueError(f"its task is the name of one, not {task!r}")
    schedule = schedule_of(app, entry)
    args, kwargs, options = entry.get("args") or (), entry.get("kwargs") or {}, dict(entry.get("options") or {})
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"its kwargs are a dict, not {kwargs!r}")
    data = to_data(schedule)
    # What is secret stays in the configuration, unless it is sealed.
    shown, named = app.secrets.shown(task, args, kwargs)
    local = data is None or (shown, named) != (args, kwargs) or not _is_json((args, kwargs, options))
    definition = Definition(
        task=task,
        schedule=data,
        args=[repr(shown)] if local else list(args),
        kwargs={} if local else dict(kwargs),
        options={"repr": repr(sorted({**named, **options}.items(), key=repr))} if local else options,
        shown=describe(schedule),
        local=local,
        one_off=bool(entry.get("one_off")),
        **_policy(entry),
    )
    if definition.limit and app.result_store is None:
        raise ValueError("overlap and max_instances need a result backend: it tells when a run has ended")
    return Job(name, definition, schedule, (args, kwargs, options), bool(entry.get("enabled", True)))


def schedule_of(app: Any, entry: Mapping[str, Any]) -> BaseSchedule:
    """The schedule of an entry, in the entry's zone. ``TypeError``, ``ValueError`` or ``ParseException`` if it has
    none."""
    given, zone = entry.get("schedule"), entry.get("timezone")
    schedule = (
        from_text(given, app) if isinstance(given, str) else maybe_schedule(given, bool(entry.get("relative")), app)
    )
    if not isinstance(schedule, BaseSchedule):
        raise TypeError(f"its schedule is a crontab, a number of seconds, a timedelta or a schedule, not {given!r}")
    if zone is not None:
        schedule = copy.copy(schedule)
        schedule.tz = zone
    return schedule


def _policy(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that are Talo's own, checked."""
    policy: dict[str, Any] = {}
    for key, allowed in (("misfire", get_args(Misfire)), ("overlap", ("allow", "skip"))):
        value = entry.get(key)
        if value is not None:
            if value not in allowed:
                raise ValueError(f"{key} is one of {', '.join(allowed)}, not {value!r}")
            policy[key] = value
    for key in ("window", "grace", "jitter", "expires"):
        value = entry.get(key)
        if value is not None:
            seconds = value.total_seconds() if hasattr(value, "total_seconds") else value
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
                raise ValueError(f"{key} is a number of seconds, not {value!r}")
            policy[key] = float(seconds)
    limit = entry.get("max_instances")
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"max_instances is at least 1, not {limit!r}")
        policy["max_instances"] = limit
    return policy


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def job_of_definition(app: Any, name: str, raw: bytes) -> Job:
    """The job that a store keeps. ``ValueError`` if only its own configuration can run it, or nobody."""
    try:
        definition = _decode(raw)
    except msgspec.DecodeError as error:
        raise ValueError(f"its definition cannot be read: {error}") from error
    if definition.local or definition.schedule is None:
        raise ValueError("it holds objects that only the configuration it came from has")
    return Job(name, definition, from_data(definition.schedule, app))
