"""``talo multi``: several workers on one machine, started, stopped and restarted by name.

Owns the nodes of a command line, the options that hold for some of them only, and their pid files. Each node is a
``talo worker`` of its own, in a session of its own. Called by ``cli.main``."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from talo.cli._errors import Failed, Refused
from talo.cli._pidfile import alive, read_pid
from talo.cli._session import Session
from talo.util.files import private
from talo.util.text import count

__all__ = ["Cluster", "Node", "multi"]

_VERBS = ("start", "stop", "stopwait", "stop_verify", "restart", "kill", "show", "names", "expand", "get", "help")
#: Options of ``talo`` itself: they stand before ``worker``.
_GLOBAL = {
    "-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir", "-C", "--no-color",
    "-q", "--quiet", "--skip-checks",
}  # fmt: skip
#: Options of ``multi`` itself.
_OWN = {
    "--nosplash",
    "--quiet",
    "--verbose",
    "--no-color",
    "--cmd",
    "--append",
    "--prefix",
    "--suffix",
    "--range-prefix",
}
#: Seconds that a start may take until the pid file is there, and a stop until the process is gone.
_STARTS, _STOPS = 60.0, 3600.0
_DEFAULT_PID, _DEFAULT_LOG = "%n.pid", "%n%I.log"


class Node(NamedTuple):
    """One worker: its node name and its options, already filled in for it."""

    name: str
    options: list[tuple[str, str | None]]
    extra: list[str]

    def path(self, option: str, default: str) -> str:
        """The value of an option that is a path, filled in."""
        value = next((value for key, value in self.options if key == option and value), default)
        return _filled(value, self.name)

    @property
    def pid(self) -> int | None:
        """The process of its pid file, if it lives."""
        pid = read_pid(self.path("--pidfile", _DEFAULT_PID))
        return pid if pid is not None and alive(pid) else None

    def command(self, program: Sequence[str]) -> list[str]:
        """Its command line."""
        before: list[str] = []
        after: list[str] = []
        for key, value in self.options:
            if key in ("--pidfile", "--logfile", "-f", "-n", "--hostname"):
                continue
            words = [key] if value is None else [f"{key}={value}"] if key.startswith("--") else [key, value]
            (before if key in _GLOBAL else after).extend(words)
        return [
            *program, *before, "worker", "-n", self.name, f"--pidfile={self.path('--pidfile', _DEFAULT_PID)}",
            f"--logfile={self.path('--logfile', _DEFAULT_LOG)}", *after, *self.extra,
        ]  # fmt: skip


class Cluster:
    """The nodes of one command line."""

    def __init__(self, arguments: Sequence[str]) -> None:
        names, self._options, extra = _parsed(arguments)
        self.own = {key: value for key, value in self._options if key in _OWN}
        suffix = self.own.get("--suffix") or self._value("-n", "--hostname") or socket.gethostname()
        prefix = self.own.get("--prefix") or ""
        plain = _ranged(names, self.own.get("--range-prefix") or "celery")
        given = {key: value for key, value in self._options if ":" in key}
        full = [name if "@" in name else f"{prefix}{name}@{suffix.lstrip('@')}" for name in plain]
        self.nodes = [Node(name, self._for(plain, number, given), extra) for number, name in enumerate(full)]

    def _value(self, *keys: str) -> str | None:
        return next((value for key, value in self._options if key in keys), None)

    def _for(self, names: list[str], number: int, given: dict[str, str | None]) -> list[tuple[str, str | None]]:
        """The options of one node: those of all, and in their place those that name it."""
        own: dict[str, str | None] = {}
        for key, value in given.items():
            option, _, whom = key.partition(":")
            if _means(whom, names, number):
                own[option] = value
        common = [(key, value) for key, value in self._options if ":" not in key and key not in (_OWN - _GLOBAL)]
        return [(key, own.pop(key, value)) for key, value in common] + list(own.items())


def _parsed(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str | None]], list[str]]:
    """Names, options with their values, and what follows ``--``."""
    names: list[str] = []
    options: list[tuple[str, str | None]] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word == "--":
            return names, options, left
        if word.startswith("--"):
            key, equals, value = word.partition("=")
            takes = (
                not equals and left and not left[0].startswith("-") and key not in ("--purge", "--beat", "--verbose")
            )
            options.append((key, value if equals else left.pop(0) if takes else None))
        elif word.startswith("-") and len(word) > 1:
            takes = bool(left) and not left[0].startswith("-")
            options.append((word, left.pop(0) if takes else None))
        else:
            names.append(word)
    return names, options, []


def _ranged(names: list[str], prefix: str) -> list[str]:
    """A single number stands for so many numbered nodes, ``1-3`` for those."""
    if len(names) == 1 and names[0].isdigit():
        return [f"{prefix}{number}" for number in range(1, int(names[0]) + 1)]
    found: list[str] = []
    for name in names:
        match = re.fullmatch(r"(\d+)-(\d+)", name)
        found += [f"{prefix}{n}" for n in range(int(match[1]), int(match[2]) + 1)] if match else [name]
    return found


def _means(whom: str, names: list[str], number: int) -> bool:
    """Whether an option for ``whom`` (a name, numbers, a range; several between commas) is for this node."""
    for part in whom.split(","):
        match = re.fullmatch(r"(\d+)-(\d+)", part)
        if match and int(match[1]) <= number + 1 <= int(match[2]):
            return True
        if part == names[number] or part == names[number].partition("@")[0]:
            return True
        if part.isdigit() and int(part) == number + 1:
            return True
    return False


def _filled(text: str, node: str) -> str:
    """%p the node, %n its name, %h its host, %d the domain; a worker has one log, so %i is 0 and %I nothing."""
    name, _, host = node.partition("@")
    values = {"%": "%", "p": node, "n": name, "h": host, "d": host.partition(".")[2], "i": "0", "I": ""}
    return re.sub(r"%([%pnhdiI])", lambda match: values[match[1]], text)


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False},
    add_help_option=False,
)
@click.argument("verb", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def multi(ctx: click.Context, verb: str | None, arguments: tuple[str, ...]) -> int:
    """Start, stop and restart several workers on this machine, by name.

    talo multi start 3 -A proj -c 4, talo multi restart w1 w2 -A proj -Q:w1 images --pidfile=run/%n.pid.

    Verbs: start, stop, stopwait, restart, kill, show, names, expand TEMPLATE, get NODE. OPTION:NODES holds for those
    nodes only (names, numbers, ranges). Exit code: how many nodes failed.
    """
    if verb is None or verb in ("help", "-h", "--help"):
        click.echo(ctx.get_help())
        return 0
    if verb not in _VERBS:
        raise Refused(f"multi {verb}: there is no such verb; choose one of {', '.join(_VERBS)}")
    words = list(arguments)
    template = words.pop(0) if verb in ("expand", "get") and words else ""
    cluster = Cluster([*_of_session(ctx.obj), *words])
    if not cluster.nodes:
        raise Refused(f"multi {verb}: name the nodes, or how many: talo multi {verb} 3 -A PROJECT")
    doing: dict[str, Callable[[], int]] = {
        "start": lambda: _each(cluster, _start),
        "stop": lambda: _each(cluster, _stop),
        "stopwait": lambda: _stopwait(cluster),
        "stop_verify": lambda: _stopwait(cluster),
        "restart": lambda: _stopwait(cluster) + _each(cluster, _start),
        "kill": lambda: _each(cluster, _kill),
        "show": lambda: _say(shlex.join(node.command(_program(cluster))) for node in cluster.nodes),
        "names": lambda: _say(node.name for node in cluster.nodes),
        "expand": lambda: _say(_filled(template, node.name) for node in cluster.nodes),
        "get": lambda: _say(
            shlex.join(node.command(_program(cluster)))
            for node in cluster.nodes
            if template in (node.name, node.name.partition("@")[0])
        ),
    }
    return doing[verb]()


def _of_session(session: Session) -> Iterator[str]:
    """Global options that stood before ``multi``."""
    for option, value in (("-A", session.app), ("-b", session.broker), ("--workdir", session.workdir)):
        if value:
            yield from (option, value)


def _program(cluster: Cluster) -> list[str]:
    """What a node is run with: as this command was."""
    chosen = cluster.own.get("--cmd")
    if chosen:
        return shlex.split(chosen.removesuffix(" worker"))
    if Path(sys.argv[0]).name in ("celery", "talo"):
        return [sys.argv[0]]
    called = click.get_current_context().find_root().info_name
    return [sys.executable, "-m", *(["talo.compat", "celery"] if called == "celery" else ["talo"])]


def _say(lines: Iterator[str]) -> int:
    for line in lines:
        click.echo(line)
    return 0


def _each(cluster: Cluster, do: Callable[[Node, list[str]], str]) -> int:
    """Do it to every node, and say what came of it; return how many failed."""
    failures = 0
    for node in cluster.nodes:
        try:
            click.echo(f"\t> {node.name}: {do(node, _program(cluster))}")
        except Failed as error:
            failures += 1
            click.echo(f"\t> {node.name}: {error.message}", err=True)
    return failures


def _start(node: Node, program: list[str]) -> str:
    if (pid := node.pid) is not None:
        raise Failed(f"runs already, as process {pid}")
    log = node.path("--logfile", _DEFAULT_LOG)
    for path in (log, node.path("--pidfile", _DEFAULT_PID)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab", opener=private) as out:
        process = subprocess.Popen(
            node.command(program), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    deadline = time.monotonic() + _STARTS
    while node.pid is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"did not start (exit code {process.poll()}); see {log}")
        time.sleep(0.05)
    return f"OK, process {node.pid}"


def _signalled(node: Node, number: signal.Signals) -> int:
    pid = node.pid
    if pid is None:
        raise Failed(f"is not running ({node.path('--pidfile', _DEFAULT_PID)})")
    os.kill(pid, number)
    return pid


def _stop(node: Node, _program: list[str]) -> str:
    return f"TERM -> {_signalled(node, signal.SIGTERM)}"


def _kill(node: Node, _program: list[str]) -> str:
    return f"KILL -> {_signalled(node, signal.SIGKILL)}"


def _stopwait(cluster: Cluster) -> int:
    """Stop all, and wait until they are gone; one that does not run has nothing to do."""
    pids = {node.name: pid for node in cluster.nodes if (pid := node.pid) is not None}
    for pid in pids.values():
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOPS
    while left := [name for name, pid in pids.items() if alive(pid)]:
        if time.monotonic() > deadline:
            raise Failed(f"{count(len(left), 'node')} did not stop: {', '.join(left)}")
        time.sleep(0.05)
    for name, pid in pids.items():
        click.echo(f"\t> {name}: OK, process {pid} has ended")
    return 0
