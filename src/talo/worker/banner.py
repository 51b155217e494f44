"""What a worker says of itself when it starts."""

from __future__ import annotations

import logging
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

from talo.settings.secret import hide_password
from talo.worker.options import WorkerOptions

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["banner"]


def banner(app: Talo, options: WorkerOptions, level: int) -> str:
    """Return Celery's sections, and which delivery guarantee holds."""
    conf = app.conf
    broker = hide_password(conf.broker_url)
    results = hide_password(conf.result_backend) if conf.result_backend else broker
    kept = "dead letters on" if conf.task_dead_letters else "dead letters off"
    lines = [
        f" {options.hostname} · talo {version('talo')} · {platform.platform()} · Python {platform.python_version()}",
        "",
        " [config]",
        f" .> app:         {app.main or '__main__'}:{id(app):#x}",
        f" .> transport:   {broker}",
        f" .> results:     {results}",
        f" .> concurrency: {options.concurrency} ({options.pool})",
        f" .> delivery:    {'at least once' if conf.task_acks_late else 'at most once'}; lease {options.lease:g} s; {kept}",
        "",
        " [queues]",
    ]
    for name in options.queues:
        queue = app.queues[name]
        exchange = queue.exchange
        lines.append(f" .> {name:<16} exchange={exchange.name}({exchange.type}) key={queue.routing_key}")
    if level <= logging.INFO:
        lines += ["", " [tasks]"]
        lines += [f"  . {name}" for name in sorted(app.tasks) if not name.startswith(("celery.", "talo."))]
    return "\n".join([*lines, ""])
