"""``talo migrate``: what a Celery project will find different, and the routes for Celery's side of a moving fleet.

Owns the form of the report; it is made by ``talo.compat.survey`` in a process of its own, since it imports the project
with Talo in Celery's place. Called by ``cli.main``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import click

from talo.app.routes import moved
from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed, Refused
from talo.cli._output import print_json
from talo.cli._session import Session
from talo.util.text import count

__all__ = ["migrate"]

_QUEUES = (
    "messages keep their form, so nothing has to be converted: let the workers drain the old broker, then change the "
    "URL; `talo migrate check` reads a project"
)


class _Group(click.Group):
    """Answers Celery's ``migrate [OPTIONS] SOURCE DESTINATION`` in one line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any("://" in word for word in args):
            raise Refused(f"migrate SOURCE DESTINATION: {_QUEUES}")
        return super().parse_args(ctx, args)


@click.group(cls=_Group)
def migrate() -> None:
    """Move from Celery: what will differ, and routes for a fleet that moves task by task."""


@migrate.command(cls=TaloCommand)
@click.argument("project", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@click.pass_obj
def check(session: Session, project: str | None, as_json: bool) -> int:
    """Read a Celery project, and say what will differ on Talo, task by task and setting by setting.

    PROJECT is what -A would name. No server is needed, and nothing is sent. Exit code 1 if it cannot run as it is.
    """
    name = project or session.app
    if name is None:
        raise Refused("no project is named: write talo migrate check MODULE (or talo -A MODULE migrate check)")
    report = _survey(name)
    if as_json:
        print_json(report)
    else:
        _print(report)
    return 1 if report["problems"] or report["imports"] else 0


def _survey(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "talo.compat.survey", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    lines = done.stdout.splitlines()
    try:
        report: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise Failed(f"{name} cannot be read: {last.removeprefix('Error: ')}") from None
    return report


def _print(report: dict[str, Any]) -> None:
    for problem in report["problems"]:
        click.echo(f"Problem: {problem}")
    for found in report["imports"]:
        click.echo(f"Problem: {found['where']} imports {found['name']}: {found['reason']}")
    if report["problems"] and not report["tasks"]:
        return
    changed = [task for task in report["tasks"] if task["changes"]]
    click.echo(
        f"{count(len(changed), 'task')} of {len(report['tasks'])} would behave differently with Talo's defaults:"
    )
    for task in changed:
        click.echo(f"  {task['name']}")
        for change in task["changes"]:
            click.echo(f"    {change['what']} (as in Celery: {change['keep']})")
    rows = [row for row in report["settings"] if row["status"] != "effective"]
    if rows:
        click.echo("Settings:")
    for row in rows:
        click.echo(f"  {row['name']} = {row['value']}: {row['status']}; {row['text']}")
    click.echo("To gain:")
    for gain in report["gains"]:
        click.echo(f"  {gain}")
    click.echo(
        "Run as it is, with Celery's defaults: python -m talo.compat celery -A PROJECT worker, or the distribution "
        "talo-as-celery."
    )


@migrate.command(cls=TaloCommand)
@click.pass_obj
def routes(session: Session) -> None:
    """Print the task_routes that Celery's own processes need while task_cutover moves a fleet, as JSON."""
    with session.opened(required=True) as app:
        app.import_default_modules()
        default = app.conf.task_default_queue
        found = {}
        for pattern in app.conf.task_cutover:
            names = [name for name in app.tasks if app.router.moves(name)] if "*" in pattern else [pattern]
            for name in names:
                found[name] = {"queue": app.router.route(name, {}, (), {}).queues[0]}
            found.setdefault(pattern, {"queue": moved(default)})
        print_json(found)
