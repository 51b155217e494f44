"""What a worker says of itself when it starts: Celery's sections, and the rules that hold for its tasks.

Owns the text only. Called by ``worker.main``, which prints it."""

from __future__ import annotations

import logging
import os
import platform
import sys
from typing import TYPE_CHECKING

from talo.settings.secret import hide_password
from talo.worker.heart import version
from talo.worker.logs import wants_colour
from talo.worker.options import WorkerOptions
from talo.worker.rules import rules_of, user_tasks

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["banner"]


def banner(app: Talo, options: WorkerOptions, level: int) -> str:
    """Return the lines; below WARNING the tasks too, each with its rules. Coloured where stdout is a terminal."""
    bold = _bold if wants_colour(app, sys.stdout) else str
    lines = [bold(_title(options)), "", bold(" [config]"), *_config(app, options), "", bold(" [queues]")]
    for name in options.queues:
        queue = app.queues[name]
        exchange = queue.exchange
        lines.append(f" .> {name:<16} exchange={exchange.name}({exchange.type}) key={queue.routing_key}")
    if level <= logging.INFO:
        lines += ["", bold(" [tasks]"), *(f"  . {task.name}" for task in user_tasks(app))]
        lines += ["", bold(" [rules]"), *_rules(app)]
    return "\n".join([*lines, ""])


def _title(options: WorkerOptions) -> str:
    system = os.uname()
    where = f"{system.sysname}-{system.release}-{system.machine}"
    return f" {options.hostname} v{version()} (talo) · {where} · Python {platform.python_version()}"


def _config(app: Talo, options: WorkerOptions) -> list[str]:
    conf = app.conf
    broker = hide_password(conf.broker_url)
    results = hide_password(conf.result_backend) if conf.result_backend else broker
    guarantee = "at least once" if conf.task_acks_late else "at most once"
    kept = "dead letters on" if conf.task_dead_letters else "dead letters off"
    events = "ON" if conf.worker_send_task_events else "OFF (enable -E to monitor tasks in this worker)"
    return [
        f" .> app:         {app.main or '__main__'}:{id(app):#x}",
        f" .> transport:   {broker}",
        f" .> results:     {results}",
        f" .> concurrency: {options.concurrency} ({options.pool})",
        f" .> task events: {events}",
        f" .> delivery:    {guarantee}; lease {options.lease:g} s; {kept}",
    ]


def _rules(app: Talo) -> list[str]:
    """One entry for each set of rules, and the tasks that it holds for."""
    groups: dict[str, list[str]] = {}
    for task in user_tasks(app):
        groups.setdefault(str(rules_of(app, task)), []).append(task.name)
    if len(groups) == 1:
        return [f" .> {next(iter(groups))}"]
    return [line for rules, names in groups.items() for line in (f" .> {rules}", f"      {', '.join(names)}")]


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m"
