"""The agent: all talk with the store that is not tasks.

Renews the leases of its worker's children, buries the dead, relieves children that a long task holds up, reaps
expired owners of any worker, listens for revocations, and watches that work is being fetched. It never forks and runs
no task. See ``docs/internals/boot.md``."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import random
import select
import signal
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from talo.app.hearing import QUESTION, answer
from talo.beat.service import EmbeddedService
from talo.errors import OperationalError, StoreError
from talo.execution.settle import INTERNAL
from talo.util.optional import load
from talo.worker.delays import DelaysService
from talo.worker.janitor import Janitor
from talo.worker.lines import AgentLine, Death, Running, Stop
from talo.worker.logs import name_process
from talo.worker.opening import Opening
from talo.worker.remote import Remote
from talo.worker.settler import new_owner
from talo.worker.share import Common, Share
from talo.worker.spared import leave_to_supervisor
from talo.worker.undertaker import Undertaker
from talo.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from talo.app.app import Talo
    from talo.worker.health import HealthServer
    from talo.worker.options import WorkerOptions

__all__ = ["Agent", "agent_main"]

log = logging.getLogger("talo.worker")

TICK = 0.1
#: The same while no task runs.
IDLE_TICK = 0.4
#: A task that has run for so long holds up what was fetched behind it.
LONG = 0.15
#: Leases after which the dead are looked for although no lease is said to be over.
REAP_EVERY = 2
#: Seconds that the pass of a beat may take at the end; what it has claimed is sent in any case.
BEAT_GRACE = 2.0


def agent_main(app: Talo, options: WorkerOptions, shares: Sequence[Share], common: Common, line: AgentLine) -> int:
    """Be the agent of a worker, in a process of its own; return the exit code."""
    name_process("agent")
    for share in shares:
        share.keep_as_stranger()
    return Agent(app, options, shares, common, line).run()


class Agent:
    """One worker's agent."""

    def __init__(
        self, app: Talo, options: WorkerOptions, shares: Sequence[Share], common: Common, line: AgentLine
    ) -> None:
        self._app = app
        self._options = options
        self._shares = shares
        self._common = common
        self._line = line
        self._deaths: list[Death] = []
        self._stopping = False
        self._orphaned = False
        self._ended = threading.Event()
        #: Something was revoked; what runs of it may have to be stopped.
        self._revoked = threading.Event()
        #: What each share's relief was for: the token that held it up.
        self._relieved: dict[int, int] = {}
        #: When the next lease of anybody may end, and when to look for the dead whatever the store said (monotonic).
        self._next_end = 0.0
        self._next_reap = 0.0
        self._next_watch = 0.0
        #: By share, the last owner that has been buried.
        self._buried: dict[int, str] = {}
        self._attending = threading.Lock()
        #: Nobody is judged dead before (monotonic).
        self._unsure_until = 0.0
        self._last_look = time.time()

    def run(self) -> int:
        """Live until told to stop, or until the supervisor and all its children are gone."""
        leave_to_supervisor()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        orders = self._line.keep_as_agent()
        self._line.report("begins", 0)
        store = self._app.store
        self._broker = store.broker
        self._owner = new_owner(self._options.hostname, "agent")
        meter = self._common.meter(None, self._options.metrics_max_tasks, times=bool(self._options.http))
        self._undertaker = Undertaker(self._app, self._options, self._owner, meter)
        self._janitor = Janitor(self._app, self._owner)
        self._opening = Opening(self._app, self._owner, lambda: self._remote.node.standing)
        self._remote = Remote(self._app, self._options, self._shares, self._common, self._line, self._note_revocation)
        self._watchdog = Watchdog(
            self._broker, self._options, self._shares, lambda: self._remote.node.standing.open_queues
        )
        threads = [
            threading.Thread(target=self._renew_forever, name="talo-renew", daemon=True),
            threading.Thread(target=self._listen_forever, name="talo-listen", daemon=True),
        ]
        for thread in threads:
            thread.start()
        self._remote.start()
        http = self._http()
        beat = self._beat()
        services = [make() for make in self._app.services]
        if self._app.delays is not None:
            services.append(DelaysService(self._app.delays))
        for service in services:
            service.start()
        while not (self._stopping and not self._deaths):
            if http is not None:
                http.health.tick(time.monotonic(), orphaned=self._orphaned)
            busy = self._stopping or self._orphaned or any(share.board.running() for share in self._shares)
            select.select(
                [orders] if not self._orphaned else [],
                [],
                [],
                TICK if busy else min(IDLE_TICK, self._options.lease / 10),
            )
            self._obey()
            self._try(self._work)
            if self._orphaned and not self._deaths and not self._children_alive():
                break
        self._ended.set()
        if http is not None:
            http.stop()
        self._remote.stop()
        for service in services:
            service.stop()
        if beat is not None:
            beat.stop()
            beat.join(BEAT_GRACE)
        for service in services:
            service.join(BEAT_GRACE)
        self._try(lambda: self._broker.close_owner(self._owner))
        self._app.close_stores()
        return 0

    def _http(self) -> HealthServer | None:
        """Who answers ``/livez``, ``/readyz`` and ``/metrics``, if somebody is to."""
        if self._options.http is None:
            return None
        # Only who has an address pays for the modules that serve it.
        server: HealthServer = load("talo.worker.health").HealthServer(
            self._app, self._options, self._shares, self._common, self._remote.node
        )
        server.start()
        return server

    def _beat(self) -> EmbeddedService | None:
        """The beat of ``-B``. Any number of workers may have one: a tick is claimed in the store."""
        options = self._options
        if not options.beat:
            return None
        beat = EmbeddedService(self._app, scheduler_cls=options.scheduler, schedule_filename=options.schedule_filename)
        beat.start()
        return beat

    def _try(self, work: object) -> None:
        """Do something that needs the store; when the store is away the next tick tries again."""
        assert callable(work)
        try:
            work()
        except OperationalError as exc:
            log.debug("The store is away: %s", exc)
            self._be_unsure()
            self._ended.wait(random.uniform(0.1, 0.5))
        except StoreError:
            log.exception("The store refuses")
            self._ended.wait(1.0)

    def _obey(self) -> None:
        if self._orphaned:
            return
        orders = self._line.orders()
        if orders is None:
            log.error("The supervisor is gone; staying until its children have ended", extra={"action": "orphaned"})
            self._orphaned = True
            return
        for order in orders:
            if isinstance(order, Stop):
                self._stopping = True
            else:
                self._deaths.append(order)

    def _work(self) -> None:
        now = time.monotonic()
        self._remote.tick(now)
        self._bury()
        if self._revoked.is_set():
            self._revoked.clear()
            self._cancel()
        for share in self._shares:
            self._relieve(share, now)
        if time.time() - self._last_look > self._options.lease / 3:
            # This process, or the whole machine, stood still.
            self._be_unsure()
        self._last_look = time.time()
        if now >= max(min(self._next_end, self._next_reap), self._unsure_until):
            self._next_reap = now + REAP_EVERY * self._options.lease * random.uniform(0.8, 1.2)
            self._note_end(self._undertaker.reap(spare={share.board.owner for share in self._shares}))
        if now >= self._next_watch:
            self._next_watch = now + self._options.lease / 3 * random.uniform(0.8, 1.2)
            for number in self._watchdog.stuck(now):
                self._line.report("stuck", number)
        self._janitor.sweep(now)
        self._opening.look(now)

    def _note_end(self, first_end: float | None) -> None:
        """The first lease of anybody ends in so many seconds: look for the dead then, with jitter, so that a fleet's
        agents do not all look at one moment. Whoever lives renews before, and the next answer says so."""
        jitter = random.uniform(0.05, 0.4)
        self._next_end = float("inf") if first_end is None else time.monotonic() + max(0.0, first_end) + jitter

    def _be_unsure(self) -> None:
        """While the store was away nobody could renew: whoever lives does so within one operation's time and its
        pause. Until then an expired owner may be alive, with what it has finished in its ring."""
        self._unsure_until = time.monotonic() + self._app.conf.store_timeout + 2.0

    # -- the dead ----------------------------------------------------------------------------------------------------

    def _bury(self) -> None:
        while self._deaths:
            death = self._deaths[0]
            self._undertaker.bury(death, self._shares[death.share].ring)
            self._leave(death)
            self._relieved.pop(death.share, None)
            self._deaths.pop(0)
            self._line.report("buried", death.share)

    def _children_alive(self) -> bool:
        """Without a supervisor nobody waits for the children: look whether they are there, and bury them ourselves."""
        alive = False
        for share in self._shares:
            pid, owner = share.board.pid, share.board.owner
            if not pid or not owner:
                continue
            if _is_alive(pid):
                alive = True
                continue
            running = [Running(e.token, time.monotonic() - e.started, e.hard) for e in share.board.running()]
            self._deaths.append(
                Death(
                    share=share.number,
                    pid=pid,
                    owner=owner,
                    status="unknown",
                    exit_code=1,
                    peak_kib=0,
                    running=running,
                    victim=0,
                    why="",
                    deliberate=False,
                )
            )
            share.board.wipe()
        return alive

    # -- the held up -------------------------------------------------------------------------------------------------

    def _relieve(self, share: Share, now: float) -> None:
        """Give back what waits behind long tasks of a child, and settle what it has finished and cannot bring
        itself."""
        board = share.board
        running = board.running()
        if len(running) < board.slots or any(now - entry.started < LONG for entry in running):
            return
        single = board.slots == 1
        if single and self._relieved.get(share.number) == running[0].token:
            return
        if not single and not board.unstarted:
            return
        self._undertaker.relieve(board.owner, share.take_tokens(), share.ring.read() if single else [])
        if single:
            self._relieved[share.number] = running[0].token
            self._common.call_for_waiter()

    # -- the cancelled -----------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        """Have the tasks stopped that run here and have been terminated, they or the root of their workflow. A task is
        named by its token: a later run is never hit."""
        state = self._app.state_store
        for share in self._shares:
            running = {entry.token for entry in share.board.running()}
            if not running:
                continue
            held = [
                (d.lease.token, d.message)
                for d in self._broker.held(share.board.owner)
                if d.message is not None and d.message.task not in INTERNAL
            ]
            names = {
                token: {name for name in (message.id, message.headers.get("root_id")) if isinstance(name, str)}
                for token, message in held
                if token in running
            }
            known_ids = set().union(*names.values())
            terminated = state.locks.marked("terminated", list(known_ids)) if state else self._remote.node.terminated
            for token, known in names.items():
                if not terminated.isdisjoint(known):
                    fields = {"action": "terminate", "task_ids": sorted(known)}
                    log.info("Terminating %s", ", ".join(sorted(known)), extra=fields)
                    self._line.report("cancel", share.number, token)

    # -- threads -----------------------------------------------------------------------------------------------------

    def _renew_forever(self) -> None:
        """Keep the leases. Nothing else is done in this thread, so nothing else can hold it up."""
        lease = self._options.lease
        pause = 0.0
        opened = False
        while not self._ended.wait(pause):
            try:
                if not opened:
                    self._broker.open(self._owner, worker=self._options.hostname, slots=0, lease=lease)
                    self._line.report("renews", 0)
                    opened = True
                owners = [self._owner]
                if self._app.store.features.hands_over:
                    # Elsewhere a lease lives as long as its connection.
                    owners += self._owners()
                gone, first_end = self._broker.renew(owners, lease)
                opened = self._owner not in gone
                self._note_end(first_end)
                pause = lease / 3 if opened else 0.1
            except OperationalError:
                self._be_unsure()
                pause = min(lease / 6, 1.0) * random.uniform(0.5, 1.0)
            except StoreError:
                log.exception("Leases cannot be renewed")
                pause = 1.0

    def _listen_forever(self) -> None:
        """Hear of revoked tasks."""
        state = self._app.state_store
        if state is None:
            return
        pause = min(5.0, self._options.lease / 3)
        while not self._ended.is_set():
            try:
                with state.bus.subscribe([QUESTION]) as ear:
                    # What was revoked or paused while nobody listened counts too.
                    self._look_again()
                    while not self._ended.is_set():
                        self._attend()
                        if (heard := ear.get(pause)) is not None:
                            self._look_again()
                            answer(state, heard[1], self._owners())
            except OperationalError:
                self._ended.wait(random.uniform(0.2, 1.0))

    def _attend(self) -> None:
        with self._attending:
            self._app.hearing.attend(self._owners(), self._options.lease)

    def _leave(self, death: Death) -> None:
        # Its board shows it until it has a successor.
        self._buried[death.share] = death.owner
        if death.owner:
            with self._attending, contextlib.suppress(OperationalError):
                self._app.hearing.leave(death.owner)

    def _owners(self) -> list[str]:
        """What our living children are as owners of leases."""
        return [
            owner for share in self._shares if (owner := share.board.owner) and owner != self._buried.get(share.number)
        ]

    def _look_again(self) -> None:
        self._remote.node.look_again()
        self._note_revocation()

    def _note_revocation(self) -> None:
        """Let the children read the set of revoked tasks anew, and look whether one of them runs."""
        self._common.note_revocation()
        self._revoked.set()


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] != b"Z"
    except OSError:
        return False
