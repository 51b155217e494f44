"""Which commands there are, and loading the one that is called.

Owns the table of names: help and completion read it, so that calling one command imports no other. Also what is said
of Celery's commands that Talo does not have. Called by ``cli.main``."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import click

from talo.cli._errors import Refused
from talo.compat.late import offer
from talo.util.names import nearest
from talo.util.optional import load

__all__ = ["ABSENT", "COMMANDS", "CommandGroup", "Entry", "TaloCommand"]


class Entry(NamedTuple):
    """Where a command is, and its line in the overview (the first of its own help)."""

    module: str
    help: str


#: In the order of the overview. The attribute in the module has the command's name.
COMMANDS: dict[str, Entry] = {
    "worker": Entry("talo.cli.worker", "Run a worker."),
    "beat": Entry("talo.cli.beat", "Send periodic tasks when they fall due."),
    "schedule": Entry("talo.cli.schedule", "List, add, edit, pause, resume, run and remove periodic tasks."),
    "call": Entry("talo.cli.call", "Send a task by name and print its id."),
    "reschedule": Entry("talo.cli.reschedule", "Give waiting tasks another time, earlier or later."),
    "graph": Entry("talo.cli.graph", "Print what came of a task, with the state of each."),
    "result": Entry("talo.cli.result", "Print the result of a task."),
    "runs": Entry("talo.cli.runs", "List runs that have ended, latest first."),
    "run": Entry("talo.cli.runs", "Tell one task's story: each attempt, with its times and traceback."),
    "forget": Entry("talo.cli.runs", "Delete records of runs from the history; counters stay."),
    "failures": Entry("talo.cli.failures", "Group failures by kind, those that came last first."),
    "explain": Entry("talo.cli.failures", "Say why a task is not running."),
    "status": Entry("talo.cli.status", "List the workers that are alive."),
    "top": Entry("talo.cli.top", "Watch workers, queues, rates and failures."),
    "inspect": Entry("talo.cli.inspect", "Ask workers what they do."),
    "control": Entry("talo.cli.control", "Steer workers."),
    "events": Entry("talo.cli.events", "Watch what happens to tasks and workers."),
    "queues": Entry("talo.cli.queues", "Count what waits in each queue."),
    "waiting": Entry("talo.cli.runs", "List what waits in a queue, the next to be fetched first."),
    "purge": Entry("talo.cli.purge", "Delete all waiting tasks of queues."),
    "dashboard": Entry("talo.cli.dashboard", "Serve the dashboard."),
    "dead": Entry("talo.cli.dead", "List, show, replay and drop dead letters."),
    "db": Entry("talo.cli.db", "Make and change the tables that tasks and results are kept in."),
    "check": Entry("talo.cli.check", "Check the configuration, and say what holds for each task."),
    "migrate": Entry(
        "talo.cli.migrate",
        "Move from Celery, and back: what will differ, routes for a fleet that moves task by task, handing over.",
    ),
    "multi": Entry("talo.cli.multi", "Start, stop and restart several workers on this machine, by name."),
    "shell": Entry("talo.cli.shell", "Start Python with the app and its tasks at hand."),
    "report": Entry("talo.cli.report", "Describe this installation, for bug reports."),
}

#: Celery's commands that are not here: what to do instead.
ABSENT: dict[str, str] = {
    "list": "`talo queues` lists the queues, `talo waiting QUEUE` what waits; there are no bindings to list",
    "logtool": "log lines carry fields: use a JSON formatter and any log tool",
    "amqp": "use the tools of the broker",
    "upgrade": "old names of settings are understood as they are; `talo check --settings` shows today's names",
    "flower": "`talo dashboard` is Talo's own; a Flower beside the real Celery shows Talo's workers too",
}


class TaloCommand(click.Command):
    """A command that knows the global options, and says where they belong."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if ctx.parent is None:
                raise
            root = ctx.find_root()
            known = {name for parameter in root.command.params for name in parameter.opts}
            if error.option_name in known:
                path = ctx.command_path.removeprefix("talo ")
                raise click.UsageError(
                    f"{error.option_name} is an option of talo itself: write it before the command, "
                    f"as in talo {error.option_name} ... {path}",
                    ctx,
                ) from None
            raise


class CommandGroup(click.Group):
    """The commands, each imported when it is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [*COMMANDS, *self.commands]

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        entry = COMMANDS.get(name)
        if entry is None:
            return super().get_command(_ctx, name) or _of_plugin(name)
        command: click.Command = getattr(importlib.import_module(entry.module), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        if name in ABSENT:
            raise Refused(f"there is no command {name!r}: {ABSENT[name]}")
        if name not in COMMANDS and not name.startswith("-"):
            guess = nearest(name, [*COMMANDS, *ABSENT])
            raise click.UsageError(f"No such command {name!r}." + (f" Did you mean {guess}?" if guess else ""), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _of_plugin(name: str) -> click.Command | None:
    """The command that an installed package adds under Celery's entry points; it is imported under the alias."""
    for point in load("importlib.metadata").entry_points(group="celery.commands"):
        if point.name == name and offer():
            command: click.Command = point.load()
            return command
    return None
