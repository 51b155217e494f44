"""What becomes of deliveries whose holder is gone: settled from the ring, given back, charged, or kept as dead letters.

Taking a lease over makes the agent its owner; then it settles like anyone else. Called by the agent only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

from talo import signals
from talo.errors import Terminated, TimeLimitExceeded, WorkerLostError
from talo.execution.history import record_of_lost
from talo.execution.limits import limits_of
from talo.execution.run import Run
from talo.execution.settle import lost_delay, settlement_of_lost, settlement_of_malformed
from talo.stores.base import Delivery, Lease, OwnerInfo, Settlement, Verdict
from talo.stores.parking import at_home
from talo.util.text import count as words_of
from talo.worker.intake import Intake
from talo.worker.lines import Death
from talo.worker.meter import Meter
from talo.worker.ring import Ring
from talo.worker.split import split_of

if TYPE_CHECKING:
    from talo.app.app import Talo
    from talo.worker.options import WorkerOptions

__all__ = ["Undertaker"]

log = logging.getLogger("talo.worker")

#: So many leases are taken over at a time.
BITE = 200


class Undertaker:
    """Settles for the dead. ``owner`` is the agent's own owner id, ``meter`` counts what it settles."""

    def __init__(self, app: Talo, options: WorkerOptions, owner: str, meter: Meter | None = None) -> None:
        self._env = app.env
        self._broker = app.store.broker
        self._split = split_of(app.store, app.result_store, app.state_store, history=options.history)
        self._meter = meter
        self._options = options
        self._owner = owner
        #: A take-over began and did not come to its end.
        self._doubt = False
        #: Settlements that the store has not got yet.
        self._owed: dict[Lease, Settlement] = {}
        self._intake = Intake(app.env, lambda _task_id: False, options.unknown_patience)

    def bury(self, death: Death, ring: Ring) -> None:
        """Settle everything that a dead child of this worker held. May be repeated after a failure in the middle."""
        if not death.owner:
            return
        self._settle(ring.read())
        if self._doubt:
            self._settle_own()
        charged = {running.token: running.seconds for running in death.running}

        def judge(delivery: Delivery) -> Settlement:
            if delivery.former not in charged:
                return _again(delivery)
            if death.victim and delivery.former == death.victim:
                end = self._over_limit if death.why == "time_limit" else self._terminated
                return end(delivery, death, charged[delivery.former])
            if death.deliberate and not self._at_most_once(delivery):
                return _again(delivery)
            facts = {"exit_code": death.exit_code, "peak_kib": death.peak_kib, "pid": death.pid}
            settlement = self._lost(delivery, death.status, facts, charged[delivery.former])
            # Of several that ran in one process nobody knows which one killed it; next time each runs alone.
            settlement.suspect = settlement.verdict is Verdict.AGAIN and len(death.running) > 1
            return settlement

        self._take_over(death.owner, judge, expired=False)

    def reap(self, spare: Set[str]) -> float | None:
        """Take over what expired owners of any worker hold, but ``spare``: children of our own, whose death we would
        know. Return in how many seconds the next lease ends; None if there is none."""
        infos = self._broker.owners()
        if self._doubt or self._owed or any(info.held for info in infos if info.owner == self._owner):
            self._settle_own()
        for info in infos:
            if info.remaining >= 0:
                # They come in the order of their ends.
                return info.remaining
            if info.owner != self._owner and info.owner not in spare:
                self._reap_owner(info)
        return None

    def relieve(self, owner: str, tokens: Sequence[int], finished: Sequence[Settlement]) -> None:
        """Settle for a living child what it has finished, and give back what it has not started."""
        back = [Settlement(lease=Lease(owner=owner, token=t), verdict=Verdict.AGAIN) for t in tokens]
        if finished or back:
            self._settle([*finished, *back])

    def _reap_owner(self, info: OwnerInfo) -> None:
        left = info.slots

        def judge(delivery: Delivery) -> Settlement:
            nonlocal left
            suspected = left > 0
            left -= 1
            if self._at_most_once(delivery):
                # Nobody knows whether it began; it must not begin twice.
                return self._lost(delivery, "machine lost", {})
            if suspected:
                settlement = self._lost(delivery, "machine lost", {})
                settlement.suspect = settlement.verdict is Verdict.AGAIN
                return settlement
            return _again(delivery, suspect=True)

        taken = self._take_over(info.owner, judge, expired=True)
        if taken:
            log.warning(
                "Took over %d deliveries of %s, whose lease was over", taken, info.owner, extra={"action": "reaped"}
            )

    def _take_over(self, owner: str, judge: Callable[[Delivery], Settlement], *, expired: bool) -> int:
        taken = 0
        while True:
            self._doubt = True
            deliveries = self._broker.take_over(owner, self._owner, BITE, expired=expired)
            self._settle([judge(at_home(delivery)) for delivery in deliveries])
            self._doubt = False
            if not deliveries:
                return taken
            taken += len(deliveries)

    def _settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle; when the store is away they are owed, and go first when it is back."""
        self._owed.update((settlement.lease, settlement) for settlement in settlements)
        if self._owed:
            owed = list(self._owed.values())
            refused = self._broker.settle(self._split(owed))
            self._owed.clear()
            if self._meter is not None:
                self._meter.count(owed, refused)

    def _settle_own(self) -> None:
        """Give back what a take-over whose answer was lost has brought us. Nobody knows any more who had it and
        whether it ran, so nothing is charged, and what may not run twice is lost."""
        self._settle([])
        strays = self._broker.held(self._owner)
        if strays:
            log.info("Gives back %d deliveries of a take-over whose answer was lost", len(strays))
        self._settle([self._of_unknown(at_home(delivery)) for delivery in strays])
        self._doubt = False

    def _of_unknown(self, delivery: Delivery) -> Settlement:
        run = self._intake.recall(delivery)
        if run is not None and run.plan.task.at_most_once:
            return self._lost(delivery, "agent lost its store", {})
        return _again(delivery)

    def _at_most_once(self, delivery: Delivery) -> bool:
        run = self._intake.recall(delivery)
        return run is not None and run.plan.task.at_most_once

    def _over_limit(self, delivery: Delivery, death: Death, seconds: float) -> Settlement:
        run = self._intake.recall(delivery)
        if run is None:
            return _again(delivery)
        hard, _ = limits_of(run.plan.limits, run.call.timelimit)
        return over_limit(run, hard or self._options.time_limit, seconds, death.pid)

    def _terminated(self, delivery: Delivery, death: Death, seconds: float) -> Settlement:  # noqa: ARG002
        run = self._intake.recall(delivery)
        if run is None:
            return _again(delivery)
        exc = Terminated("terminated")
        _tell(run, exc, seconds)
        return settlement_of_lost(run, exc, "terminated", {})

    def _lost(
        self, delivery: Delivery, status: str, detail: dict[str, Any], seconds: float | None = None
    ) -> Settlement:
        """The process of a running task died, after so many seconds if somebody knows: once more, or never again."""
        run = self._intake.recall(delivery)
        count = delivery.deliveries + 1
        detail = {"deliveries": count, "status": status, **detail}
        text = f"worker_lost: {status} (delivery {count})"
        if run is None:
            if _reached(count, self._options.max_deliveries):
                return settlement_of_malformed(delivery, self._env, "worker_lost", text)
            return self._charged(delivery, text)
        exc = WorkerLostError(f"Worker exited prematurely: {status}. Delivered {words_of(count, 'time')}.")
        _tell(run, exc, seconds)
        task = run.plan.task
        limit = task.max_deliveries or self._options.max_deliveries
        if not _reached(count, limit) and not task.at_most_once and task.reject_on_worker_lost is not False:
            settlement = self._charged(delivery, text)
            settlement.delay = lost_delay(task, delivery.deliveries)
            return settlement
        log.error(
            "Task %s[%s] lost its process %s (last: %s)",
            task.name,
            run.call.id,
            words_of(count, "time"),
            status,
            extra={"action": "worker_lost", "task_id": run.call.id, "task_name": task.name},
        )
        return settlement_of_lost(run, exc, "worker_lost", {**detail, "why": text})

    def _charged(self, delivery: Delivery, text: str) -> Settlement:
        """Its attempt is lost, and counted; it goes back to its queue."""
        settlement = _again(delivery, charge=True)
        settlement.run = record_of_lost(self._env, delivery, text)
        return settlement


def over_limit(run: Run, limit: float | None, seconds: float, pid: int) -> Settlement:
    """Return the settlement of a run whose process was killed at its hard limit, after so many seconds."""
    log.error(
        "Hard time limit (%ss) exceeded for %s[%s]",
        limit,
        run.call.task,
        run.call.id,
        extra={"action": "hard_limit", "task_id": run.call.id, "task_name": run.call.task},
    )
    exc = TimeLimitExceeded(limit)
    _tell(run, exc, seconds)
    return settlement_of_lost(run, exc, "time_limit", {"pid": pid})


def _tell(run: Run, exc: BaseException, seconds: float | None) -> None:
    """Tell whoever follows runs that this one has no end of its own."""
    if signals.task_lost.receivers:
        began = None if seconds is None else time.time() - seconds
        signals.task_lost.send(sender=run.plan.task, request=run.request, exception=exc, began=began)


def _reached(count: int, limit: int | None) -> bool:
    return limit is not None and count >= limit


def _again(delivery: Delivery, *, charge: bool = False, suspect: bool = False) -> Settlement:
    return Settlement(lease=delivery.lease, verdict=Verdict.AGAIN, charge=charge, suspect=suspect or delivery.suspect)
