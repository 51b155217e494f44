"""``talo check``: every problem of a configuration at once, where each value comes from, what holds for each task.

Owns what is looked at; values are judged by ``settings``, the worker's plan and the stores. Called by ``cli.main``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import click

from talo.app._options import EXECUTION_OPTIONS, explicit_options
from talo.app.app import Talo
from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed, one_line
from talo.cli._output import print_table
from talo.cli._session import Session
from talo.errors import ImproperlyConfigured
from talo.settings.load import check as check_settings
from talo.settings.load import read_environment
from talo.util.text import count
from talo.wire import serializers
from talo.worker.plan import plan_worker
from talo.worker.rules import rules_of, user_tasks

__all__ = ["check"]


@click.command(cls=TaloCommand)
@click.option("--settings", "show_settings", is_flag=True, help="Print every effective setting and its origin.")
@click.option("--changed", is_flag=True, help="With --settings: those that were set only.")
@click.option("--offline", is_flag=True, help="Do not connect to broker and result backend.")
@click.pass_obj
def check(session: Session, show_settings: bool, changed: bool, offline: bool) -> int:
    """Check the configuration, and say what holds for each task.

    Every problem is a line; exit code 1 if there is one.
    """
    problems = list(_environment())
    app: Talo | None = None
    try:
        app = session.find(required=True)
        app.conf.table()
    except ImproperlyConfigured as error:
        problems.extend(_lines(error))
    if app is not None and not problems:
        problems.extend(_look(app, offline))
        if show_settings:
            _print_settings(session, app, changed)
        else:
            _print_tasks(session, app)
        for note in app.conf.notes():
            click.echo(f"Note: {note}", err=True)
        app.close()
    for problem in dict.fromkeys(problems):
        click.echo(f"Problem: {problem}", err=True)
    if problems:
        raise Failed(f"{count(len(set(problems)), 'problem')} in the configuration")
    if not session.quiet:
        click.echo("The configuration is good.", err=True)
    return 0


def _environment() -> Iterator[str]:
    """Problems of the environment's variables. They are taken away, so that the other sources are still looked at."""
    for name, value in read_environment(os.environ).values.items():
        try:
            check_settings({name: value}, namespace="TALO_")
        except ImproperlyConfigured as error:
            os.environ.pop(name, None)
            yield f"environment variable {one_line(error)}"


def _lines(error: ImproperlyConfigured) -> list[str]:
    """The problems that one error tells: its lines, without the line that counts them."""
    head, *rest = [line.strip() for line in str(error).splitlines() if line.strip()]
    return rest if rest and head.endswith(":") else [one_line(error)]


def _look(app: Talo, offline: bool) -> Iterator[str]:
    """Look at everything that a start would stumble over."""
    stages: list[tuple[str, Callable[[], Any]]] = [
        ("", app.import_default_modules),
        ("", app.finalize),
        ("worker: ", lambda: plan_worker(app)),
        ("accept_content: ", lambda: serializers.accept(app.conf.accept_content)),
        ("timezone: ", lambda: app.timezone),
        ("broker: ", lambda: app.store if offline else app.store.ping(app.conf.store_timeout)),
        ("results: ", lambda: _reach_results(app, offline)),
        *((f"task {task.name}: ", lambda task=task: _send_nothing(app, task)) for task in user_tasks(app)),
    ]
    for what, stage in stages:
        try:
            stage()
        except Exception as error:  # noqa: BLE001
            # Any failure of a stage is what this command is there to tell; the next one may have its own.
            yield f"{what}{one_line(error)}"


def _reach_results(app: Talo, offline: bool) -> None:
    store = app.result_store
    if store is not None and not offline and store is not app.store:
        store.ping(app.conf.store_timeout)


def _send_nothing(app: Talo, task: Any) -> None:
    """Find the task's destination and serializer, as a call would."""
    app.router.route(task.name, explicit_options(task, EXECUTION_OPTIONS), (), {}, task)
    serializers.get(task.serializer or app.conf.task_serializer)
    hard, soft = task.time_limit, task.soft_time_limit
    if hard and soft and soft > hard:
        raise ImproperlyConfigured(f"its soft time limit ({soft} s) is longer than the hard one ({hard} s)")


def _print_settings(session: Session, app: Talo, changed: bool) -> None:
    conf = app.conf
    rows = [(name, shown, session.origin(app, name)) for name, shown, _ in conf.explain(with_defaults=not changed)]
    print_table(session, ("setting", "value", "origin"), rows)


def _print_tasks(session: Session, app: Talo) -> None:
    rows = [(task.name, *rules_of(app, task)) for task in user_tasks(app)]
    print_table(session, ("task", "delivery", "retry", "limits", "dead letter"), rows)
