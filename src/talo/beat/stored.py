"""The default scheduler: plans live in the store, and any number of such schedulers may run.

Owns the joining of the configuration with the store and the claiming of ticks; who is due is ``book``'s, what becomes
of a run ``fate``'s. The design is ``docs/internals/beat.md``. Called by ``service``.
"""

from __future__ import annotations

import datetime as dt
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from talo.beat.book import Book
from talo.beat.entries import evaluated
from talo.beat.fate import Verdict, judge, next_due
from talo.beat.jobs import Job, digest, job_of
from talo.beat.scheduler import Scheduler
from talo.errors import NotSupported, OperationalError, StoreError, TaloError
from talo.schedules._cron import ParseException
from talo.states import READY_STATES
from talo.stores.schedules import Change, Plan, Run, Schedules
from talo.wire import new_id
from talo.wire.message import Message
from talo.wire.results import decode_result

__all__ = ["StoreScheduler", "space_of"]

log = logging.getLogger("talo.beat")

#: Seconds between two looks for what others changed.
LOOK = 1.0
#: Plans that are decided in one step.
STEP = 200
#: Seconds by which one who lost a race steps back, so that one scheduler does the work while it lives.
MODEST, MOST_MODEST = 0.25, 1.5
#: A run whose result does not come counts as gone after so long, if results are kept for ever.
GONE = 86_400.0

_replace = msgspec.structs.replace


def space_of(app: Any) -> str:
    """The name under which an app's plans are kept: its own."""
    return str(app.main or "default")


class StoreScheduler(Scheduler):
    """Claims ticks in the store. ``NotSupported`` if the store keeps no schedules."""

    max_interval = LOOK

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._configured: dict[str, Job] = {}
        self._joined = False
        self._modesty = 0.0
        self._seen = 0
        self._next_look = 0.0
        #: The store's clock minus the monotonic one, if anything too small: who is late claims nothing early.
        self._ahead: float | None = None
        self._away: float | None = None
        kwargs.pop("schedule_filename", None)
        super().__init__(*args, **kwargs)

    # -- beginning

    def setup_schedule(self) -> None:
        """Read the configuration; bad entries are lines in the log."""
        if self.app.schedules is None:
            raise NotSupported(f"{self.app.store.features.name} keeps no schedules")
        self._space = space_of(self.app)
        for name, entry in self.app.conf.beat_schedule.items():
            try:
                job = self._configured[name] = job_of(self.app, name, entry)
            except (TypeError, ValueError, KeyError, ParseException, TaloError) as error:
                log.error("The periodic task %r is left out: %s", name, error)
                continue
            if job.definition.task not in self.app.tasks:
                log.warning("The periodic task %r runs %s, which this app does not know", name, job.definition.task)
        self._book = Book(self.app, self._configured)

    @property
    def _schedules(self) -> Schedules:
        schedules: Schedules | None = self.app.schedules
        assert schedules is not None
        return schedules

    def _join(self) -> None:
        """Make the store's plans of the configuration those of this one."""
        self._look()
        now = self._now()
        changes = [self._brought(name, job, now) for name, job in self._configured.items()]
        changes += [
            Change(name=name, version=plan.version, plan=None)
            for name, plan in self._book.plans.items()
            if plan.source == "config" and name not in self._configured
        ]
        wanted = [change for change in changes if change is not None]
        if wanted:
            # What is refused was done by another scheduler a moment ago; where its configuration differs the last
            # one to begin has its way, as in a rolling deploy.
            if not all(self._schedules.change(self._space, wanted)):
                self._look()
                return
            self._look()
        self._joined = True

    def _brought(self, name: str, job: Job, now: float) -> Change | None:
        """The change that makes the plan of a name that of the configuration; None if it is."""
        plan, configured = self._book.plans.get(name), self._mark(job)
        if plan is None:
            new = Plan(name=name, definition=job.raw, since=now, enabled=job.enabled, configured=configured)
            return Change(name=name, version=0, plan=self._continued(new, job))
        if plan.configured == configured and plan.source == "config":
            return None
        changed = _replace(plan, definition=job.raw, source="config", configured=configured)
        if plan.source != "config":
            log.warning("The periodic task %r was added at run time and is configured now: that counts", name)
        if _timing(plan.definition) != _timing(job.raw):
            changed = _replace(changed, since=now, last_due=None, enabled=job.enabled)
        return Change(name=name, version=plan.version, plan=self._edited(plan, changed, job, now))

    # -- what a scheduler that reads its configuration elsewhere says otherwise

    def _mark(self, job: Job) -> str:
        """What tells one state of the configuration from another."""
        return digest(job.raw)

    def _continued(self, new: Plan, job: Job) -> Plan:
        """A plan that the store has not seen yet, with what is known of its runs elsewhere."""
        del job
        return new

    def _edited(self, plan: Plan, changed: Plan, job: Job, now: float) -> Plan:
        """What a plan becomes whose configuration was changed."""
        del plan, job, now
        return changed

    # -- one pass

    def tick(self, *_: Any, **__: Any) -> float:
        """Decide what is due; return in how many seconds to call again."""
        try:
            rest = self._pass()
        except OperationalError as error:
            if self._away is None:
                self._away = time.monotonic()
                log.error("The store is away; no periodic task is sent until it is back: %s", error)
            self._next_look = 0.0
            return random.uniform(0.3, 1.0)
        if self._away is not None:
            log.warning("The store is back after %.0f s", time.monotonic() - self._away)
            self._away = None
        return rest

    def _pass(self) -> float:
        if not self._joined:
            self._join()
        elif time.monotonic() >= self._next_look:
            self._look()
        now = self._now()
        names = list(self._book.ready(now - self._modesty, STEP))
        if names:
            try:
                self._decide(names, now)
            except BaseException:
                # Whether it happened is seen at the next look; if it did, the plans have other versions by then.
                for name in names:
                    self._book.back(name, now)
                raise
        rest = self._book.next_look() + self._modesty - self._now()
        return max(0.0, min(rest, self._next_look - time.monotonic(), self.max_interval))

    def _look(self) -> None:
        news = self._schedules.read(self._space, self._seen)
        mono = time.monotonic()
        ahead = news.now - mono
        if self._ahead is not None and abs(ahead - self._ahead) > 60:
            log.warning("The clock of the store jumped by %+.0f s", ahead - self._ahead)
        self._ahead = ahead
        self._next_look = mono + LOOK
        self._seen = news.version
        self._book.take(news)

    def _now(self) -> float:
        """The store's clock."""
        assert self._ahead is not None
        return time.monotonic() + self._ahead

    # -- deciding

    def _decide(self, names: Sequence[str], now: float) -> None:
        running = self._running(names, now)
        steps = [self._step(name, running.get(name, []), now) for name in names]
        versions = self._claim([change for change, _ in steps])
        lost: dict[str, int] = {}
        for (change, told), version in zip(steps, versions, strict=True):
            assert change.plan is not None
            if not version:
                lost[change.name] = change.version
                continue
            change.plan.version = version
            self._book.put(change.plan, now)
            self._tell(change, told)
        if lost:
            self._give_up(lost)
        self._modesty = min(MOST_MODEST, self._modesty + MODEST) if lost else 0.0

    def _give_up(self, lost: Mapping[str, int]) -> None:
        """See what others made of plans that were changed by them.

        If they are as they were, then the store is not: it has forgotten them, or its clock was put back.
        """
        self._look()
        for name, version in lost.items():
            plan = self._book.plans.get(name)
            if plan is not None and plan.version == version:
                self._joined = False
                self._seen = 0
                self._book.back(name, self._now() + LOOK)

    def _step(self, name: str, alive: list[tuple[str, float]], now: float) -> tuple[Change, list[Callable[[], None]]]:
        """The change that decides on the runs of one plan up to now, and whom to tell once it is done."""
        book = self._book
        plan, job, first = book.plans[name], book.jobs[name], book.due[name]
        assert job is not None
        verdict = judge(job, first, now, len(alive), self.app.conf.beat_cron_starting_deadline)
        runs, messages, told = list(verdict.rest), [], []
        for due in verdict.send:
            run, sent, tell = self._built(job, verdict, due, now)
            runs.append(run)
            messages += sent
            told.append(tell)
        sent_runs = [run for run in runs if run.task_id is not None]
        new = _replace(
            plan,
            last_due=verdict.last_due,
            last_run=now if sent_runs else plan.last_run,
            total=plan.total + len(sent_runs),
            running=[*alive, *((str(run.task_id), now) for run in sent_runs)] if job.definition.limit else [],
        )
        if next_due(job, new, now) is None or (job.definition.one_off and sent_runs):
            new.enabled = False
        runs.sort(key=_by_due)
        change = Change(name=name, version=plan.version, plan=new, not_before=first, runs=runs, messages=messages)
        return change, told

    def _built(
        self, job: Job, verdict: Verdict, due: float, now: float
    ) -> tuple[Run, list[Message], Callable[[], None]]:
        """One run: its line, its messages, and what to call once they are sent."""
        definition = job.definition
        try:
            args, kwargs = evaluated(job.args, job.kwargs)
            options = {"task_id": new_id(), **job.options}
            options["headers"] = {**self.headers_of(job, options), "periodic_task_name": job.name}
            if definition.expires is not None:
                options["expires"] = dt.datetime.fromtimestamp(due + definition.expires, dt.UTC)
            if definition.limit:
                # The result is how its end is known.
                options["ignore_result"] = False
            messages, tell = self.app.hold(definition.task, args, kwargs, options)
        except Exception as error:  # noqa: BLE001  one entry's trouble must not stop the others
            log.error("The periodic task %r cannot be sent: %r", job.name, error)
            return Run(due=due, fate="failed", at=now), [], _nothing
        run = Run(due=due, fate=verdict.fate(due, now, definition), at=now, task_id=options["task_id"])
        return run, messages, tell

    def _claim(self, changes: Sequence[Change]) -> list[int]:
        """The new versions. A message that the store refuses costs its own run only."""
        try:
            return self._schedules.change(self._space, changes)
        except (StoreError, TaloError) as error:
            if isinstance(error, OperationalError):
                raise
            if len(changes) > 1:
                return [version for change in changes for version in self._claim([change])]
            [change] = changes
            if not change.messages:
                raise
            log.error("The periodic task %r cannot be sent: %s", change.name, error)
            change.messages = []
            for run in change.runs:
                if run.task_id is not None:
                    run.fate, run.task_id = "failed", None
            return self._schedules.change(self._space, [change])

    def _tell(self, change: Change, told: Sequence[Callable[[], None]]) -> None:
        job = self._book.jobs[change.name]
        assert job is not None
        for run in change.runs:
            facts: dict[str, Any]
            if run.task_id is not None:
                facts = {"action": "tick", "schedule": change.name, "task_id": run.task_id}
                log.info("Scheduler: Sending due task %s (%s)", change.name, job.definition.task, extra=facts)
                log.debug("%s sent. id-> %s", job.definition.task, run.task_id)
            elif run.fate != "failed":
                facts = {"action": run.fate, "schedule": change.name, "count": run.count}
                level = logging.INFO if run.fate == "skipped" else logging.WARNING
                what = "skipped, one is going on" if run.fate == "skipped" else run.fate
                count = "a run" if run.count == 1 else f"{run.count} runs"
                log.log(level, "The periodic task %r: %s %s", change.name, count, what, extra=facts)
        for tell in told:
            tell()

    def _running(self, names: Sequence[str], now: float) -> dict[str, list[tuple[str, float]]]:
        """Of plans with limited overlap, the runs that have not ended."""
        open_runs = {name: plan.running for name in names if (plan := self._book.plans[name]).running}
        if not open_runs:
            return {}
        store = self.app.result_store
        payloads = store.results.get([run for runs in open_runs.values() for run, _ in runs]) if store else {}
        accept = self.app.result_accept
        ended = {run for run, payload in payloads.items() if _state(payload, accept) in READY_STATES}
        patience = self.app.conf.result_expires or GONE
        return {
            name: [(run, at) for run, at in runs if run not in ended and now - at < patience]
            for name, runs in open_runs.items()
        }

    # -- the rest of the protocol

    def get_schedule(self) -> Any:
        """The jobs by name."""
        return {name: job for name, job in self._book.jobs.items() if job is not None}

    def set_schedule(self, schedule: Any) -> None:
        del schedule
        raise NotSupported("schedules are kept in the store: change them with talo.control.schedules")

    def sync(self) -> None:
        """Nothing: every tick is kept as it is decided."""

    @property
    def info(self) -> str:
        return f"    . store -> {self.app.store.url}"


def _nothing() -> None:
    pass


def _by_due(run: Run) -> float:
    return run.due


def _timing(raw: bytes) -> Any:
    definition = msgspec.json.decode(raw)
    return definition.get("schedule") or definition.get("shown")


def _state(payload: bytes, accept: frozenset[str]) -> str | None:
    try:
        return str(decode_result(payload, accept=accept).status)
    except TaloError:
        # It has ended in a form that is not ours to read.
        return "SUCCESS"
