"""A child: fetch, run, settle, over its own connection, until it is told to stop.

Owns the loop and the signals of a child process; how many tasks run at a time, and where, is its pool's
(``worker.pools``). It is forked by the supervisor, and talks to it through its ``Share`` only."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import random
import select
import signal
import time
from typing import TYPE_CHECKING, Any

from talo import signals
from talo.canvas.celery_form import INTERNAL_SUFFIX
from talo.errors import OperationalError, SoftTimeLimitExceeded, StoreError, Terminated, TimeLimitExceeded
from talo.execution.limits import HandedBack, Killed
from talo.stores.base import Delivery, Settlement, Verdict
from talo.stores.parking import is_parking
from talo.util.process import Stopwatch, resident_kib
from talo.worker.batch import BatchSize
from talo.worker.brakes import brakes_of
from talo.worker.bulletin import Standing
from talo.worker.intake import COPY_TTL, Intake
from talo.worker.marks import with_marks
from talo.worker.parking import Parking
from talo.worker.pools import make_pool
from talo.worker.settler import Settler
from talo.worker.share import Command, Share
from talo.worker.spared import leave_to_supervisor
from talo.worker.split import split_of
from talo.worker.task_events import TaskEvents

if TYPE_CHECKING:
    from talo.app.app import Talo
    from talo.worker.options import WorkerOptions

__all__ = ["RECYCLE", "STORE_LOST", "Child", "child_main"]

log = logging.getLogger("talo.worker")

#: Exit codes by which the supervisor knows why a child ended.
RECYCLE = 64
STORE_LOST = 65


def child_main(app: Talo, options: WorkerOptions, share: Share) -> int:
    """Run a child in this process and return its exit code."""
    return Child(app, options, share).run()


class Child:
    """One child process. ``run`` returns when it has drained."""

    def __init__(self, app: Talo, options: WorkerOptions, share: Share) -> None:
        self._app = app
        self._options = options
        self._share = share
        self._board = share.board
        self._bulletin = share.common.bulletin
        self._draining = False
        self._paused = False
        self._exit_code = 0
        self._revocations = -1
        self._revoked: set[str] = set()
        self._trouble = 0
        self._baton = share.common.baton()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._batch = BatchSize(options.slots, options.batch_time, options.prefetch)
        #: In a fleet that it shares with Celery a worker keeps its own messages apart.
        self._queues: tuple[str, ...] = self._with_internal(options.queues)
        #: Of the bulletin that it goes by.
        self._standing = Standing(queues=options.queues, events=options.task_events)
        self._standing_number = -1
        self._watch = Stopwatch(options.max_tasks_per_child)

    # -- life --------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Live: returns the exit code."""
        self._install_signals()
        app, options = self._app, self._options
        store, state = app.store, app.state_store
        self._locks = None if state is None else state.locks
        self.settler = Settler(
            store,
            split_of(store, app.result_store, app.state_store, history=options.history),
            self._share.ring,
            hostname=options.hostname,
            role=f"child-{self._share.number}",
            slots=options.slots,
            lease=options.lease,
            opened=self._opened,
            meter=self._share.common.meter(self._share.number, options.metrics_max_tasks, times=bool(options.http)),
        )
        self._broker = store.broker
        self.intake = Intake(
            app.env,
            self._is_revoked,
            options.unknown_patience,
            first=self._is_first,
            max_charges=None if store.features.hands_over else options.max_deliveries or 0,
        )
        self._parking = self.intake.parking = Parking(app)
        app.clock.share(self._share.common.clock)
        self._events = TaskEvents(app, options.hostname)
        self._read_bulletin()
        self._pool = make_pool(self)
        signals.worker_process_init.send(sender=None)
        self._board.note_ready()
        try:
            self._loop()
        finally:
            self._board.note_ending()
            self._pool.stop()
            self._events.stop()
            signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=self._exit_code)
            app.close_stores()
        return self._exit_code

    def _opened(self, owner: str) -> None:
        """This process is about to fetch as ``owner``."""
        self._board.introduce(os.getpid(), owner)
        self._app.hearing.attend([owner], self._options.lease)

    def _loop(self) -> None:
        pool, settler = self._pool, self.settler
        while True:
            self._obey()
            if self._draining:
                self._give_back()
                if pool.running == 0 and not settler.pending:
                    if self._farewell():
                        return
                    continue
            if self._bulletin.number != self._standing_number:
                self._read_bulletin()
            limit = 0 if self.stopping or not self._queues else min(pool.room, self._batch.limit())
            if limit == 0 and not settler.pending:
                self._sleep(1.0)
                continue
            deliveries = self._turn(limit)
            if deliveries:
                if len(deliveries) >= limit or self._batch.takes_long(len(deliveries)):
                    # There may be more, or this child is busy for a while: somebody else has to wait for work. Else it
                    # is back before another one would be awake.
                    self._baton.pass_on()
                self._feed(deliveries)
                self._after_batch()
            elif deliveries is not None and not settler.pending and not self._draining and limit:
                self._wait()

    def _feed(self, deliveries: list[Delivery]) -> None:
        """Give the pool what was fetched; where several run at a time, a suspect has the process for itself."""
        alone = [d for d in deliveries if d.suspect] if self._options.slots > 1 else []
        together = [d for d in deliveries if not d.suspect] if alone else deliveries
        if together:
            self._pool.feed(together)
        for delivery in alone:
            self._settle_all()
            if self._draining:
                self.settler.add(Settlement(lease=delivery.lease, verdict=Verdict.AGAIN))
            else:
                self._pool.feed([delivery])
        if alone:
            self._settle_all()

    def _settle_all(self) -> None:
        """Wait until nothing runs and nothing is unsettled, or a stop has been asked for."""
        while not self._draining and (self._pool.running or self._pool.waiting or self.settler.pending):
            if self.settler.pending:
                self._turn(0)
            else:
                self._sleep(1.0)
                self._obey()

    def _turn(self, limit: int) -> list[Delivery] | None:
        """Turn; None when the store is away (after a pause)."""
        self._board.note_fetching(time.monotonic() + self._options.idle_look)
        owner = self.settler.owner
        try:
            deliveries = self.settler.turn(self._queues, limit)
            if self._trouble and limit and not deliveries:
                # That one may have done no more than clear up what the failed one left; who is back gives out work.
                deliveries = self.settler.turn(self._queues, limit)
        except OperationalError as exc:
            self._store_away(exc)
            return None
        except StoreError as exc:
            log.critical("The store refuses: %s", exc, extra={"action": "store_refused"})
            self._store_away(exc)
            return None
        if owner and owner != self.settler.owner:
            self._forget_fetched()
        if self._trouble:
            log.info("The store is back", extra={"action": "store_back"})
            self._trouble = 0
            self._board.note_away(False)
        return deliveries

    def _wait(self) -> None:
        """Sleep until there may be work, a pool has something to settle, or a command has come."""
        timeout = self._patience()
        self._pool.idle = True
        try:
            # What a pool finished before it saw the flag has to be settled first.
            if self.settler.pending or self._draining:
                return
            ours = (self._wake_read, self._share.bell_read)
            # One idle child of the worker waits for the store, the others for its place, where one message would wake
            # them all.
            self._board.note_fetching(time.monotonic() + timeout)
            if self._app.store.features.wakes_one:
                self._broker.wait(self._queues, timeout, ours)
            elif self._baton.wait(timeout, ours):
                timeout = min(timeout, self._options.idle_look)
                self._board.note_fetching(time.monotonic() + timeout)
                self._broker.wait(self._queues, timeout, ours)
        except OperationalError as exc:
            self._store_away(exc)
        finally:
            self._pool.idle = False
            self._drain_wake()

    def _patience(self) -> float:
        """Seconds until this child should look without having been woken. All children together look as often as a
        worker should; with jitter, so that they do not do so together."""
        longest = self._options.idle_look * max(2, self._share.common.processes) * random.uniform(1.0, 1.5)
        due = self.settler.next_due
        if due is not None:
            longest = min(longest, max(0.0, due - time.time()))
        return min(longest, self.settler.patience)

    def _sleep(self, seconds: float) -> None:
        """Sleep without looking at the store, until something happens here."""
        self._baton.pass_on()
        self._board.note_fetching(0.0)
        self._pool.idle = True
        try:
            if not self.settler.pending:
                # Once it drains there is nothing more to hear; and a dead supervisor's bell never stops ringing.
                bell = [] if self._draining else [self._share.bell_read]
                select.select([self._wake_read, *bell], [], [], seconds)
        finally:
            self._pool.idle = False
            self._drain_wake()

    def _store_away(self, exc: BaseException) -> None:
        """Back off with jitter: a fleet that lost its store must not return in one moment."""
        self._trouble += 1
        pause = min(2.0, 0.05 * 2 ** min(self._trouble, 6)) * random.uniform(0.5, 1.0)
        self._board.note_away(True)
        if self._trouble == 1:
            log.warning("The store is away: %s; trying again", exc, extra={"action": "store_away"})
        if self._draining and self._trouble > 8:
            # What is finished stands in the ring; the agent goes on trying.
            self._exit_code = STORE_LOST
            raise SystemExit(STORE_LOST)
        with contextlib.suppress(InterruptedError):
            select.select([self._wake_read], [], [], pause)
        self._drain_wake()

    def _after_batch(self) -> None:
        options = self._options
        if self._watch.over(self._board.counts[0]):
            log.info("Child %d has run %s tasks and is replaced", os.getpid(), options.max_tasks_per_child)
            self._recycle()
        elif options.max_memory_per_child is not None and resident_kib() > options.max_memory_per_child:
            log.warning(
                "Child %d uses %d KiB, more than %d, and is replaced",
                os.getpid(),
                resident_kib(),
                options.max_memory_per_child,
            )
            self._recycle()

    def _recycle(self) -> None:
        self._exit_code = RECYCLE
        self._draining = True

    def _give_back(self) -> None:
        """Return what was fetched and has not started."""
        self._pool.return_unclaimed()
        self._board.note_unstarted(0)

    def _forget_fetched(self) -> None:
        """The lease was lost: what has not started is somebody else's by now, and would run for nothing here."""
        self._share.take_tokens()
        self._pool.waiting.clear()
        self._board.note_unstarted(0)

    def _farewell(self) -> bool:
        """Stop being an owner; False when something came up instead."""
        try:
            self.settler.close()
        except OperationalError:
            return True
        return True

    # -- what pools use ----------------------------------------------------------------------------------------------

    @property
    def app(self) -> Talo:
        return self._app

    @property
    def options(self) -> WorkerOptions:
        return self._options

    @property
    def share(self) -> Share:
        return self._share

    @property
    def batch(self) -> BatchSize:
        return self._batch

    @property
    def stopping(self) -> bool:
        """Whether nothing new may start."""
        return self._draining or self._paused

    def flush(self) -> None:
        """Settle what is pending, now; when the store is away it stays pending."""
        while self.settler.pending and self._turn(0) is None:
            if self._draining:
                return

    def wake(self) -> None:
        """End the loop's sleep, from any thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"w")

    def retire(self) -> None:
        """Let another process take this one's place: what was killed in it may have left anything behind."""
        self._recycle()

    def recycle_needed(self) -> bool:
        """Whether this child has run its number of tasks: the rest of the batch is another's."""
        return self._watch.over(self._board.counts[0])

    # -- what was said to the worker -------------------------------------------------------------------------------

    def _read_bulletin(self) -> None:
        """Go by what the bulletin says now, and before there is one by what the store has marked."""
        found = self._bulletin.read()
        if found is not None:
            self._standing_number, self._standing = found
        elif self._standing_number < 0:
            self._standing_number = 0
            try:
                self._standing = with_marks(self._standing, self._locks)
            except OperationalError as exc:
                log.debug("What is paused cannot be read yet (the agent will say): %s", exc)
        standing, app = self._standing, self._app
        self._queues = self._with_internal(standing.open_queues)
        limited = not app.conf.worker_disable_rate_limits
        self.intake.brakes = brakes_of(standing, app.tasks, self._share.common.rates, limited=limited)
        self._parking.note(standing.parked)
        self.intake.limit(standing.time_limits)
        self._events.switch(standing.events)

    def _with_internal(self, queues: tuple[str, ...]) -> tuple[str, ...]:
        if not self._app.env.celery_form:
            return queues
        return (*queues, *(name + INTERNAL_SUFFIX for name in queues if not is_parking(name)))

    # -- revoked tasks -----------------------------------------------------------------------------------------------

    def _is_revoked(self, task_id: str) -> bool:
        if self._locks is None:
            return task_id in self._standing.revoked
        epoch = self._share.common.revocations
        if epoch != self._revocations:
            try:
                self._revoked = self._locks.all_marked("revoked")
                # What else is marked came with the bulletin before the number changed.
                self._read_bulletin()
                self._revocations = epoch
            except OperationalError:
                # The next task asks again; the settlement of this one has to wait for the store anyway.
                return task_id in self._revoked
        return task_id in self._revoked

    def _is_first(self, of: str, copy: str) -> bool:
        """Whether this copy of something (a task's id) is the first to come to a worker, or has come before. Where no
        store keeps locks every copy is."""
        return self._locks is None or self._locks.acquire(f"copy:{of}", copy, COPY_TTL)

    # -- signals -----------------------------------------------------------------------------------------------------

    def _install_signals(self) -> None:
        """The group's signals are the supervisor's to answer; ours is USR2, and every signal wakes the loop."""
        leave_to_supervisor()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, self._on_bell)
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def _on_bell(self, _signum: int, _frame: Any) -> None:
        """Runs in the main thread between two bytecodes; may raise into the task that runs there."""
        self._obey()

    def _obey(self) -> None:
        """Do what the supervisor has said. If it is dead, which is heard here too, drain."""
        for command, token in self._share.commands():
            if command is Command.DRAIN:
                self._draining = True
            elif command is Command.PAUSE:
                self._paused = True
            elif command is Command.RESUME:
                self._paused = False
            elif command is Command.BACK:
                self._draining = True
                self._pool.interrupt(0, HandedBack())
            elif command is Command.SOFT:
                self._pool.interrupt(token, SoftTimeLimitExceeded())
            elif command is Command.HARD:
                # With its process for itself a task does not survive its limit: it is as if that had been killed.
                self._pool.interrupt(token, TimeLimitExceeded() if self._options.slots > 1 else Killed())
            elif command is Command.CANCEL:
                self._pool.interrupt(token, Terminated("terminated"))

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 512):
                pass
