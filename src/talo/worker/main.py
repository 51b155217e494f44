"""The worker's entrance: from app and options to a running supervisor.

Owns the order of the start and the checks of the app's store that must pass before anything is forked. Called by
``cli.worker``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Unpack

from talo import signals
from talo.errors import ImproperlyConfigured
from talo.util.optional import load
from talo.util.process import root_warning
from talo.worker.banner import banner
from talo.worker.logs import set_up_logging
from talo.worker.options import WorkerOptions
from talo.worker.plan import WorkerArguments, plan_worker
from talo.worker.rules import user_tasks
from talo.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["run_worker"]

log = logging.getLogger("talo.worker")


def _warn_of_long_tasks(app: Talo, options: WorkerOptions) -> None:
    """Name the tasks that may run for longer than the broker lets anybody hold them: it would hand them out again."""
    hold = app.store.features.max_hold
    for task in user_tasks(app):
        limit = task.time_limit or options.time_limit
        if limit and limit > hold:
            log.warning(
                "Task %s may run for %g s, but %s takes back what is held for over %g s: raise its consumer_timeout",
                task.name, limit, app.store.features.name, hold,
                extra={"action": "long_task", "task_name": task.name},
            )  # fmt: skip


def run_worker(app: Talo, **arguments: Unpack[WorkerArguments]) -> int:
    """Run a worker until it is told to stop; return its exit code."""
    level = arguments.get("loglevel", logging.WARNING)
    app.import_default_modules()
    app.finalize()
    options = plan_worker(app, **arguments)
    signals.celeryd_init.send(sender=options.hostname, instance=None, conf=app.conf, options=dict(arguments))
    set_up_logging(app, level, arguments.get("logfile"))
    supervisor = Supervisor(app, options)
    signals.worker_init.send(sender=supervisor)
    signals.celeryd_after_setup.send(sender=options.hostname, instance=supervisor, conf=app.conf)
    app.env.hostname = options.hostname
    app.conf.freeze()
    if not app.store.features.durable:
        raise ImproperlyConfigured(
            f"{app.store.url} lives in one process, and a worker has several: use sqlite:///talo.sqlite3"
        )
    if options.http is not None:
        load("talo.worker.health").check_address(options.http)
    _refuse_what_has_no_place(app)
    app.store.ping(app.conf.store_timeout)
    _name_concerns(app)
    _warn_of_long_tasks(app, options)
    app.close_stores()
    if not arguments.get("quiet"):
        print(banner(app, options, level), flush=True)  # noqa: T201  the banner is for the operator's eyes
    if (warning := root_warning("worker")) is not None:
        log.warning("%s", warning, extra={"action": "root"})
    return supervisor.run()


def _refuse_what_has_no_place(app: Talo) -> None:
    """A feature that needs a store beside the broker, without one, is refused by name."""
    if app.conf.task_dead_letters and not app.store.features.dead_letters:
        raise ImproperlyConfigured(
            f"{app.store.url} keeps no dead letters: set result_backend to the URL of a store that does, or "
            "task_dead_letters to False"
        )
    _ = app.delays  # says so where the setting asks for a store that is not there


def _name_concerns(app: Talo) -> None:
    for store in {id(each): each for each in (app.store, app.result_store) if each is not None}.values():
        for concern in store.concerns():
            log.warning("%s", concern, extra={"action": "store_concern"})
