"""A scheduler's copy of the plans of its space, in the order in which they fall due.

Owns the heap and the jobs behind the plans; it talks to nobody. Called by ``stored``.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from talo.beat.fate import AHEAD, next_due, ready_at
from talo.beat.jobs import Job, job_of_definition
from talo.errors import TaloError
from talo.schedules._cron import ParseException
from talo.stores.schedules import Plan, Plans

__all__ = ["Book"]

log = logging.getLogger("talo.beat")


class Book:
    """Plans by name, and which of them is next."""

    def __init__(self, app: Any, configured: Mapping[str, Job]) -> None:
        self._app = app
        self._configured = configured
        self.plans: dict[str, Plan] = {}
        self.jobs: dict[str, Job | None] = {}
        #: First undecided due time of the plans that have one.
        self.due: dict[str, float] = {}
        self._heap: list[tuple[float, int, str]] = []

    def take(self, news: Plans) -> None:
        """Take over what a look at the store brought."""
        if news.complete:
            there = {plan.name for plan in news.changed}
            gone = [name for name in self.plans if name not in there]
        else:
            gone = news.removed
        for name in gone:
            for known in (self.plans, self.jobs, self.due):
                known.pop(name, None)
        for plan in news.changed:
            known_plan = self.plans.get(plan.name)
            # A store that was emptied begins with low numbers again.
            if known_plan is None or (
                known_plan.version != plan.version if news.complete else known_plan.version < plan.version
            ):
                self.put(plan, news.now)
        if len(self._heap) > 2 * len(self.due) + 1000:
            self._heap = [place for place in self._heap if self._is_current(place)]
            heapq.heapify(self._heap)

    def put(self, plan: Plan, now: float) -> None:
        """Take over a new version of one plan."""
        name = plan.name
        known = self.plans.get(name)
        if known is None or known.definition != plan.definition or name not in self.jobs:
            self.jobs[name] = self._job(plan)
        self.plans[name] = plan
        self.due.pop(name, None)
        job = self.jobs[name]
        if job is None or not plan.enabled:
            return
        if plan.last_due is not None and plan.last_due > now + AHEAD:
            log.warning("The clock was put back: the last run of %r lies %.0f s ahead, it counts from now", name,
                        plan.last_due - now)  # fmt: skip
        try:
            due = next_due(job, plan, now)
        except Exception as error:  # noqa: BLE001  a custom schedule's trouble must not stop the others
            log.error("The periodic task %r cannot say when it is due: %r", name, error)
            return
        if due is not None:
            self.due[name] = due
            heapq.heappush(self._heap, (ready_at(job, due), plan.version, name))

    def _job(self, plan: Plan) -> Job | None:
        configured = self._configured.get(plan.name)
        if configured is not None and configured.raw == plan.definition:
            return configured
        try:
            return job_of_definition(self._app, plan.name, plan.definition)
        except (TypeError, ValueError, KeyError, ParseException, TaloError) as error:
            log.error("The periodic task %r cannot be run here: %s", plan.name, error)
            return None

    def ready(self, now: float, limit: int) -> Iterator[str]:
        """Names of plans with a run to be decided, up to ``limit``; they leave the heap until ``put`` or ``back``."""
        while limit and self._heap and self._heap[0][0] <= now:
            place = heapq.heappop(self._heap)
            if self._is_current(place):
                limit -= 1
                yield place[2]

    def back(self, name: str, when: float) -> None:
        """Look at a plan again at ``when``."""
        if name in self.due:
            heapq.heappush(self._heap, (when, self.plans[name].version, name))

    def next_look(self) -> float:
        """When the next plan is ready; infinity if none is."""
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def _is_current(self, place: tuple[float, int, str]) -> bool:
        plan = self.plans.get(place[2])
        return plan is not None and plan.version == place[1] and place[2] in self.due
