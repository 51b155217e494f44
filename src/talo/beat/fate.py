"""What becomes of expected runs: which are sent now, and what the ledger says of the others.

Owns misfire policies, lateness, jitter and overlap as pure functions of (job, plan, now). It sends and stores nothing:
that is ``stored``'s.
"""

from __future__ import annotations

import datetime as dt
import zlib
from itertools import pairwise
from typing import NamedTuple

from talo.beat.jobs import Definition, Job
from talo.schedules.base import BaseSchedule
from talo.schedules.bounded import between, innermost
from talo.schedules.crontab import crontab
from talo.schedules.interval import schedule
from talo.stores.schedules import Plan, Run

__all__ = ["LATE", "Verdict", "judge", "latest", "next_due", "ready_at"]

#: Seconds after which a run counts as late.
LATE = 5.0
#: A due time so far ahead of the store's clock means that the clock was put back.
AHEAD = 60.0
#: Runs that are counted one by one; of more the ledger says "at least".
COUNTED = 2000
#: Runs that are made up at a time: the others follow in the next ticks.
AT_A_TIME = 50

UTC = dt.UTC


class Verdict(NamedTuple):
    """What a moment means for a plan."""

    #: Due times whose runs are sent now.
    send: list[float]
    #: The ledger's lines of the others.
    rest: list[Run]
    #: The last due time that this decides.
    last_due: float

    def fate(self, due: float, now: float, definition: Definition) -> str:
        """The ledger's word for a run that is sent."""
        if now - due <= LATE + definition.jitter:
            return "ran"
        return "caught-up" if definition.misfire == "all" else "late"


def _time(epoch: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(epoch, UTC)


def next_due(job: Job, plan: Plan, now: float) -> float | None:
    """When the next undecided run of the plan is due; None if there is none any more.

    After the clock was put back it counts from now: what lies between ran already.
    """
    anchor = plan.since if plan.last_due is None else plan.last_due
    if anchor > now + AHEAD:
        anchor = now
    try:
        due = job.schedule.following(_time(anchor))
    except OverflowError:
        return None
    return None if due is None else due.timestamp()


def ready_at(job: Job, due: float) -> float:
    """When the run due at ``due`` may be sent: with jitter some time later, the same for every scheduler."""
    jitter = job.definition.jitter
    if not jitter:
        return due
    return due + jitter * zlib.crc32(f"{job.name} {due!r}".encode()) / 2**32


def judge(job: Job, first: float, now: float, alive: int, deadline: float | None = None) -> Verdict:
    """Decide on every run from ``first`` (due by now) up to ``now``.

    ``alive`` runs of before are going on. ``deadline``: seconds after which a missed cron run is not made up.
    """
    definition = job.definition
    horizon = _horizon(job, now, deadline)
    # What is late by less than a take-over takes is no misfire.
    cut = horizon if definition.misfire == "all" else max(horizon, now - LATE - definition.jitter)
    dues, older = _split(job.schedule, first, now, cut)
    decided = dues[-1] if dues else older[0]
    missed = Run(due=first, fate="missed", at=now, count=older[1], until=older[0])
    if not dues and decided >= horizon and definition.misfire != "all":
        dues, missed.count, missed.until = [decided], missed.count - 1, older[2]
    rest = [_single(missed)] if missed.count else []
    if definition.one_off:
        dues = dues[:1]
    limit = definition.limit
    if limit is not None:
        free = max(0, limit - alive)
        rest += [Run(due=due, fate="skipped", at=now) for due in dues[free:]]
        dues = dues[:free]
    return Verdict(dues, rest, decided)


def _horizon(job: Job, now: float, deadline: float | None) -> float:
    """Runs due before it are missed for good."""
    definition = job.definition
    reach = {"once": float("inf"), "skip": definition.grace, "all": definition.window}[definition.misfire]
    if deadline is not None and isinstance(innermost(job.schedule), crontab):
        reach = min(reach, deadline)
    if definition.expires is not None:
        reach = min(reach, definition.expires)
    return now - reach - definition.jitter


def _single(run: Run) -> Run:
    if run.count == 1:
        run.until = None
    return run


def _split(rule: BaseSchedule, first: float, now: float, cut: float) -> tuple[list[float], tuple[float, int, float]]:
    """(due times from ``cut`` to ``now``, a portion of them; of those before it the last, their number, the last but
    one)."""
    older = (first, 0, first)
    at: float | None = first
    if first < cut:
        older = _last(rule, first, max(first, cut - 1e-6))
        at = _after(rule, older[0], now)
    dues: list[float] = []
    while at is not None and len(dues) < AT_A_TIME:
        dues.append(at)
        at = _after(rule, at, now)
    return dues, older


def _after(rule: BaseSchedule, due: float, now: float) -> float | None:
    """The due time after this one, if it is not after ``now``."""
    following = rule.following(_time(due))
    return None if following is None or following.timestamp() > now else following.timestamp()


def _last(rule: BaseSchedule, first: float, until: float) -> tuple[float, int, float]:
    """(the last due time up to ``until``, how many there are from ``first`` on, the last but one)."""
    every = innermost(rule)
    if type(every) is schedule and not every.relative:
        if isinstance(rule, between) and rule.end is not None:
            until = min(until, rule.end.timestamp())
        # The clock's last digits must not make one run of two.
        steps = int((until - first) / every.seconds + 1e-9)
        last = first + steps * every.seconds
        return last, steps + 1, last - every.seconds
    dues = [first]
    while len(dues) <= COUNTED:
        due = rule.following(_time(dues[-1]))
        if due is None or due.timestamp() > until:
            return dues[-1], len(dues), dues[-2] if len(dues) > 1 else first
        dues.append(due.timestamp())
    return _jump(rule, dues, until)


def _jump(rule: BaseSchedule, dues: list[float], until: float) -> tuple[float, int, float]:
    """The same, when there are too many to be counted: find the last from its end."""
    step = max(b - a for a, b in pairwise(dues[-10:])) + 1.0
    while until - step > dues[-1]:
        near = rule.following(_time(until - step))
        if near is not None and near.timestamp() <= until:
            return _last(rule, near.timestamp(), until)[0], len(dues), near.timestamp()
        step *= 2
    return dues[-1], len(dues), dues[-2]


def latest(job: Job, plan: Plan, now: float) -> float | None:
    """The last due time up to now, where there is an undecided one."""
    first = next_due(job, plan, now)
    return None if first is None or first > now else _last(job.schedule, first, now)[0]
