"""How a process of the worker begins: forked from the supervisor, or spawned anew.

A forked one shares the imported app's memory. A spawned one imports the app itself and opens the shared memory and
pipes by their descriptors (``worker.birth``); for systems and libraries that do not survive a fork. See
``docs/internals/boot.md``. Called by the supervisor."""

from __future__ import annotations

import logging
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from talo.errors import ImproperlyConfigured
from talo.util.process import preparations
from talo.worker.agent import agent_main
from talo.worker.birth import Birth, live
from talo.worker.child import child_main
from talo.worker.forkable import unforkable
from talo.worker.lines import AgentLine
from talo.worker.logs import name_process
from talo.worker.share import Common, Handles, Share

if TYPE_CHECKING:
    from talo.app.app import Talo
    from talo.worker.options import WorkerOptions

__all__ = ["Starter", "starter_of"]

log = logging.getLogger("talo.worker")

#: The supervisor's signals: none may reach a new process before it has its own handlers.
SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}


class Starter(ABC):
    """Starts agents and children; returns their pids."""

    def __init__(self, app: Talo, options: WorkerOptions) -> None:
        self._app = app
        self._options = options

    @abstractmethod
    def agent(self, shares: Sequence[Share], common: Common, line: AgentLine) -> int:
        """Start an agent."""

    @abstractmethod
    def child(self, share: Share, shares: Sequence[Share], common: Common, line: AgentLine) -> int:
        """Start a child on ``share``."""


def starter_of(app: Talo, options: WorkerOptions) -> Starter:
    """Return the starter that the options name; for ``auto`` the one that fits what this process has done so far.

    Raises ``ImproperlyConfigured`` if it has to spawn, and the app cannot be imported.
    """
    if options.start_method == "spawn":
        return Spawning(app, options)
    driver = unforkable()
    if driver is None:
        return Forking(app, options)
    fields = {"action": "unforkable", "driver": driver}
    if options.start_method == "fork":
        log.warning(
            "%s is initialised where the app is imported, and no forked process can use it: initialise it in a task "
            "or in worker_process_init, or leave out --start-method fork", driver, extra=fields,
        )  # fmt: skip
        return Forking(app, options)
    log.warning(
        "%s is initialised where the app is imported, and no forked process could use it: every child is spawned and "
        "imports the app anew", driver, extra=fields,
    )  # fmt: skip
    return SpawningChildren(app, options)


class Forking(Starter):
    """Forks."""

    def agent(self, shares: Sequence[Share], common: Common, line: AgentLine) -> int:
        return self._fork(lambda: agent_main(self._app, self._options, shares, common, line))

    def child(self, share: Share, shares: Sequence[Share], common: Common, line: AgentLine) -> int:  # noqa: ARG002
        return self._fork(lambda: self._be_child(share, shares, line))

    def _be_child(self, share: Share, shares: Sequence[Share], line: AgentLine) -> int:
        line.keep_as_stranger()
        name_process(f"child-{share.number}")
        for other in shares:
            if other is share:
                other.keep_as_child()
            else:
                other.keep_as_stranger()
        return child_main(self._app, self._options, share)

    @staticmethod
    def _fork(main: Callable[[], int]) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        # Nothing may be delivered between the fork and the child's own handlers: it would run ours.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if not pid:
                live(lambda: _begin(main))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return pid


def _begin(main: Callable[[], int]) -> int:
    """The first steps of a forked process."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return main()


class Spawning(Starter):
    """Starts a new interpreter for each process. All descriptors are closed in it but those of its birth."""

    def __init__(self, app: Talo, options: WorkerOptions) -> None:
        super().__init__(app, options)
        self._where = _where(app)
        self._modules = _modules(app)

    def agent(self, shares: Sequence[Share], common: Common, line: AgentLine) -> int:
        handles = [share.handles(serves=False) for share in shares]
        return self._spawn(common, handles, None, line.agent_ends)

    def child(self, share: Share, shares: Sequence[Share], common: Common, line: AgentLine) -> int:  # noqa: ARG002
        return self._spawn(common, [share.handles(serves=True)], share.number, None)

    def _spawn(self, common: Common, shares: list[Handles], serves: int | None, line: tuple[int, int] | None) -> int:
        birth = Birth(
            options=self._options,
            prepare=preparations(),
            app=self._where,
            modules=self._modules,
            path=sys.path,
            settings={name: value for name, value in self._app.conf.changes.items() if _is_data(value)},
            level=logging.getLogger("talo").level,
            common=common.handles,
            shares=shares,
            serves=serves,
            line=line,
        )
        fds = [fd for fd in (*common.handles, *(line or ()), *(fd for share in shares for fd in share)) if fd >= 0]
        # Not on the command line, which everybody on the machine may read: settings hold passwords.
        with open(os.memfd_create("talo-birth"), "w+b") as letter:
            letter.write(msgspec.json.encode(birth))
            letter.seek(0)
            fds.append(letter.fileno())
            for fd in fds:
                os.set_inheritable(fd, True)
            try:
                entrance = "talo.worker.spawned_agent" if serves is None else "talo.worker.spawned_child"
                command = [sys.executable, "-m", entrance, str(letter.fileno())]
                return os.posix_spawn(sys.executable, command, os.environ, setsigdef=SIGNALS - {signal.SIGCHLD})
            finally:
                for fd in fds:
                    os.set_inheritable(fd, False)


class SpawningChildren(Spawning):
    """Forks the agent, which runs no task, and spawns the children, which do."""

    def agent(self, shares: Sequence[Share], common: Common, line: AgentLine) -> int:
        return Forking(self._app, self._options).agent(shares, common, line)


def _where(app: Talo) -> str:
    """Return ``module:attribute`` of the app, by which a spawned process finds it again."""
    for name, module in _importable():
        for attribute, value in list(vars(module).items()):
            if value is app:
                return f"{name}:{attribute}"
    raise ImproperlyConfigured(
        "start method spawn needs an app that can be imported: let it stand in a module, under a name of its own"
    )


def _modules(app: Talo) -> list[str]:
    """Return the modules that know the app by a name, and those of its tasks, in the order in which they were imported.

    The one that ``-A`` names is among them, of which that of the app itself may know nothing.
    """
    of_tasks = {task.__module__ for task in app.tasks.values()}
    return [
        name
        for name, module in _importable()
        if name in of_tasks or any(value is app for value in list(vars(module).values()))
    ]


def _importable() -> list[tuple[str, ModuleType]]:
    """The modules of this process that another one can import by their names."""
    return [
        (name, module)
        for name, module in list(sys.modules.items())
        if name != "__main__" and getattr(module, "__spec__", None) is not None
    ]


def _is_data(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, msgspec.MsgspecError):
        return False
    return True
