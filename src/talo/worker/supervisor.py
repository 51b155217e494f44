"""The supervisor: forks agent and children, waits, enforces limits, and stops them in order.

No sockets, no threads, no store: it cannot hang. It reads the boards and the ends of its processes; everything that
needs the store it tells the agent. See ``docs/internals/boot.md`` and ``stopping.md``."""

from __future__ import annotations

import faulthandler
import gc
import logging
import math
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from talo import signals
from talo.util.process import describe_status, peak_kib
from talo.worker.child import RECYCLE
from talo.worker.family import Family, Member
from talo.worker.ladder import Ladder, Rung
from talo.worker.lines import AgentLine, Death, Running
from talo.worker.share import Command, Common, Exit, Share
from talo.worker.starters import starter_of
from talo.worker.starts import QUICK, Starts

if TYPE_CHECKING:
    from talo.app.app import Talo
    from talo.worker.options import WorkerOptions

__all__ = ["Supervisor"]

log = logging.getLogger("talo.worker")

#: How often boards are read: a limit is enforced that much late at most.
TICK = 0.1
#: The same while no task runs.
IDLE_TICK = 0.4
#: Seconds that a worker waits at its start for its agent, once that has begun, to listen, before it calls itself ready.
AGENT_PATIENCE = 10.0
#: A pool that can interrupt its tasks gets so long for it before its process is killed.
INTERRUPT_GRACE = 1.0


class Supervisor:
    """One worker. ``run`` returns its exit code."""

    def __init__(self, app: Talo, options: WorkerOptions) -> None:
        self._app = app
        self._options = options
        self._common = Common(meters=options.shares + 1)
        self._shares: list[Share] = []
        self._family = Family()
        self._agent: Member | None = None
        self._line = AgentLine()
        self._unburied: dict[int, Death] = {}
        self._ladder = Ladder(options.grace, options.soft_shutdown)
        self._starts = Starts(options.processes, options.start_timeout)
        self._agent_starts = Starts()
        self._agent_told_to_stop = False
        self._restart = False
        #: When the agent began (monotonic): a spawned one imports the app before, which takes as long as it takes.
        self._agent_began = math.inf
        self._listened = False
        #: Whether the last process that was wanted could not be started.
        self._is_short = False
        #: Whether this agent has become an owner: it has started.
        self._agent_is_up = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    # -- life --------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Start everything, watch until told to stop, and return the exit code."""
        # Only now: receivers of ``worker_init`` may have done what no forked process survives.
        self._starter = starter_of(self._app, self._options)
        count = self._options.processes
        self._common.note_processes(count)
        self._shares = [Share(number, self._options.slots, self._common) for number in range(self._options.shares)]
        self._install_signals()
        gc.collect()
        gc.freeze()
        self._replace()
        self._await_agent()
        signals.worker_ready.send(sender=self)
        log.info("%s ready.", self._options.hostname, extra={"action": "ready"})
        while self._family or self._agent is not None or not self._ladder.stopping:
            self._look()
            self._climb(time.monotonic())
        signals.worker_shutdown.send(sender=self)
        if self._restart:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        return self._ladder.exit_code

    def _await_agent(self) -> None:
        """Who is told that the worker is ready may command it at once: wait until the agent listens."""
        while not self._listened and not self._ladder.stopping:
            self._look()
            if time.monotonic() > self._agent_began + AGENT_PATIENCE:
                return

    def _look(self) -> None:
        """Wait for what comes next, and do what follows from it."""
        self._sleep()
        self._bury_children()
        self._hear_agent()
        self._mind_lives(time.monotonic())
        self._enforce_limits(time.monotonic())
        self._replace()

    def _sleep(self) -> None:
        try:
            busy = self._ladder.stopping or any(m.share is not None and m.share.board.running() for m in self._family)
            select.select([self._wake_read, *self._line.readable], [], [], TICK if busy else IDLE_TICK)
            while os.read(self._wake_read, 512):
                pass
        except (BlockingIOError, InterruptedError):
            return

    # -- processes ---------------------------------------------------------------------------------------------------

    def _replace(self) -> None:
        """Start whoever is missing. For whom the system has no process, or no share is free, the next look tries
        again."""
        try:
            if self._agent is None and not self._agent_told_to_stop:
                self._start_agent()
            if not self._ladder.stopping:
                leaving = sum(member.leaving for member in self._family)
                for _ in range(self._common.processes - (len(self._family) - leaving)):
                    self._start_child()
        except OSError as exc:
            if not self._is_short:
                log.error("No process can be started: %s; trying again", exc, extra={"action": "start_failed"})
            self._is_short = True
        else:
            self._is_short = False

    def _start_agent(self) -> None:
        self._line.open()
        pid = self._starter.agent(self._shares, self._common, self._line)
        self._line.keep_as_supervisor()
        self._agent = Member(pid, None, time.monotonic())
        self._agent_is_up = False
        for death in self._unburied.values():
            self._line.tell(death)

    def _start_child(self) -> None:
        share = self._free_share()
        if share is None:
            # Every spare one waits for the agent to settle what its last child left.
            return
        share.reset()
        signals.worker_before_create_process.send(sender=self)
        pid = self._starter.child(share, self._shares, self._common, self._line)
        self._family.add(Member(pid, share, time.monotonic(), self._starts.patience))

    def _free_share(self) -> Share | None:
        taken = {member.share.number for member in self._family if member.share is not None} | self._unburied.keys()
        return next((share for share in self._shares if share.number not in taken), None)

    def _bury_children(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if self._agent is not None and pid == self._agent.pid:
                self._agent_died(self._agent, status)
                continue
            member = self._family.pop(pid)
            if member is None or member.share is None:
                continue
            self._child_died(member, status, peak_kib(usage))

    def _child_died(self, member: Member, status: int, peak: int) -> None:
        share = member.share
        assert share is not None
        code = os.waitstatus_to_exitcode(status)
        running = [
            Running(entry.token, time.monotonic() - entry.started, entry.hard) for entry in share.board.running()
        ]
        death = Death(
            share=share.number,
            pid=member.pid,
            owner=share.board.owner,
            status=describe_status(status),
            exit_code=code,
            peak_kib=peak,
            running=running,
            victim=member.victim,
            why=member.why,
            deliberate=member.killed,
        )
        self._unburied[share.number] = death
        self._common.note_processed(share.board.counts[0])
        if not self._ladder.stopping:
            expected = code in (0, RECYCLE)
            self._common.note_exit(Exit.KILLED if member.killed else Exit.RECYCLED if expected else Exit.CRASHED)
        self._common.call_for_waiter()
        self._line.tell(death)
        if code not in (0, RECYCLE) and not member.killed:
            log.error(
                "Process 'child-%d' pid:%d exited with '%s'", share.number, member.pid, death.status,
                extra={"action": "child_died", "pid": member.pid},
            )  # fmt: skip
        # No idle child ends by that signal of its own: somebody has killed it.
        harmless = running or code in (0, RECYCLE, -signal.SIGKILL)
        failed = not share.board.ready or (time.monotonic() - member.started < QUICK and not harmless)
        self._note_end("Children", self._starts, death.status, failed=failed and not member.killed)

    def _note_end(self, whom: str, starts: Starts, status: str, *, failed: bool) -> bool:
        """One of them has ended, by a start that ``failed`` or otherwise. Give up if that is enough; return whether it
        is."""
        if not starts.spent(failed=failed):
            return False
        if not self._ladder.stopping:
            log.critical("%s die as soon as they start (last: %s); giving up", whom, status)
            self._ladder.stop(Rung.DRAIN, exit_code=1)
        return True

    def _mind_lives(self, now: float) -> None:
        """Replace who stands still in its start or its end: nobody else would notice."""
        for member in self._family:
            assert member.share is not None
            if member.killed:
                continue
            if member.share.board.ending:
                self._see_off(member, now)
            elif member.up:
                continue
            elif member.share.board.ready:
                member.up = True
                self._starts.came_up(now - member.started)
            elif now > member.started + member.patience:
                self._starts.was_late(member.patience)
                fields = {"action": "start_late", "pid": member.pid}
                log.error(
                    "Child %d has not started within %g s; replacing it", member.pid, member.patience, extra=fields
                )
                self._kill(member)

    def _see_off(self, member: Member, now: float) -> None:
        """It runs nothing any more: another one takes its place, whatever it still has to do."""
        if not member.deadline:
            member.leaving, member.deadline = True, now + self._options.start_timeout
        elif now > member.deadline:
            fields = {"action": "end_late", "pid": member.pid}
            log.error("Child %d has run its tasks and does not end; killing it", member.pid, extra=fields)
            self._kill(member)

    def _agent_died(self, agent: Member, status: int) -> None:
        # What it has said last, of itself and of whom it has buried.
        self._hear_agent()
        self._agent = None
        self._line.close()
        if self._agent_told_to_stop:
            return
        self._common.note_exit(Exit.AGENT)
        log.error("Agent exited with '%s'; starting a new one", describe_status(status), extra={"action": "agent_died"})
        somebody_killed_it = self._agent_is_up and os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        quick = time.monotonic() - agent.started < QUICK and not somebody_killed_it
        if self._note_end("Agents", self._agent_starts, describe_status(status), failed=quick):
            self._agent_told_to_stop = True

    def _hear_agent(self) -> None:
        for word, number, token in self._line.hear():
            member = self._family.of_share(number)
            if word == "buried":
                if self._unburied.pop(number, None) is not None:
                    # Nobody is to count what it ran any more.
                    self._shares[number].board.wipe()
            elif member is not None and word == "cancel":
                self._cancel(member, token)
            elif member is not None and word == "stuck":
                fields = {"action": "stuck"}
                log.error("Child %d does not fetch although there is work; replacing it", member.pid, extra=fields)
                self._kill(member)
            else:
                self._carry_out(word, number)

    def _carry_out(self, word: str, number: int) -> None:
        """Do what a remote command asks for."""
        if word == "begins":
            self._agent_began = time.monotonic()
        elif word == "listens":
            self._listened = True
        elif word == "renews":
            self._agent_is_up = True
        elif word == "look":
            for member in self._family:
                self._ring(member, Command.LOOK)
        elif word == "restart":
            self._let_go(len(self._family))
        elif word == "shutdown":
            self._ladder.stop(Rung.DRAIN, exit_code=0, says="Got shutdown from remote. Warm shutdown", signal="SIGTERM")
        elif word == "resize":
            count = max(1, min(number, self._options.most_processes))
            self._common.note_processes(count)
            self._let_go(len(self._family) - sum(member.leaving for member in self._family) - count)

    def _let_go(self, number: int) -> None:
        """Let so many children end after their tasks, idle ones first."""
        staying = [member for member in self._family if not member.leaving and member.share is not None]
        staying.sort(key=lambda member: len(member.share.board.running()) if member.share is not None else 0)
        for member in staying[: max(0, number)]:
            member.leaving = True
            self._ring(member, Command.DRAIN)

    # -- limits ------------------------------------------------------------------------------------------------------

    def _enforce_limits(self, now: float) -> None:
        several = self._options.slots > 1
        patient = INTERRUPT_GRACE if several or not self._options.hands_over else 0.0
        for member in self._family:
            assert member.share is not None
            for entry in member.share.board.running():
                if entry.hard and now > entry.hard + patient:
                    self._kill_for(member, entry.token, "time_limit")
                    break
                if not several and now > member.cancelled.get(entry.token, now):
                    # It had its time to hear the exception. Where several run in one process, they are not killed for
                    # one.
                    self._kill_for(member, entry.token, "terminated")
                    break
                if entry.hard and patient and now > entry.hard:
                    self._warn(member, entry.token, Command.HARD)
                elif entry.soft and now > entry.soft:
                    self._warn(member, entry.token, Command.SOFT)

    def _warn(self, member: Member, token: int, command: Command) -> None:
        """Tell the child once that a task is over a limit."""
        key = (token, command.value[0])
        if key not in member.warned:
            member.warned.add(key)
            log.warning("%s time limit exceeded in child %d", "Soft" if command is Command.SOFT else "Hard", member.pid)
            self._ring(member, command, token)

    def _cancel(self, member: Member, token: int) -> None:
        """Stop a running task: by an exception, and if it does not hear that, by its process."""
        if token not in member.cancelled:
            member.cancelled[token] = time.monotonic() + INTERRUPT_GRACE
            self._ring(member, Command.CANCEL, token)

    def _kill_for(self, member: Member, token: int, why: str) -> None:
        """Kill a child for one of its tasks; first stop it and look again, so that never the next task is hit."""
        assert member.share is not None
        os.kill(member.pid, signal.SIGSTOP)
        if not _wait_stopped(member.pid):
            return
        if any(entry.token == token for entry in member.share.board.running()):
            member.victim, member.why = token, why
            self._kill(member)
        else:
            os.kill(member.pid, signal.SIGCONT)

    def _kill(self, member: Member) -> None:
        member.killed = True
        os.kill(member.pid, signal.SIGKILL)

    # -- stopping ----------------------------------------------------------------------------------------------------

    def _climb(self, now: float) -> None:
        """Take the next rung of the ladder when it is time."""
        rung = self._ladder.climb(now, alone=not self._family)
        if rung is not None:
            self._common.note_stopping()
        if rung is Rung.DRAIN:
            signals.worker_shutting_down.send(
                sender=self._options.hostname,
                sig=self._ladder.signal,
                how=self._ladder.how,
                exitcode=self._ladder.exit_code,
            )
            for member in self._family:
                self._ring(member, Command.DRAIN)
        elif rung is Rung.SOFT:
            for member in self._family:
                self._ring(member, Command.BACK)
        elif rung is Rung.KILL:
            for member in self._family:
                self._kill(member)
        if not self._ladder.stopping or self._family or self._agent is None:
            return
        if not self._agent_told_to_stop:
            self._agent_told_to_stop = True
            self._line.tell_stop()
            self._agent.deadline = now + max(5.0, self._options.grace or 0.0)
        elif now > self._agent.deadline:
            os.kill(self._agent.pid, signal.SIGKILL)

    def _ring(self, member: Member, command: Command, token: int = 0) -> None:
        assert member.share is not None
        member.share.ring_bell(member.pid, command, token)

    # -- signals -----------------------------------------------------------------------------------------------------

    def _install_signals(self) -> None:
        """A handler only notes the signal; the loop answers."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _note)
        remap = os.environ.get("REMAP_SIGTERM") == "SIGQUIT"
        signal.signal(signal.SIGTERM, self._on_quit if remap else self._on_term)
        signal.signal(signal.SIGINT, self._on_int)
        signal.signal(signal.SIGQUIT, self._on_quit)
        if not sys.stdin or not sys.stdin.isatty():
            signal.signal(signal.SIGHUP, self._on_hup)
        signal.signal(signal.SIGUSR1, self._on_usr1)
        # Children inherit it: a bell that is rung before one has its handler must not end it; it looks by itself then.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def _on_term(self, _signum: int, _frame: Any) -> None:
        self._ladder.stop(Rung.DRAIN, exit_code=0, says="Warm shutdown", signal="SIGTERM")

    def _on_int(self, _signum: int, _frame: Any) -> None:
        if self._ladder.stopping:
            self._ladder.stop(Rung.SOFT, exit_code=1, says="Cold shutdown", signal="SIGINT")
        else:
            self._ladder.stop(
                Rung.DRAIN,
                exit_code=1,
                says="Hitting Ctrl+C again will hand back running tasks! Warm shutdown",
                signal="SIGINT",
            )

    def _on_quit(self, _signum: int, _frame: Any) -> None:
        self._ladder.stop(Rung.SOFT, exit_code=0, says="Cold shutdown", signal="SIGQUIT")

    def _on_usr1(self, _signum: int, _frame: Any) -> None:
        """Show where every process of the worker is."""
        faulthandler.dump_traceback(all_threads=True)
        for member in [*self._family, *([self._agent] if self._agent is not None else [])]:
            os.kill(member.pid, signal.SIGUSR1)

    def _on_hup(self, _signum: int, _frame: Any) -> None:
        self._restart = True
        self._ladder.stop(Rung.DRAIN, exit_code=0, says="Restarting", signal="SIGHUP")


def _note(_signum: int, _frame: Any) -> None:
    """The wake-up descriptor has been written to; that is all."""


def _wait_stopped(pid: int) -> bool:
    """Wait until a process of ours has stopped; False if it ended instead (its status is left to be collected)."""
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        found = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is not None:
            return bool(found.si_code == os.CLD_STOPPED)
        select.select([], [], [], 0.001)
    return False
