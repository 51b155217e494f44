"""Periodic tasks: listing, adding, editing, pausing, running now, removing, and what became of their runs.

Owns what an edit is; keeping plans is the store's, running them ``beat``'s. An edit acts on every scheduler within a
second or two. Called by the command line, the dashboard and applications.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from talo.beat.fate import latest, next_due
from talo.beat.jobs import Definition, Job, job_of, job_of_definition
from talo.beat.stored import space_of
from talo.errors import NotSupported, TaloError
from talo.schedules._cron import ParseException
from talo.stores.schedules import Change, Plan, Run, Schedules
from talo.wire import new_id
from talo.wire.sealed import masked, unmasked

__all__ = ["Periodic", "ScheduleControl", "ScheduleError"]

#: Others may change a plan at the same moment; so often an edit is tried again on what they made of it.
_TRIES = 20

_decode = msgspec.json.Decoder(Definition).decode
_replace = msgspec.structs.replace


class ScheduleError(TaloError):
    """A periodic task that cannot be found, added or changed so."""


class Periodic(msgspec.Struct, kw_only=True):
    """One periodic task, as it stands."""

    name: str
    definition: Definition
    source: str
    enabled: bool
    #: Epoch seconds; None: never.
    last_run: float | None
    next_run: float | None
    total: int


class ScheduleControl:
    """The periodic tasks of one app. ``NotSupported`` if its store keeps none."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._space = space_of(app)
        schedules: Schedules | None = app.schedules
        if schedules is None:
            raise NotSupported(
                f"{app.store.features.name} keeps no schedules; they are those of the configuration, unless "
                f"result_backend is a store that keeps them"
            )
        self._schedules = schedules

    # -- reading

    def list(self) -> Sequence[Periodic]:
        """Every periodic task, by name. Those of the configuration are there as soon as a beat has run."""
        found = self._schedules.read(self._space)
        return [self._shown(plan, found.now) for plan in sorted(found.changed, key=lambda plan: plan.name)]

    def get(self, name: str) -> Periodic:
        """One of them. ``ScheduleError`` if there is none."""
        plan, now = self._plan(name)
        return self._shown(plan, now)

    def next(self, name: str, count: int = 10) -> Sequence[float]:
        """The next due times, in epoch seconds."""
        plan, now = self._plan(name)
        job = self._job(plan)
        found: list[float] = []
        due = next_due(job, plan, now)
        while due is not None and len(found) < count:
            found.append(due)
            due = next_due(job, _replace(plan, last_due=due), max(due, now))
        return found

    def history(self, name: str, limit: int = 50) -> Sequence[Run]:
        """What became of the last runs, latest first."""
        self._plan(name)
        return self._schedules.runs(self._space, name, limit)

    # -- changing

    def add(self, name: str, task: str, schedule: Any, **fields: Any) -> Periodic:
        """Add a periodic task; it stays until it is removed. ``fields`` are the other keys of an entry, and ``queue``
        stands for that option. Return it.

        ``ScheduleError`` for a name that is taken or an entry that makes no sense.
        """
        job = self._made(name, {"task": task, "schedule": schedule, **fields})
        now = self._schedules.read(self._space).now
        plan = Plan(name=name, definition=job.raw, source="dynamic", since=now, enabled=job.enabled)
        if next_due(job, plan, now) is None:
            raise ScheduleError(f"{name}: {job.definition.shown} never comes (again)")
        if not self._schedules.change(self._space, [Change(name=name, version=0, plan=plan)])[0]:
            raise ScheduleError(f"there is a periodic task {name!r} already: edit or remove it")
        return self._shown(plan, now)

    def edit(self, name: str, **fields: Any) -> Periodic:
        """Change some keys of an entry; return it. A new schedule counts from now.

        An edit of what the configuration holds counts until the configuration itself is changed.
        """

        def edited(plan: Plan, now: float) -> Plan:
            old = _decode(plan.definition)
            if old.local:
                raise ScheduleError(f"{name} holds objects that only its configuration has: edit it there")
            entry = {**_entry(old, self._job(plan)), **fields}
            entry["args"] = unmasked(entry["args"], old.args)
            entry["kwargs"] = unmasked(entry["kwargs"], old.kwargs)
            zone = (old.schedule or {}).get("tz")
            if "schedule" in fields and "timezone" not in fields and zone:
                entry["timezone"] = zone
            job = self._made(name, entry)
            changed = _replace(plan, definition=job.raw)
            if job.definition.schedule != old.schedule:
                changed = _replace(changed, since=now, last_due=None)
            return changed

        return self._change(name, edited)

    def pause(self, name: str) -> Periodic:
        """Stop sending it."""
        return self._change(name, lambda plan, _: _replace(plan, enabled=False))

    def resume(self, name: str) -> Periodic:
        """Send it again, from its next due time on; what was due meanwhile is no missed run."""

        def resumed(plan: Plan, now: float) -> Plan:
            last = latest(self._job(plan), plan, now) if not plan.enabled else None
            return _replace(plan, enabled=True, last_due=plan.last_due if last is None else last)

        return self._change(name, resumed)

    def remove(self, name: str) -> None:
        """Delete it and its history. What the configuration holds comes back with the next start of a beat."""
        for plan, _ in self._tries(name):
            if self._schedules.change(self._space, [Change(name=name, version=plan.version, plan=None)])[0]:
                return

    def run_now(self, name: str) -> str:
        """Send its task once, now, whatever its schedule says; return the task id."""
        for plan, now in self._tries(name):
            job = self._job(plan)
            task_id = new_id()
            options = {**job.options, "task_id": task_id}
            options["headers"] = {**(options.get("headers") or {}), "periodic_task_name": name}
            messages, told = self._app.hold(job.definition.task, job.args, job.kwargs, options)
            new = _replace(plan, last_run=now, total=plan.total + 1)
            if job.definition.limit:
                new.running = [*plan.running, (task_id, now)]
            run = Run(due=now, fate="manual", at=now, task_id=task_id)
            change = Change(name=name, version=plan.version, plan=new, runs=[run], messages=messages)
            if self._schedules.change(self._space, [change])[0]:
                told()
                return task_id
        raise AssertionError

    # -- within

    def _change(self, name: str, change: Callable[[Plan, float], Plan]) -> Periodic:
        for plan, now in self._tries(name):
            new = change(plan, now)
            if self._schedules.change(self._space, [Change(name=name, version=plan.version, plan=new)])[0]:
                return self._shown(new, now)
        raise AssertionError

    def _tries(self, name: str) -> Iterator[tuple[Plan, float]]:
        for _ in range(_TRIES):
            yield self._plan(name)
        raise ScheduleError(f"{name!r} is being changed by others all the time")

    def _plan(self, name: str) -> tuple[Plan, float]:
        found = self._schedules.read(self._space)
        for plan in found.changed:
            if plan.name == name:
                return plan, found.now
        raise ScheduleError(f"there is no periodic task {name!r}")

    def _made(self, name: str, entry: dict[str, Any]) -> Job:
        queue = entry.pop("queue", None)
        if queue is not None:
            entry["options"] = {**(entry.get("options") or {}), "queue": queue}
        try:
            given = entry.get("args") or (), entry.get("kwargs") or {}
            entry["args"], entry["kwargs"] = self._app.secrets.call(str(entry.get("task")), *given)
            job = job_of(self._app, name, entry)
        except (TypeError, ValueError, KeyError, ParseException) as error:
            raise ScheduleError(f"{name}: {error}") from error
        if job.definition.local:
            raise ScheduleError(f"{name}: what is added at run time is kept as JSON; its arguments or schedule are not")
        return job

    def _job(self, plan: Plan) -> Job:
        configured = self._app.conf.beat_schedule.get(plan.name)
        try:
            if configured is not None:
                job = job_of(self._app, plan.name, configured)
                if job.raw == plan.definition:
                    return job
            return job_of_definition(self._app, plan.name, plan.definition)
        except (TypeError, ValueError, KeyError, ParseException) as error:
            raise ScheduleError(f"{plan.name}: {error}") from error

    def _shown(self, plan: Plan, now: float) -> Periodic:
        due = None
        if plan.enabled:
            try:
                due = next_due(self._job(plan), plan, now)
            except TaloError:
                # One that cannot be read here is listed all the same, without a next run.
                due = None
        definition = _decode(plan.definition)
        return Periodic(
            name=plan.name,
            definition=_replace(definition, args=masked(definition.args), kwargs=masked(definition.kwargs)),
            source=plan.source,
            enabled=plan.enabled,
            last_run=plan.last_run,
            next_run=due,
            total=plan.total,
        )


def _entry(definition: Definition, job: Job) -> dict[str, Any]:
    """A definition as the entry that it came from."""
    entry: dict[str, Any] = {
        "task": definition.task,
        "schedule": job.schedule,
        "args": definition.args,
        "kwargs": definition.kwargs,
        "options": definition.options,
        "misfire": definition.misfire,
        "window": definition.window,
        "grace": definition.grace,
        "overlap": definition.overlap,
        "jitter": definition.jitter,
        "one_off": definition.one_off,
    }
    if definition.max_instances is not None:
        entry["max_instances"] = definition.max_instances
    if definition.expires is not None:
        entry["expires"] = definition.expires
    return entry
